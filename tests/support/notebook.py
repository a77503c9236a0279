"""A notebook, run from a fresh kernel that has what this library needs, but not the library itself."""

import json
import os
import shutil
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from tests.conftest import REPOSITORY

NOT_THERE = ("HF_RARE_JOURNAL", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "PYTHONPATH")


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


def run_notebook(
    path: Path, parameters: Mapping[str, Any], folder: Path, environment: Mapping[str, str], timeout: int = 400
) -> Any:
    """Run a notebook with other parameters behind the cell that is tagged for them, and all else as it is.

    Args:
        path (`Path`): the notebook.
        parameters (`Mapping[str, Any]`): the other parameters; `repository` is always a copy of this one.
        folder (`Path`): an empty folder, in which it runs.
        environment (`Mapping[str, str]`): further variables.
        timeout (`int`): most seconds of a cell.

    Returns:
        the notebook with its outputs, a last cell "where" that says from where the library came, and in its metadata
        the `site_packages` of the kernel.
    """
    source, site_packages = copy_library(folder / "source"), make_kernel(folder)
    notebook = nbformat.read(path, as_version=4)
    (place,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    given = {**parameters, "repository": source.as_uri()}
    text = "\n".join(f"{name} = {value!r}" for name, value in given.items())
    notebook.cells.insert(place + 1, new_code_cell(text, id="other-parameters"))
    notebook.cells.append(new_code_cell("print(hf_rare.__file__)", id="where"))
    own = {
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
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**environment, **own}.items():
            patch.setenv(name, value)
        for name in NOT_THERE:
            patch.delenv(name, raising=False)
        client = NotebookClient(
            notebook, timeout=timeout, kernel_name="fresh", resources={"metadata": {"path": str(folder)}}
        )
        client.execute(env=dict(os.environ))
    notebook.metadata["site_packages"] = str(site_packages)
    return notebook


def text_of(notebook: Any, cell_id: str) -> str:
    """Return what a cell has printed."""
    (cell,) = (cell for cell in notebook.cells if cell.id == cell_id)
    return "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream")


def html_of(notebook: Any, cell_id: str) -> str:
    """Return what a cell shows as HTML."""
    (cell,) = (cell for cell in notebook.cells if cell.id == cell_id)
    return "".join(output["data"].get("text/html", "") for output in cell.outputs if "data" in output)
