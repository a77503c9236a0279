"""What the README shows runs, and what it says of parameters and the demo's row is true."""

import inspect
import json
import re
import shutil

import huggingface_hub
import pytest

from benchmarks.machine import RESULTS
from benchmarks.plot_throughput import make_table
from hf_rare import build_card, push_to_hub
from hf_rare.cli.demo import load_demo_dataset
from hf_rare.cli.flags import MODEL_GROUPS
from hf_rare.prompts.prompt import build_prompt
from hf_rare.rows.row import read_row
from hf_rare.settings.writers import DistillConfig
from hf_rare.writers import ray
from hf_rare.writers.distill import ReasonDistiller
from tests.conftest import REPOSITORY
from tests.support.tiny import THINKING_CHAT_TEMPLATE, save_tiny_model

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def teacher_in_cache(tmp_path):
    """A tiny teacher in the Hub's cache under the name that the README uses."""
    repo = tmp_path / "models--Qwen--Qwen3-8B"
    sha = "c" * 40
    folder = save_tiny_model(repo / "snapshots" / sha, THINKING_CHAT_TEMPLATE, max_position_embeddings=8192)
    config = (folder / "tokenizer_config.json").read_text()
    (folder / "tokenizer_config.json").write_text(
        config.replace('"model_max_length": 2048', '"model_max_length": 8192')
    )
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(sha)
    target = huggingface_hub.constants.HF_HUB_CACHE + "/" + repo.name
    shutil.copytree(repo, target)
    yield
    shutil.rmtree(target)


def test_the_python_blocks_run_one_after_another(teacher_in_cache, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    load_demo_dataset().select(range(8)).to_json("questions.jsonl")
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 7
    with_hub = blocks.pop()  # tests/hub/test_push.py runs it
    arguments = dict.fromkeys(re.findall(r"(\w+)=", with_hub))
    inspect.signature(push_to_hub).bind("dataset", "repo_id", **arguments)
    assert set(arguments) <= {*inspect.signature(push_to_hub).parameters, *inspect.signature(build_card).parameters}
    with_ray = blocks.pop()  # tests/writers/test_ray.py runs it
    inspect.signature(ray.distill_with_ray).bind(
        "source", "distill_fn", **dict.fromkeys(re.findall(r"(\w+)=", with_ray))
    )
    # a random teacher writes no closing tag, so its rows are `unparsed`; the README keeps the good ones
    blocks[0] = blocks[0].replace('== "ok"', '!= "ok"')
    namespace = {}
    for block in blocks:
        exec(block, namespace)
    assert (tmp_path / "traces.parquet").exists()
    assert len(namespace["samples"]) == 4
    output = capsys.readouterr().out
    assert "4 traces" in output
    assert output.count("unparsed\n") == 2
    assert "positive at 1" in output or "all: 0 traces" in output
    assert all(namespace["questions"]["hard_negatives"])


def test_every_setting_is_in_the_table():
    table = README.split("## Settings")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.*?)\|", table, re.MULTILINE))))
    assert named == {name for config in (DistillConfig, *MODEL_GROUPS.values()) for name in config.names()}


def test_the_original_operators_parameters_are_mapped():
    table = README.split("## From DataFlow's operator")[1].split("\n## ")[0]
    defaults = DistillConfig()
    for old, new in re.findall(r"^\| `input_\w+=\"\w+\"` \| `(\w+)=\"(\w+)\"` \|$", table, re.MULTILINE):
        assert getattr(defaults, old) == new
    for name in ("llm_serving", "storage", "input_text_key", "input_question_key", "input_scenario_key"):
        assert f"`{name}" in table
    for name in ("input_hardneg_key", "output_key"):
        assert f"`{name}" in table


def test_every_new_column_is_explained():
    table = README.split("| new column |")[1].split("\n\n")[0]
    names = re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE)
    features = ReasonDistiller(generator=None).features()
    assert [name for name, _ in names] == list(features)
    for name, kind in names:
        feature = features[name]
        assert kind == (feature.dtype if hasattr(feature, "dtype") else f"list of {feature.feature.dtype}")


def test_the_example_is_a_row_of_the_demo():
    example = README.split("## What one row becomes")[1].split("```text\n")[1].split("```")[0]
    row = next(row for row in load_demo_dataset() if f"id: {row['id']}\n" in example)
    prompt = build_prompt(read_row(row, DistillConfig()), DistillConfig())
    assert f"question: {row['question']}" in example
    assert f"reasoning_document_order: {prompt.document_order}" in example
    assert f"reasoning_positive_position: {prompt.document_order.index(0) + 1}" in example


def test_the_table_of_speeds_is_that_of_the_result():
    assert make_table(json.loads((RESULTS / "throughput.json").read_text())) in README
