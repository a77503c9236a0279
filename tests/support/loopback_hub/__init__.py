"""A Hub on loopback, for the real `huggingface_hub` and `datasets` clients, and the fixtures that lead them to it.

It keeps datasets in memory and is as strict as the Hub: roles of tokens, parent commits, LFS objects that must have
been uploaded. It shows what it received, and fails on request. Models, Spaces and multipart uploads are not served.

    from tests.support.loopback_hub import hub_fixture, xet_fixture  # noqa: F401

    def test_push(hub):
        hub.fault("POST .*/commit/", cut="after")
        push_to_hub(rows, "me/rules")
        assert hub.commits("me/rules")[0].files
"""

from tests.support.loopback_hub.faults import QUOTA
from tests.support.loopback_hub.fixtures import (
    forget_clients,
    hub_fixture,
    lead_clients_to,
    quick_retries_fixture,
    xet_fixture,
)
from tests.support.loopback_hub.hub import LoopbackHub

__all__ = [
    "QUOTA",
    "LoopbackHub",
    "forget_clients",
    "hub_fixture",
    "lead_clients_to",
    "quick_retries_fixture",
    "xet_fixture",
]
