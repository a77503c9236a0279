"""The notebooks run from a fresh kernel, every cell of them: the quickstart against a Hub on this machine."""

import configparser
import json
import re

import nbformat
import pytest

from tests.conftest import REPOSITORY
from tests.support.loopback_hub import LoopbackHub
from tests.support.notebook import html_of, run_notebook, text_of

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

PATH = REPOSITORY / "notebooks" / "quickstart.ipynb"
RECIPE = REPOSITORY / "notebooks" / "recipe.ipynb"
NUM_ROWS = 2
SMALL = {"num_documents": 3, "num_held_out": 1, "max_new_tokens": 12, "train_steps": 1}


@pytest.fixture(scope="module")
def hub():
    with LoopbackHub() as hub:
        yield hub
    assert not hub.errors, "\n".join(hub.errors)


@pytest.fixture(scope="module")
def executed(hub, smollm2, tmp_path_factory):
    """The quickstart after a run."""
    parameters = {"teacher": smollm2, "num_rows": NUM_ROWS, "max_new_tokens": 4}
    return run_notebook(PATH, parameters, tmp_path_factory.mktemp("notebook"), hub.environment())


@pytest.fixture(scope="module")
def trained(smollm2, tmp_path_factory):
    """The notebook from documents to a student after a run."""
    parameters = {"teacher": smollm2, "student": smollm2, **SMALL}
    return run_notebook(RECIPE, parameters, tmp_path_factory.mktemp("recipe"), {"HF_HUB_OFFLINE": "1"})


@pytest.mark.parametrize(("name", "path"), [("executed", PATH), ("trained", RECIPE)])
def test_every_cell_runs_and_none_is_skipped(request, name, path):
    notebook = request.getfixturevalue(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    own = [cell.source for cell in code if cell.id not in ("where", "other-parameters")]
    assert own == [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_the_library_that_the_notebook_installed_is_the_one_that_runs(executed):
    assert text_of(executed, "where").strip() == f"{executed.metadata['site_packages']}/hf_rare/__init__.py"
    assert "ERROR" not in text_of(executed, "install")


def test_the_login_shows_a_link_and_a_code_and_waits_for_them(executed, hub):
    html = html_of(executed, "login")
    assert f'href="{hub.url}/oauth/device"' in html
    assert "ABCD-EFGH" in html
    assert "Logged in as <b>me</b>" in html
    assert len(hub.received("POST /oauth/token")) == 2  # not allowed yet, then allowed
    assert "Traces go to me/rare-quickstart" in text_of(executed, "login")


def test_the_rows_are_shown_and_pushed_with_card_and_recipe(executed, hub):
    assert html_of(executed, "look").count('<div class="hf-rare') == NUM_ROWS
    assert f"{NUM_ROWS}/{NUM_ROWS}" in text_of(executed, "distill")  # the progress bar
    (commit, _) = hub.commits("me/rare-quickstart")
    assert {"README.md", "recipe.json", "assets/default.png"} < set(commit.files)
    assert any(re.fullmatch(r"data/train-00000-\w+\.parquet", path) for path in commit.files)
    assert json.loads(hub.read("me/rare-quickstart", "recipe.json"))["decoding"]["max_new_tokens"] == 4
    assert commit.oid in text_of(executed, "push")
    assert "The same rows came back: True" in text_of(executed, "load")


def test_a_new_machine_goes_on_from_the_private_checkpoint(executed, hub):
    assert hub.repos["me/rare-quickstart-checkpoint"].private
    files = hub.files("me/rare-quickstart-checkpoint")
    assert [path for path in files if re.fullmatch(r"journal/\w+/[\w-]+\.jsonl", path)]
    assert f"max_rows={NUM_ROWS // 2} is reached" in text_of(executed, "lost")
    assert f"Generated: {NUM_ROWS // 2} of {NUM_ROWS}" in text_of(executed, "lost")
    assert f"Rows: {NUM_ROWS}\nGenerated now: {NUM_ROWS - NUM_ROWS // 2}\n" in text_of(executed, "resume")


def test_from_documents_to_a_student_that_is_measured(trained):
    generated, rows = map(int, re.search(r"Generated now: (\d+) of (\d+)", text_of(trained, "distill")).groups())
    assert 0 <= generated < rows <= SMALL["num_documents"]  # the run before had done some
    assert '<div class="hf-rare' in html_of(trained, "look")
    assert re.search(r"[1-9]\d* rows to train on", text_of(trained, "export"))
    table = text_of(trained, "measure")
    assert all(word in table for word in ("before", "after", "with_documents", "negatives"))


@pytest.mark.parametrize("path", [PATH, RECIPE], ids=["quickstart", "recipe"])
def test_the_file_is_normalised_and_holds_no_outputs(path):
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert text == nbformat.writes(notebook) + "\n"
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z-]+", cell.id)
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
            assert set(cell.metadata) <= {"tags"}
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_the_address_of_the_repository_is_the_same_everywhere():
    """It stands in setup.cfg: who publishes the library elsewhere changes it there, and where this test says."""
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    url = setup["metadata"]["url"]
    name = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", url)[1]
    cells = {cell.id: cell.source for cell in nbformat.read(PATH, as_version=4).cells}
    assert f'repository = "git+{url}"' in cells["parameters"]
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    recipe = {cell.id: cell.source for cell in nbformat.read(RECIPE, as_version=4).cells}
    assert f'repository = "git+{url}"' in recipe["parameters"]
    notebook = f"https://colab.research.google.com/github/{name}/blob/main/{PATH.relative_to(REPOSITORY)}"
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    assert f"[![Open In Colab]({badge})]({notebook})" in readme
    assert set(re.findall(r"github(?:\.com)?/([\w.-]+/hf[_-]rare)\b", readme)) == {name}
