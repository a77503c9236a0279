"""Pushes to a Hub in any mood: each of their requests is answered with what no client expects."""

from itertools import product

import pytest
from datasets import DatasetDict
from huggingface_hub import HfApi

from hf_rare import push_to_hub
from hf_rare.errors import HfRareError
from tests.attack.conftest import IS_WHOLE
from tests.support.loopback_hub import hub_fixture, quick_retries_fixture  # noqa: F401
from tests.support.pushing import no_waiting_fixture, table_fixture  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MOODS = {
    "HTML": b"<html><body>Please log in</body></html>",
    "null": b"null",
    "empty list": b"[]",
    "empty object": b"{}",
    "a text": b'"ok"',
    "nothing": b"",
    "torn": b'[{"type": "file", "path": "READ',
    "wrong fields": b'[{"type": 3, "path": null, "oid": [], "size": "x"}]',
}
WORDS = "What a person has written.\n"


def push_first(table, repo):
    push_to_hub(table.select(range(5)), repo)


def push_second_config(table, repo):
    push_to_hub(table.select(range(5)), repo, config_name="other")


def push_more(table, repo):
    push_to_hub(table.select(range(5, 9)), repo, append=True)


def push_for_review(table, repo):
    push_to_hub(table.select(range(4)), repo, create_pr=True)


def push_splits(table, repo):
    push_to_hub(DatasetDict({name: table.select(range(3)) for name in ("train", "validation", "test")}), repo)


PUSHES = [push_first, push_second_config, push_more, push_for_review, push_splits]
TRIES = list(product(PUSHES, MOODS) if IS_WHOLE else zip(PUSHES, MOODS, strict=False))


def prepare(hub, push, table, repo):
    """Let there be rows and a card with a person's words, where the push is not the first."""
    if push is push_first:
        return None
    push_to_hub(table.select(range(5)), repo)
    card = hub.read(repo, "README.md").decode()
    hub.commit(repo, {"README.md": (card + WORDS).encode()})
    return hub.commits(repo)[0].oid


@pytest.mark.parametrize(("push", "mood"), TRIES)
def test_it_ends_in_an_error_of_ours_or_as_if_nothing_had_been(hub, quick_retries, table, count, push, mood):
    prepare(hub, push, table, "me/dry")
    before = len(hub.requests)
    push(table, "me/dry")
    requests = [f"{request.method} {request.path}" for request in hub.requests[before:]]
    assert len(requests) >= 5
    foreign = []
    for number, request in enumerate(requests):
        for cut in (None, "after") if IS_WHOLE else (None,):
            repo = f"me/rare-{number}-{cut or 'before'}"
            before = prepare(hub, push, table, repo)
            fault = hub.fault("", nth=number + 1, body=MOODS[mood], cut=cut)
            try:
                push(table, repo)
            except HfRareError:
                pass
            except Exception as err:
                foreign.append(f"{request}: {type(err).__name__}: {err}")
            fault.times = 0  # where it was not met
            count(tried=1)
            lost = 0
            if before is not None:
                lost = WORDS not in hub.read(repo, "README.md").decode()
                if not lost and hub.commits(repo)[0].oid != before:
                    assert HfApi().repo_info(repo, repo_type="dataset").card_data.configs
            count(lost=int(lost), foreign_exceptions=0)
            assert not lost, request
    count(foreign_exceptions=len(foreign))
    assert foreign == []
    assert hub.errors == []
