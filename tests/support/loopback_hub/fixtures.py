"""Fixtures that lead the clients in this process to a hub."""

import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.loopback_hub.hub import LoopbackHub
from tests.support.loopback_hub.storage import XetFolder


def lead_clients_to(hub: LoopbackHub, patch: pytest.MonkeyPatch, cache: Path) -> None:
    """Let the clients in this process talk to a hub, as "me", with caches in a folder of their own and without Xet.

    They read the environment once, at import, into the variables that are set here; later they ask these.
    """
    import datasets
    import huggingface_hub
    from huggingface_hub import constants, hf_api

    for name, value in hub.environment().items():
        patch.setenv(name, value)
    patch.setenv("HF_HUB_CACHE", str(cache / "hub"))
    patch.setenv("HF_DATASETS_CACHE", str(cache / "datasets"))
    patch.setenv("HF_HUB_DISABLE_XET", "1")
    patch.setattr(constants, "ENDPOINT", hub.url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    patch.setattr(hf_api.api, "endpoint", hub.url)  # behind `huggingface_hub.create_repo` and its like
    patch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
    patch.setattr(datasets.config, "HUB_DATASETS_URL", hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}")
    patch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    patch.setattr(datasets.config, "HF_DATASETS_OFFLINE", False)
    patch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)  # else it asks a host elsewhere
    patch.setattr(datasets.config, "USE_PARQUET_EXPORT", False)  # likewise
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    patch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", cache / "datasets" / "downloads")
    patch.setattr(datasets.config, "EXTRACTED_DATASETS_PATH", cache / "datasets" / "downloads" / "extracted")
    forget_clients()
    huggingface_hub.close_session()  # a proxy of the environment is read when it opens


def forget_clients() -> None:
    """Drop what the clients keep of a hub between calls, but for files in their caches."""
    import huggingface_hub
    from huggingface_hub.utils import _xet

    huggingface_hub.HfFileSystem.clear_instance_cache()
    huggingface_hub.close_session()
    _xet.XET_CONNECTION_INFO_CACHE.clear()


@pytest.fixture(name="hub")
def hub_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """A hub that all clients talk to; HF_TOKEN is a write token of "me", large files go by LFS."""
    with LoopbackHub() as hub, pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # the client uploads to LFS in a way that httpx2 calls old
        warnings.filterwarnings("ignore", "Use 'content=<...>'", DeprecationWarning)
        lead_clients_to(hub, patch, tmp_path_factory.mktemp("hub"))
        yield hub
        forget_clients()
    assert not hub.errors, "\n".join(hub.errors)


@pytest.fixture(name="xet")
def xet_fixture(hub: LoopbackHub) -> Iterator[XetFolder]:
    """Let large files go by Xet, which gives up after two attempts."""
    from huggingface_hub.utils import _xet

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
        patch.setenv("HF_HUB_DISABLE_XET", "0")
        patch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "2")
        patch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "20ms")
        _xet.abort_xet_session()  # the next one reads the environment
        yield hub.xet
    _xet.abort_xet_session()


@pytest.fixture(name="quick_retries")
def quick_retries_fixture(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Let the client wait a hundredth of the time before it tries again."""
    from huggingface_hub.utils import _http

    slept: Counter[str] = Counter()

    def sleep(seconds: float) -> None:
        slept["times"] += 1
        slept["seconds"] += int(seconds)
        time.sleep(seconds / 100)

    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=sleep))
    return slept
