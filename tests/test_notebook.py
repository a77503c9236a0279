"""The quickstart notebook runs from a fresh kernel, every cell of it, against a Hub on this machine."""

import json
import os
import re

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from tests.conftest import REPOSITORY
from tests.loopback_hub import LoopbackHub

pytestmark = pytest.mark.timeout(240)

PATH = REPOSITORY / "notebooks" / "quickstart.ipynb"
NUM_ROWS = 2


@pytest.fixture(scope="module")
def hub():
    with LoopbackHub() as hub:
        yield hub
    assert not hub.errors, "\n".join(hub.errors)


@pytest.fixture(scope="module")
def executed(hub, smollm2, tmp_path_factory):
    """The notebook after a run: other parameters behind the cell that is tagged for them, all else as it is."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(PATH, as_version=4)
    (place,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    parameters = f"teacher, num_rows, max_new_tokens = {smollm2!r}, {NUM_ROWS}, 4"
    notebook.cells.insert(place + 1, new_code_cell(parameters))
    environment = {
        **hub.environment(),
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "PYTHONPATH": str(REPOSITORY),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("HF_RARE_JOURNAL", raising=False)
        client = NotebookClient(
            notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        client.execute(env=dict(os.environ))
    return notebook


def text_of(notebook, cell_id: str) -> str:
    (cell,) = (cell for cell in notebook.cells if cell.id == cell_id)
    return "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream")


def test_every_cell_runs_and_none_is_skipped(executed):
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert [cell.source for cell in code if not cell.source.startswith("teacher, num_rows")] == [
        cell.source for cell in nbformat.read(PATH, as_version=4).cells if cell.cell_type == "code"
    ]
    assert "Collecting" not in text_of(executed, "install")  # what is there already is not installed


def test_the_rows_are_shown_and_pushed_with_card_and_recipe(executed, hub):
    (cell,) = (cell for cell in executed.cells if cell.id == "look")
    html = "".join(output["data"].get("text/html", "") for output in cell.outputs if "data" in output)
    assert html.count('<div class="hf-rare') == NUM_ROWS
    assert f"{NUM_ROWS}/{NUM_ROWS}" in text_of(executed, "distil")  # the progress bar
    (commit, _) = hub.commits("me/rare-quickstart")
    assert {"README.md", "recipe.json", "assets/default.png"} < set(commit.files)
    assert any(re.fullmatch(r"data/train-00000-\w+\.parquet", path) for path in commit.files)
    assert json.loads(hub.read("me/rare-quickstart", "recipe.json"))["decoding"]["max_new_tokens"] == 4
    assert commit.oid in text_of(executed, "push")
    assert "The same rows came back: True" in text_of(executed, "load")


def test_a_new_machine_goes_on_from_the_private_checkpoint(executed, hub):
    assert hub._repos["me/rare-quickstart-checkpoint"].private
    files = hub.files("me/rare-quickstart-checkpoint")
    assert [path for path in files if re.fullmatch(r"journal/\w+/[\w-]+\.jsonl", path)]
    assert f"max_rows={NUM_ROWS // 2} is reached" in text_of(executed, "lost")
    assert f"Generated: {NUM_ROWS // 2} of {NUM_ROWS}" in text_of(executed, "lost")
    assert f"Rows: {NUM_ROWS}\nGenerated now: {NUM_ROWS - NUM_ROWS // 2}\n" in text_of(executed, "resume")


def test_the_file_is_normalised_and_holds_no_outputs():
    text = PATH.read_text(encoding="utf-8")
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
