"""Private names of other libraries: they are used in `hf_rare.compat` alone, and one that is gone is named."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import multiprocess
import pytest
import torch
from datasets import Dataset
from transformers import GenerationMixin

import hf_rare.compat
from hf_rare import TransformersGenerator
from hf_rare.compat.datasets import describe_info, fingerprint_of, read_info
from hf_rare.compat.private import look_up
from hf_rare.compat.torch import is_in_bad_fork
from hf_rare.errors import MissingPackageError
from hf_rare.generation.devices import prepare_worker
from tests.conftest import REPOSITORY
from tests.generation.test_transformers import complete

MODULES = {path.relative_to(REPOSITORY).as_posix(): path for path in (REPOSITORY / "hf_rare").rglob("*.py")}
PRIVATE = re.compile(r"_[a-z]\w*", re.IGNORECASE)
PRIVATE_MODULE = re.compile(r"[a-z]\w*(\.\w+)*\._[a-z]\w*(\.\w+)*")


def is_private(name: str) -> bool:
    return PRIVATE.fullmatch(name) is not None


def find_own_names(tree: ast.AST) -> Iterator[str]:
    """Find the private names that a module gives to its own functions, classes, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            yield node.attr


def is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def find_foreign_names(tree: ast.AST, own: set[str], own_anywhere: set[str]) -> Iterator[str]:
    """Find the private names that a module reads of something that is not its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if node.attr not in (own_anywhere if is_self(node.value) else own):  # a base class may be another module's
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "delattr"):
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
            if is_private(name):
                yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and PRIVATE_MODULE.fullmatch(node.value):
            yield node.value
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                parts = f"{module}.{alias.name}".strip(".").split(".")
                if parts[0] != "hf_rare" and any(map(is_private, parts)):
                    yield ast.unparse(node)


def search(names: dict[str, Path]) -> dict[str, list[str]]:
    trees = {name: ast.parse(path.read_text()) for name, path in names.items()}
    own = {name: {own for own in find_own_names(tree) if is_private(own)} for name, tree in trees.items()}
    anywhere = set().union(*own.values())
    found = {name: sorted(find_foreign_names(tree, own[name], anywhere)) for name, tree in trees.items()}
    return {name: foreign for name, foreign in found.items() if foreign}


def test_no_other_module_reads_a_private_name_of_another_library():
    found = search(MODULES)
    assert [name for name in found if not name.startswith("hf_rare/compat/")] == []
    assert found["hf_rare/compat/torch.py"] == ["getattr(torch.cuda, '_is_in_bad_fork', lambda: False)"]
    assert found["hf_rare/compat/ray.py"] == ["ray.data._internal.progress"]


@pytest.mark.parametrize(
    "line",
    [
        "model._sample()",
        "self._reorder_cache()",
        "import datasets._thing",
        "from datasets.utils import _filelock",
        "from transformers import _LazyModule",
        "getattr(model, '_sample')",
        "LEVELS = {'ray.data._internal': 3}",
    ],
)
def test_the_search_finds_what_it_is_for(tmp_path, line):
    path = tmp_path / "module.py"
    path.write_text(f"class Own:\n    def _f(self): self._g = 1\n\n\nOwn()._f()\nOwn()._g\n{line}\n")
    assert list(search({"module": path})) == ["module"]
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    assert search({"module": path}) == {}


def test_every_module_is_of_a_library_and_says_which_version_has_its_names():
    paths = {path.stem: path for path in Path(hf_rare.compat.__file__).parent.glob("*.py")}
    for name in paths.keys() - {"__init__", "private"}:
        if name not in ("vllm", "ray") or importlib.util.find_spec(name):  # which are extras
            __import__(name)
        assert re.search(r"\b\d+\.\d+\.\d+\b", paths[name].read_text()), name


def test_a_name_that_is_gone_is_said_with_what_to_do(tiny, monkeypatch):
    with pytest.raises(MissingPackageError, match=r"torch 2\..* has no `int._gone`.*torch 1.2.3 has.*pip install"):
        look_up(3, "_gone", "torch", "1.2.3")
    monkeypatch.delattr(GenerationMixin, "_get_logits_processor")
    with pytest.raises(MissingPackageError, match=r"_get_logits_processor`.*pip install transformers==5"):
        complete(TransformersGenerator.from_pretrained(tiny, max_new_tokens=4))
    monkeypatch.delattr(torch.cuda, "_is_in_bad_fork")
    assert not is_in_bad_fork()


@pytest.mark.parametrize(("devices", "is_bad"), [(0, False), (2, True)])
def test_a_fork_is_bad_where_there_is_a_gpu_alone(monkeypatch, devices, is_bad):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    assert is_in_bad_fork() == is_bad


def test_what_datasets_says_of_rows():
    rows = Dataset.from_dict({"text": ["a"], "scores": [[0.5]]})
    assert fingerprint_of(rows) == fingerprint_of(rows) != fingerprint_of(rows.select([]))
    assert read_info(describe_info(rows.info)).features == rows.features


def test_a_worker_knows_its_number():
    with multiprocess.get_context("fork").Pool(2) as pool:
        pool.map(_prepare, range(2))


def _prepare(_: int) -> None:
    prepare_worker()
    assert torch.get_num_threads() == 1
