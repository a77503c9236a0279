"""The documentation is true: its code runs, its links lead somewhere, its tables name what there is."""

import configparser
import json
import re
import shlex

import pytest

import hf_rare
from benchmarks.machine import RESULTS
from benchmarks.plot_throughput import make_table
from hf_rare.cli.flags import MODEL_GROUPS
from hf_rare.cli.main import build_parser
from hf_rare.rows.columns import STATUSES
from hf_rare.settings.writers import DistillConfig
from tests.conftest import REPOSITORY
from tests.support import loopback_hub
from tests.support.loopback_hub import hub_fixture  # noqa: F401
from tests.support.loopback_storage import Answer, HubError
from tests.support.pages import Page, find_pages, run_blocks, write_inputs
from tests.support.rote import SHA, put_into_cache, save_stand_ins

PAGES = find_pages()
DOCS = REPOSITORY / "docs"
WITH_RAY = DOCS / "ray.md"
"""Runs in `tests/writers/test_ray.py`, with real actors."""

HUB_CALLS = ("push_to_hub(", "from_recipe(", "checkpoint_repo=")


def page_of(name: str) -> Page:
    return Page(DOCS / name)


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    return save_stand_ins(tmp_path_factory.mktemp("stand-ins"))


@pytest.fixture
def place(request, stand_ins, tmp_path, monkeypatch):
    """A folder with the inputs of a page, models in the cache, and a Hub where the page needs one."""
    code = "".join(block.text for block in request.getfixturevalue("page").blocks_of("python"))
    if any(call in code for call in HUB_CALLS):
        request.getfixturevalue("hub")
        monkeypatch.setattr(loopback_hub, "ROUTES", list(loopback_hub.ROUTES))
        loopback_hub.route("GET", "/api/models/{repo}")(lambda hub, request, repo: Answer({"id": repo, "sha": SHA}))
        loopback_hub.route("GET", "/{repo}/resolve/{rev}/{path}")(_refuse)
    else:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    for name, folder in stand_ins.items():
        put_into_cache(name, folder)
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    write_inputs(inputs)
    monkeypatch.chdir(inputs)
    return inputs


def _refuse(hub, request, repo, rev, path):
    """Say that a model has no other files than those in the cache."""
    raise HubError(404, f"Entry not found: {path}", "EntryNotFound")


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.blocks_of("python") and page.path != WITH_RAY], ids=str
)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page, place, capsys):
    blocks, printed = page.blocks, {}
    for block, _ in run_blocks(page, place):
        printed[block] = capsys.readouterr().out
    assert printed
    for block, following in zip(blocks, blocks[1:], strict=False):
        if block in printed and following.language == "text" and page.path.name != "README.md":
            assert printed[block] == following.text
