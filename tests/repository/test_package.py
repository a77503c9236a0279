"""What is public, what an import costs, which way imports run, and what the wheel holds."""

import ast
import subprocess
import sys
import zipfile

import pytest

import hf_rare
from hf_rare import errors
from tests.conftest import REPOSITORY

LAYERS = [
    ["errors"],
    ["passed_through"],
    ["config"],
    ["writer_config", "journal", "job_store", "duplicates"],
    ["bm25", "templates", "json_answers", "answer_forms", "math_answers", "math_worker", "near_duplicates"],
    ["answers", "decontamination", "mining"],
    ["rows", "corpus"],
    ["dense", "retrieving"],
    ["team"],
    ["prompts", "parsing", "budget"],
    ["item_prompts"],
    ["generation.protocol"],
    ["sharing", "explaining"],
    ["checkpoint", "commits"],
    [
        "generation.batching",
        "generation.batch_cache",
        "generation.guides",
        "generation.renumbering",
        "generation.sampling",
        "generation.revisions",
        "generation.tokenizing",
        "generation.devices",
    ],
    ["generation.encoding", "generation.loading", "generation.decoding", "generation.token_lookup"],
    ["generation.plain_engine"],
    ["generation.row_logits", "generation.slot_cache", "generation.row_cache"],
    ["generation.static_engine", "generation.continuous_engine"],
    ["generation.transformers_generator"],
    ["assembly", "batches", "progress"],
    ["results", "completing", "estimate", "recipe"],
    ["statistics"],
    ["summary", "attempts"],
    ["writer"],
    ["traces", "item_writer", "judge"],
    ["distill", "questions", "negative_writer"],
    ["evidence", "negatives", "student", "training_rows", "exporting"],
    ["grounding", "grounding_summary", "verifying", "export", "retrieval_export"],
    ["demo", "journals", "ray", "markdown", "shards", "trace_selection"],
    ["card_header", "card_recipe", "card_tables", "plots", "previewing"],
    ["card_merging", "layout"],
    ["card"],
    ["hub"],
    ["pipeline_settings", "files"],
    ["pipeline"],
    ["cli_settings"],
    ["cli_hub", "cli_journal", "cli_rows", "cli_writers"],
    ["cli"],
    ["__main__"],
]


def test_the_public_names_are_sorted_and_there():
    assert hf_rare.__all__ == sorted(hf_rare.__all__)
    for name in hf_rare.__all__:
        assert getattr(hf_rare, name).__doc__
        assert callable(getattr(hf_rare, name))  # also the second time: no module has taken its place
    assert set(hf_rare.__all__) <= set(dir(hf_rare))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = hf_rare.Nothing


def test_import_is_quick_and_brings_no_torch():
    code = (
        "import sys, time; start = time.perf_counter(); import hf_rare; seconds = time.perf_counter() - start;"
        "heavy = [name for name in ('torch', 'transformers', 'datasets', 'pandas') if name in sys.modules];"
        "assert not heavy, heavy; assert seconds < 0.3, seconds; hf_rare.ReasonDistiller;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_error_is_ours_and_a_builtin():
    for name, error in vars(errors).items():
        if isinstance(error, type) and error is not errors.HfRareError:
            assert issubclass(error, errors.HfRareError), name
            assert issubclass(error, (ValueError, TypeError, OSError, ImportError, RuntimeError)), name


def _imports(path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hf_rare."):
            found.add(node.module.removeprefix("hf_rare."))
        elif isinstance(node, ast.ImportFrom) and node.module == "hf_rare":
            found |= {alias.name for alias in node.names if (REPOSITORY / "hf_rare" / f"{alias.name}.py").exists()}
    return found


def test_imports_run_one_way():
    place = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    package = REPOSITORY / "hf_rare"
    modules = {
        ".".join(path.relative_to(package).with_suffix("").parts): path
        for path in package.rglob("*.py")
        if path.name != "__init__.py"
    }
    assert set(modules) == set(place)
    for name, path in modules.items():
        for imported in _imports(path):
            assert place[imported] < place[name], f"{name} imports {imported}"


def test_the_wheel_holds_templates_data_and_cards(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, REPOSITORY],
        check=True,
        timeout=110,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "hf_rare/templates/rare.jinja",
        "hf_rare/templates/rare-qa.jinja",
        "hf_rare/templates/plain.jinja",
        "hf_rare/templates/questions.jinja",
        "hf_rare/data/demo.jsonl",
        "hf_rare/py.typed",
        "hf_rare/cards/dataset_card.md",
        "hf_rare/generation/transformers_generator.py",
    ):
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "examples/"))]
