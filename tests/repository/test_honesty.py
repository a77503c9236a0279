"""Tests see what users see: they name nothing that is private to the library, and read no clock."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FILES = sorted((REPOSITORY / "tests").rglob("*.py"))
ALLOWED = {
    "tests/support/fifth_writer.py": {"_settle"},  # a writer, made as the library's own are: its base has it for them
}
CLOCKS = {
    "time",
    "time_ns",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
}  # of the wall; CPU time may be read
MAY_READ_A_CLOCK = {
    "tests/attack/test_readmes.py": "what hangs is counted, and not waited for",
    "tests/support/loopback_hub/large_files.py": "a Hub says when its tokens expire",
    "tests/support/loopback_hub/storage.py": "likewise",
    "tests/support/rank_job.py": "gives a process a clock that runs fast",
}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_")


def private_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Return what is private among the names that code defines or sets: functions, classes, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and is_private(node.name):
            yield node.name, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and is_private(node.id):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_private(node.attr):
            yield node.attr, node.lineno


def mentions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Return the private names that code reads, imports or patches in something else than itself."""
    own = {name for name, _ in private_names(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") and node.attr in own
            if not is_own:
                yield node.attr, node.lineno
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hf_rare"):
            yield from ((alias.name, node.lineno) for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.Call):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    name = argument.value.rpartition(".")[2]
                    if name.isidentifier() and is_private(name):
                        yield name, node.lineno


LIBRARY = {
    name for path in (REPOSITORY / "hf_rare").rglob("*.py") for name, _ in private_names(ast.parse(path.read_text()))
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_test_names_what_is_private_to_the_library(path: Path):
    assert {"_journal", "_generate"} < LIBRARY
    allowed = ALLOWED.get(str(path.relative_to(REPOSITORY)), set())
    found = [(name, line) for name, line in mentions(ast.parse(path.read_text())) if name in LIBRARY]
    assert [f"{path}:{line} {name}" for name, line in found if name not in allowed] == []
    assert {name for name, _ in found} >= allowed  # what is not needed any more is not allowed any more


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_test_reads_a_clock(path: Path):
    read = [
        f"{path}:{node.lineno} time.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in CLOCKS
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
    ]
    assert bool(read) == (str(path.relative_to(REPOSITORY)) in MAY_READ_A_CLOCK), read


def test_reaching_into_the_library_is_noticed():
    source = (
        "from hf_rare.x import _Clock\nx._engine.write()\nsetattr(x, '_packer', 1)\npatch('hf_rare.x._run')\n"
        "class A:\n    def __init__(self):\n        self._own = self._teacher\n        x._repr_html_()\n"
    )
    assert [name for name, _ in mentions(ast.parse(source))] == ["_Clock", "_packer", "_run", "_engine", "_teacher"]
