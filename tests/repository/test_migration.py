"""The pages on moving in: code for this library runs, code for others has their names, and the tables know both."""

import ast
import dataclasses
import re
import tomllib
from importlib.util import find_spec

import pytest
from datasets import Dataset

import hf_rare
from hf_rare import MissingPackageError
from hf_rare.cli.flags import MODEL_GROUPS
from hf_rare.negatives.settings import MiningConfig
from hf_rare.settings.vllm import REFUSED_ENGINE_KWARGS, VLLMConfig
from hf_rare.settings.writers import DistillConfig
from tests.conftest import REPOSITORY
from tests.repository.test_docs import names_in, read_table
from tests.support.loopback_hub import hub_fixture  # noqa: F401
from tests.support.pages import Page, enter_fixture, run_blocks, stand_ins_fixture, write_inputs  # noqa: F401

FOLDER = REPOSITORY / "docs" / "migration"
OTHERS = tomllib.loads((REPOSITORY / "tests" / "data" / "others.toml").read_text(encoding="utf-8"))
TABLES = {
    "curator": ("curator",),
    "dataflow": ("operator", "before it"),
    "distilabel": ("distilabel",),
    "map": ("by hand",),
    "vllm": ("`LLM`, `SamplingParams`",),
}
CONFIGS = (DistillConfig, MiningConfig, *MODEL_GROUPS.values())
OURS = {
    *hf_rare.__all__,
    *(field.name for config in CONFIGS for field in dataclasses.fields(config)),
    *("from_endpoint", "from_pretrained", "token", "distill_fn", "ds", "None"),
}


def page_from(name: str) -> Page:
    return Page(FOLDER / f"{name}.md")


def rows_of(name: str) -> list[list[str]]:
    return [row for heading in TABLES[name] for row in read_table(page_from(name).text, heading)]


def test_each_page_can_be_found_from_the_first_one():
    first = Page(REPOSITORY / "docs" / "migration.md")
    linked = {link for link in first.links if "migration/" in link}
    assert linked == {f"migration/{path.name}" for path in FOLDER.iterdir()}
    assert {path.stem for path in FOLDER.iterdir()} == set(TABLES) == {*OTHERS, "map"}


@pytest.mark.parametrize("name", OTHERS)
def test_the_code_for_others_has_the_names_of_the_release_that_the_page_names(name):
    other, page = OTHERS[name], page_from(name)
    assert f"{other['package']} {other['version']}" in page.text
    (block,) = page.blocks_of("py")
    tree = ast.parse(block.text)
    compile(tree, str(page.path), "exec")
    imports = {node.module: node.names for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert set(other["imports"]) <= set(imports)
    for module, names in other["imports"].items():
        assert {alias.name for alias in imports[module]} <= set(names)
    called = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function = getattr(call.func, "id", None) or call.func.attr
        for keyword in call.keywords:
            if function in other["parameters"]:
                assert keyword.arg in other["parameters"][function], f"{function}({keyword.arg}=...)"
            if keyword.arg in other.get("keys", {}):
                assert {key.value for key in keyword.value.keys} <= set(other["keys"][keyword.arg]), keyword.arg
        called.add(function)
    assert set(other["parameters"]) - {"methods"} <= called


@pytest.mark.parametrize("name", OTHERS)
def test_the_parameters_of_others_are_those_that_they_have(name):
    other = OTHERS[name]
    theirs = {known for names in (*other["parameters"].values(), *other.get("keys", {}).values()) for known in names}
    theirs |= {*other["parameters"], "backend", "batch", "storage", "chat_template_kwargs"}
    for row in rows_of(name):
        for text in names_in(row[:1]):
            assert text.partition("=")[0] in theirs, text


@pytest.mark.parametrize("name", TABLES)
def test_the_parameters_of_ours_are_those_that_there_are(name):
    named = 0
    for row in rows_of(name):
        for text in names_in(row[1:2]):
            first = re.match(r"\w+", text)[0]
            assert first in OURS, text
            named += 1
    assert named > 5


def test_what_goes_into_the_arguments_of_vllm_is_taken_and_what_does_not_is_refused():
    taken = [name for row in rows_of("vllm") if row[1].startswith("`engine_kwargs`") for name in names_in(row[:1])]
    assert VLLMConfig(engine_kwargs=dict.fromkeys(taken, 1)).engine_kwargs
    refused = [name for row in rows_of("vllm") if row[1].startswith("nothing: ") for name in names_in(row[:1])]
    assert refused and set(refused) <= set(REFUSED_ENGINE_KWARGS)


def test_what_was_written_by_hand_is_written_here_too(tmp_path, monkeypatch, tiny):
    """With a teacher whose text hangs on every token of its prompt, for rows whose documents have one order."""
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    rows = Dataset.from_json("questions.jsonl", cache_dir="cache").map(lambda row: {"hard_negatives": []})
    rows.to_json("questions.jsonl")
    page = Page(tmp_path / "map.md")
    text = page_from("map").text.replace("Qwen/Qwen3-8B", tiny).replace("max_new_tokens=1024", "max_new_tokens=24")
    page.path.write_text(text)
    *_, (_, namespace) = run_blocks(page, tmp_path)
    by_hand, here = namespace["by_hand"]["reasoning"][:], namespace["distilled"]["reasoning"][:]
    assert len(set(by_hand)) == len(rows)
    for theirs, ours in zip(by_hand, here, strict=True):
        assert theirs.strip() == re.sub(r"<\|im_\w+\|>", "", ours).strip()  # by hand, special tokens are left out


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is here, and would be started")
def test_the_settings_for_vllm_are_right_up_to_vllm_itself(enter):
    page = page_from("vllm")
    folder = enter("".join(block.text for block in page.blocks_of("python")))
    _, namespace = next(run_blocks(page, folder))
    with pytest.raises(MissingPackageError):
        namespace["main"]()
