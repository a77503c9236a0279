"""The quickstart notebook runs from a fresh kernel, every cell of it, against a Hub on this machine."""

import configparser
import json
import os
import re
import shutil
import sys
import venv
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from tests.conftest import REPOSITORY
from tests.support.loopback_hub import LoopbackHub

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

PATH = REPOSITORY / "notebooks" / "quickstart.ipynb"
NUM_ROWS = 2


@pytest.fixture(scope="module")
def hub():
    with LoopbackHub() as hub:
        yield hub
    assert not hub.errors, "\n".join(hub.errors)


def copy_library(folder: Path) -> Path:
    """Copy what a repository holds of this library, for pip to build."""
    for name in ("hf_rare", "cards"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def make_kernel(folder: Path) -> Path:
    """Make a virtual environment that has what this library needs, but not the library; give its `site-packages`.

    It is offered to Jupyter as the kernel "fresh".
    """
    venv.create(folder / "venv")
    (site_packages,) = folder.glob("venv/lib/python*/site-packages")
    requirements = [path for path in sys.path if path.endswith("site-packages")]
    (site_packages / "requirements.pth").write_text("\n".join(requirements))
    kernel = folder / "jupyter" / "kernels" / "fresh" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    command = [str(folder / "venv" / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": command, "display_name": "Fresh", "language": "python"}))
    return site_packages


@pytest.fixture(scope="module")
def executed(hub, smollm2, tmp_path_factory):
    """The notebook after a run: other parameters behind the cell that is tagged for them, all else as it is."""
    folder = tmp_path_factory.mktemp("notebook")
    source, site_packages = copy_library(folder / "source"), make_kernel(folder)
    notebook = nbformat.read(PATH, as_version=4)
    (place,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    parameters = f"teacher, num_rows, max_new_tokens = {smollm2!r}, {NUM_ROWS}, 4\nrepository = {source.as_uri()!r}"
    notebook.cells.insert(place + 1, new_code_cell(parameters))
    notebook.cells.append(new_code_cell("print(hf_rare.__file__)", id="where"))
    environment = {
        **hub.environment(),
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_PATH": str(folder / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say that there is none
        "PIP_NO_INDEX": "1",
    }
    not_there = ("HF_RARE_JOURNAL", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "PYTHONPATH")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for name in not_there:
            patch.delenv(name, raising=False)
        client = NotebookClient(
            notebook, timeout=200, kernel_name="fresh", resources={"metadata": {"path": str(folder)}}
        )
        client.execute(env=dict(os.environ))
    notebook.metadata["site_packages"] = str(site_packages)
    return notebook


def text_of(notebook, cell_id: str) -> str:
    (cell,) = (cell for cell in notebook.cells if cell.id == cell_id)
    return "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream")


def test_every_cell_runs_and_none_is_skipped(executed):
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    own = [cell.source for cell in code if cell.id != "where" and not cell.source.startswith("teacher, num_rows")]
    assert own == [cell.source for cell in nbformat.read(PATH, as_version=4).cells if cell.cell_type == "code"]


def test_the_library_that_the_notebook_installed_is_the_one_that_runs(executed):
    assert text_of(executed, "where").strip() == f"{executed.metadata['site_packages']}/hf_rare/__init__.py"
    assert "ERROR" not in text_of(executed, "install")


def test_the_login_shows_a_link_and_a_code_and_waits_for_them(executed, hub):
    (cell,) = (cell for cell in executed.cells if cell.id == "login")
    html = "".join(output["data"].get("text/html", "") for output in cell.outputs if "data" in output)
    assert f'href="{hub.url}/oauth/device"' in html
    assert "ABCD-EFGH" in html
    assert "Logged in as <b>me</b>" in html
    assert len(hub.received("POST /oauth/token")) == 2  # not allowed yet, then allowed
    assert "Traces go to me/rare-quickstart" in text_of(executed, "login")


def test_the_rows_are_shown_and_pushed_with_card_and_recipe(executed, hub):
    (cell,) = (cell for cell in executed.cells if cell.id == "look")
    html = "".join(output["data"].get("text/html", "") for output in cell.outputs if "data" in output)
    assert html.count('<div class="hf-rare') == NUM_ROWS
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


def test_the_address_of_the_repository_is_the_same_everywhere():
    """It stands in setup.cfg: who publishes the library elsewhere changes it there, and where this test says."""
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    url = setup["metadata"]["url"]
    name = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", url)[1]
    cells = {cell.id: cell.source for cell in nbformat.read(PATH, as_version=4).cells}
    assert f'repository = "git+{url}"' in cells["parameters"]
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    notebook = f"https://colab.research.google.com/github/{name}/blob/main/{PATH.relative_to(REPOSITORY)}"
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    assert f"[![Open In Colab]({badge})]({notebook})" in readme
    assert set(re.findall(r"github(?:\.com)?/([\w.-]+/hf[_-]rare)\b", readme)) == {name}
