"""What is public, what an import brings with it, and what the wheel holds."""

import subprocess
import sys
import zipfile

import pytest

import hf_rare
from hf_rare import errors
from tests.conftest import REPOSITORY


def test_the_public_names_are_sorted_and_there():
    assert hf_rare.__all__ == sorted(hf_rare.__all__)
    for name in set(hf_rare.__all__) - {"__version__"}:
        assert getattr(hf_rare, name).__doc__
        assert callable(getattr(hf_rare, name))  # also the second time: no module has taken its place
    assert set(hf_rare.__all__) <= set(dir(hf_rare))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = hf_rare.Nothing


def test_import_brings_nothing_else_and_the_distiller_brings_no_torch():
    code = (
        "import sys; before = set(sys.modules); import hf_rare;"
        "brought = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names;"
        "assert brought == {'hf_rare'}, brought; hf_rare.ReasonDistiller;"
        "assert not {'torch', 'huggingface_hub.inference'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_error_is_ours_and_a_builtin():
    ours = [error for error in vars(errors).values() if isinstance(error, type) and error is not errors.HfRareError]
    assert len(ours) > 10
    for error in ours:
        assert issubclass(error, errors.HfRareError), error
        assert issubclass(error, (ValueError, TypeError, OSError, ImportError, RuntimeError)), error


def test_the_wheel_holds_templates_data_and_cards(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, REPOSITORY],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "hf_rare/checks/stock_words.toml",
        "hf_rare/prompts/jinja/rare.jinja",
        "hf_rare/prompts/jinja/rare-qa.jinja",
        "hf_rare/prompts/jinja/plain.jinja",
        "hf_rare/prompts/jinja/questions.jinja",
        "hf_rare/rows/demo.jsonl",
        "hf_rare/py.typed",
        "hf_rare/views/report/assets/page.js",
        "hf_rare/views/report/assets/report.css",
        "hf_rare/views/report/assets/report.html.jinja",
        "hf_rare/cards/dataset_card.md",
        "hf_rare/generation/engines/static.py",
    ):
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "examples/"))]
