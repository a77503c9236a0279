"""The callable in `Dataset.map`: the row contract, every kind of dataset and format, and the cache."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
from datasets import DatasetDict
from datasets.fingerprint import Hasher

from hf_rare import ReasonDistiller
from hf_rare.errors import BatchTypeError, ColumnError, ConfigError, ModelLoadError, TemplateError
from tests.support.scripted import ScriptedGenerator

OUTPUTS = {
    "reasoning": datasets.Value("string"),
    "reasoning_answer": datasets.Value("string"),
    "reasoning_status": datasets.Value("string"),
    "reasoning_error": datasets.Value("string"),
    "reasoning_completion_tokens": datasets.Value("int64"),
    "reasoning_prompt_tokens": datasets.Value("int64"),
    "reasoning_positive_position": datasets.Value("int64"),
    "reasoning_document_order": datasets.List(datasets.Value("int64")),
    "reasoning_documents_truncated": datasets.Value("int64"),
}


def echo(text: str, seed: int) -> str:
    """Answer with the last characters of the question and the seed."""
    return f"<think>{text[-12:]}</think>{seed}"


def new_columns(dataset) -> dict:
    dataset = dataset.with_format(None)
    return {name: dataset[name][:] for name in OUTPUTS if name in dataset.column_names}


# the row contract


def test_map_adds_the_columns_of_the_contract_and_keeps_the_rest(rows, distill_fn):
    distilled = rows.map(distill_fn, batched=True)
    assert distilled.features == datasets.Features({**rows.features, **OUTPUTS})
    assert distilled.select_columns(rows.column_names).to_list() == rows.to_list()
    for row in distilled:
        order = row["reasoning_document_order"]
        assert sorted(order) == [0, 1, 2]
        assert order[row["reasoning_positive_position"] - 1] == 0
        assert row["reasoning_status"] in ("ok", "truncated", "unparsed")
        assert (row["reasoning_error"] == "") == (row["reasoning_status"] == "ok")
        assert 0 < row["reasoning_completion_tokens"] <= 12
        assert row["reasoning_prompt_tokens"] > 100
        assert row["reasoning_documents_truncated"] == 0
    assert len(set(distilled["reasoning"])) == len(rows)


def test_a_completion_at_the_limit_is_truncated_and_never_ok(rows, tiny):
    distilled = rows.map(ReasonDistiller.from_pretrained(tiny, max_new_tokens=2), batched=True)
    assert distilled["reasoning_status"][:] == ["truncated"] * len(rows)
    assert all("token limit" in error for error in distilled["reasoning_error"])
    assert all(distilled["reasoning"])


def test_minimal_columns_and_another_name(rows, tiny):
    distilled = rows.map(
        ReasonDistiller.from_pretrained(tiny, max_new_tokens=4, columns="minimal", output_column="trace"), batched=True
    )
    assert distilled.column_names == [*rows.column_names, "trace"]


def test_other_input_columns(rows, tiny, distill_fn):
    names = {"question": "q", "scenario": "s", "text": "t", "hard_negatives": "n"}
    other = ReasonDistiller.from_pretrained(
        tiny,
        max_new_tokens=12,
        question_column="q",
        scenario_column="s",
        text_column="t",
        hard_negatives_column="n",
    )
    expected = new_columns(rows.map(distill_fn, batched=True))
    assert new_columns(rows.rename_columns(names).map(other, batched=True)) == expected


def test_options_column_of_a_multiple_choice_question(tiny):
    from tests.repository.test_examples import load_rows

    ds = load_rows().select(range(3))
    distill_fn = ReasonDistiller.from_pretrained(tiny, max_new_tokens=8, template="rare-qa", context_length=4000)
    distilled = ds.map(distill_fn, batched=True)
    assert set(distilled["reasoning_status"]) <= {"truncated", "unparsed"}  # a random model gives no <answer>
    with pytest.raises(ColumnError, match="'options'"):
        ds.remove_columns("options").map(distill_fn, batched=True)


def test_a_pre_filled_thought_is_read_as_such(rows, tiny_thinking):
    distill_fn = ReasonDistiller.from_pretrained(
        tiny_thinking, max_new_tokens=40, generation_kwargs={"eos_token_id": list(range(3, 60)), "temperature": 1.5}
    )
    distilled = rows.map(distill_fn, batched=True)
    ended = [row for row in distilled if row["reasoning_status"] != "truncated"]
    assert ended
    assert all(row["reasoning_status"] == "unparsed" for row in ended)  # a random model never closes the thought
    assert all("</think>" in row["reasoning_error"] for row in ended)


# settings that cannot be right


def test_a_missing_input_column_is_an_error_before_anything_is_generated(rows, distill_fn):
    distill_fn.generator.unload()
    with pytest.raises(ColumnError, match="no column 'scenario'"):
        rows.remove_columns("scenario").map(distill_fn, batched=True)
    with pytest.raises(ColumnError, match="no column 'scenario'"):
        distill_fn.apply(rows.remove_columns("scenario"))
    assert not distill_fn.generator.is_loaded


def test_a_column_that_the_template_does_not_use_may_be_missing(rows, tiny):
    plain = ReasonDistiller.from_pretrained(tiny, max_new_tokens=4, template="plain")
    assert "reasoning" in rows.remove_columns("scenario").map(plain, batched=True).column_names


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_existing_output_column_is_an_error_before_anything_is_generated(rows, distill_fn, name):
    distill_fn.generator.unload()
    taken = rows.add_column(name, ["mine"] * len(rows))
    with pytest.raises(ColumnError, match=f"already has a column '{name}'"):
        taken.map(distill_fn, batched=True)
    with pytest.raises(ColumnError, match=f"already has a column '{name}'"):
        distill_fn.features(taken.features)
    assert not distill_fn.generator.is_loaded


def test_what_names_the_new_columns_is_said_and_nothing_that_is_read(rows, tiny):
    distill_fn = ReasonDistiller.from_pretrained(tiny, output_column="text_trace", text_column="text")
    with pytest.raises(ColumnError, match=r"another name: output_column=\.\.\.\.$"):
        rows.add_column("text_trace", rows["text"]).map(distill_fn, batched=True)


def test_without_batched_and_with_input_columns_the_error_says_what_to_do(rows, distill_fn):
    with pytest.raises(BatchTypeError, match="batched=True"):
        rows.map(distill_fn)
    with pytest.raises(BatchTypeError, match="without `input_columns`"):
        rows.map(distill_fn, batched=True, input_columns=["question", "text"])


def test_unknown_settings_are_refused(tiny):
    with pytest.raises(ConfigError, match="Did you mean 'max_new_tokens'"):
        ReasonDistiller.from_pretrained(tiny, max_newtokens=4)
    with pytest.raises(ConfigError, match="Did you mean 'text_column'"):
        ReasonDistiller(ScriptedGenerator(echo), text_colum="t")
    with pytest.raises(TemplateError, match="'nothing'"):
        ReasonDistiller(ScriptedGenerator(echo), template="{{ nothing }}")
    with pytest.raises(ModelLoadError, match="no/such-model"):
        ReasonDistiller.from_pretrained("no/such-model")


# any kind of dataset


@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_the_batch_size_changes_nothing(rows, distill_fn, batch_size):
    expected = new_columns(rows.map(distill_fn, batched=True))
    assert new_columns(rows.map(distill_fn, batched=True, batch_size=batch_size)) == expected


@pytest.mark.parametrize("generation_kwargs", [{}, {"temperature": 1.2, "top_p": 0.9}])
def test_order_and_neighbours_change_nothing(rows, tiny, generation_kwargs):
    distill_fn = ReasonDistiller.from_pretrained(tiny, max_new_tokens=12, generation_kwargs=generation_kwargs)
    whole = rows.map(distill_fn, batched=True).to_list()
    backwards = rows.select(range(len(rows) - 1, -1, -1)).map(distill_fn, batched=True, batch_size=4).to_list()
    assert backwards[::-1] == whole
    assert rows.select([2]).map(distill_fn, batched=True).to_list() == [whole[2]]


def test_the_seed_changes_order_and_draw(rows, tiny):
    def distill(seed):
        distill_fn = ReasonDistiller.from_pretrained(
            tiny, max_new_tokens=12, seed=seed, generation_kwargs={"temperature": 1.0}
        )
        return new_columns(rows.map(distill_fn, batched=True))

    zero, one = distill(0), distill(1)
    assert zero["reasoning_document_order"] != one["reasoning_document_order"]
    assert zero["reasoning"] != one["reasoning"]


@pytest.mark.parametrize("format_name", ["numpy", "torch", "pandas", "arrow", "polars"])
@pytest.mark.parametrize("how", ["map", "apply"])
def test_every_format_gives_the_same_columns(rows, distill_fn, format_name, how):
    expected = rows.map(distill_fn, batched=True).to_list()
    formatted = rows.with_format(format_name)
    run = formatted.map(distill_fn, batched=True, batch_size=4) if how == "map" else distill_fn.apply(formatted)
    assert run.with_format(None).to_list() == expected


def test_indices_and_rank_are_accepted_and_change_nothing(rows, distill_fn):
    expected = new_columns(rows.map(distill_fn, batched=True))
    run = rows.map(distill_fn, batched=True, with_indices=True, with_rank=True)
    assert new_columns(run) == expected
    assert new_columns(rows.map(distill_fn, batched=True, with_rank=True)) == expected


def test_two_worker_processes_after_torch_was_used_in_the_parent(rows, distill_fn):
    expected = new_columns(rows.map(distill_fn, batched=True))
    assert distill_fn.generator.is_loaded
    assert new_columns(rows.map(distill_fn, batched=True, with_rank=True, num_proc=2)) == expected


def test_dataset_dict_and_iterable_datasets(rows, distill_fn):
    expected = new_columns(rows.map(distill_fn, batched=True))
    splits = DatasetDict({"train": rows, "empty": rows.select([])})
    assert new_columns(splits.map(distill_fn, batched=True)["train"]) == expected
    applied = distill_fn.apply(splits)
    assert new_columns(applied["train"]) == expected
    assert applied["empty"].features == distill_fn.features(rows.features)
    for stream in (rows.to_iterable_dataset(), datasets.IterableDataset.from_generator(lambda: iter(rows.to_list()))):
        for run in (stream.map(distill_fn, batched=True, batch_size=4), distill_fn.apply(stream)):
            listed = list(run)
            assert {name: [row[name] for row in listed] for name in OUTPUTS} == expected


def test_apply_gives_an_empty_dataset_its_columns(rows, distill_fn):
    distill_fn.generator.unload()
    empty = distill_fn.apply(rows.select([]))
    assert len(empty) == 0
    assert empty.features == datasets.Features({**rows.features, **OUTPUTS})
    assert not distill_fn.generator.is_loaded
    with pytest.raises(ColumnError, match="no column 'question'"):
        distill_fn.apply(rows.select([]).remove_columns("question"))


@pytest.mark.parametrize("expand", [False, True])
def test_apply_removes_columns_and_keeps_the_rest(rows, tiny, expand):
    distill_fn = ReasonDistiller.from_pretrained(
        tiny, max_new_tokens=4, num_samples=2, expand=expand, generation_kwargs={"temperature": 1.0}
    )
    for dataset in (rows, rows.select([]), rows.to_iterable_dataset(), DatasetDict({"train": rows})):
        distilled = distill_fn.apply(dataset, remove_columns=["answer", "text"])
        distilled = distilled["train"] if isinstance(distilled, dict) else distilled
        assert set(distilled.features) == {*distill_fn.features(), "id", "question", "scenario", "hard_negatives"}
        assert [row["id"] for row in distilled] == [row["id"] for row in distilled if row["id"]]
    again = distill_fn.apply(distill_fn.apply(rows), remove_columns=list(distill_fn.features()))
    assert again.features == distill_fn.features(rows.features)


def test_features_for_map(rows, distill_fn):
    features = distill_fn.features(rows.features)
    assert rows.map(distill_fn, batched=True, features=features).features == features
    assert distill_fn.features() == datasets.Features(OUTPUTS)


# samples


def test_samples_come_as_lists(rows, tiny):
    distill_fn = ReasonDistiller.from_pretrained(
        tiny, max_new_tokens=12, num_samples=3, generation_kwargs={"temperature": 1.2}
    )
    distilled = distill_fn.apply(rows)
    assert distilled.features["reasoning"] == datasets.List(datasets.Value("string"))
    assert distilled.features["reasoning_prompt_tokens"] == datasets.Value("int64")
    for row in distilled:
        assert len(set(row["reasoning"])) == 3
        assert [len(row[f"reasoning_{end}"]) for end in ("answer", "status", "error", "completion_tokens")] == [3] * 4
    single = ReasonDistiller.from_pretrained(tiny, max_new_tokens=12, generation_kwargs={"temperature": 1.2})
    assert [traces[0] for traces in distilled["reasoning"]] == rows.map(single, batched=True)["reasoning"][:]


@pytest.mark.parametrize("format_name", [None, "numpy", "torch", "pandas", "arrow", "polars"])
def test_samples_come_as_rows_with_expand(rows, tiny, format_name):
    settings = {"max_new_tokens": 12, "num_samples": 2, "generation_kwargs": {"temperature": 1.2}}
    lists = ReasonDistiller.from_pretrained(tiny, **settings).apply(rows).to_list()
    expanding = ReasonDistiller.from_pretrained(tiny, **settings, expand=True)
    expanded = expanding.apply(rows.with_format(format_name), batch_size=4).with_format(None)
    assert expanded.features == expanding.features(rows.features)
    assert expanded["id"][:] == [row["id"] for row in lists for _ in range(2)]
    assert expanded["reasoning_sample"][:] == [0, 1] * len(rows)
    assert expanded["reasoning"][:] == [trace for row in lists for trace in row["reasoning"]]
    assert expanded["reasoning_prompt_tokens"][:] == [row["reasoning_prompt_tokens"] for row in lists for _ in "ab"]


# any generator


def test_any_generator_will_do(rows):
    distill_fn = ReasonDistiller(ScriptedGenerator(echo), output_column="trace")
    distilled = rows.map(distill_fn, batched=True)
    assert distilled["trace"][0] == rows["question"][0][-12:]
    assert len(set(distilled["trace_answer"])) == len(rows)  # the seed of each row
    assert distilled["trace_prompt_tokens"][:] == [7] * len(rows)


# the cache of datasets


def test_hashing_reads_no_weights_when_the_model_is_loaded_and_is_the_same_before(rows, distill_fn, tiny, monkeypatch):
    distill_fn.generator.unload()
    before = Hasher.hash(distill_fn)
    rows.map(distill_fn, batched=True, keep_in_memory=True, new_fingerprint="other")
    distill_fn.generator.load()
    sizes, hash_bytes = [], Hasher.hash_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Hasher, "hash_bytes", lambda value: sizes.append(len(value)) or hash_bytes(value))
        assert Hasher.hash(distill_fn) == before
    assert 0 < sum(sizes) < 10_000 < (Path(tiny) / "model.safetensors").stat().st_size
    assert Hasher.hash(ReasonDistiller.from_pretrained(tiny, max_new_tokens=12)) == before
    assert Hasher.hash(pickle.loads(pickle.dumps(distill_fn))) == before


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 13},
        {"seed": 1},
        {"template": "plain"},
        {"template": "{{ question }}{% for d in documents %}{{ d.text }}{% endfor %}"},
        {"system_prompt": "Be brief."},
        {"generation_kwargs": {"temperature": 1.0}},
        {"num_samples": 2},
        {"dtype": "float64"},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ],
)
def test_every_setting_changes_the_hash(distill_fn, tiny, settings):
    other = ReasonDistiller.from_pretrained(tiny, **{"max_new_tokens": 12, **settings})
    assert Hasher.hash(other) != Hasher.hash(distill_fn)


@pytest.mark.parametrize("name", ["GENERATION_REVISION", "READING_REVISION"])
def test_a_revision_changes_the_hash(distill_fn, monkeypatch, name):
    before = Hasher.hash(distill_fn)
    monkeypatch.setattr(f"hf_rare.runs.pickling.{name}", -1)
    assert Hasher.hash(distill_fn) != before


def test_a_template_file_counts_by_its_text(tiny, tmp_path):
    path = tmp_path / "own.jinja"
    path.write_text("{{ question }} one")
    first = ReasonDistiller.from_pretrained(tiny, template=path)
    path.write_text("{{ question }} two")
    assert Hasher.hash(first) != Hasher.hash(ReasonDistiller.from_pretrained(tiny, template=path))
    assert pickle.loads(pickle.dumps(first)).config.template == "{{ question }} one"


SECOND_RUN = """
import sys
from pathlib import Path
import datasets
from hf_rare import ReasonDistiller

ds = datasets.load_dataset("json", data_files=sys.argv[1], split="train")
distill_fn = ReasonDistiller.from_pretrained(sys.argv[2], max_new_tokens=12)
ds = ds.map(distill_fn, batched=True)
print(distill_fn.generator.is_loaded, "torch" in sys.modules, ds["reasoning"][:])
"""


@pytest.mark.slow
def test_a_second_run_in_a_new_process_reads_the_cache_and_loads_no_model(rows, tiny, tmp_path):
    rows.to_json(tmp_path / "rows.jsonl")
    outputs = []
    for seed in ("1", "2"):
        environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SECOND_RUN, str(tmp_path / "rows.jsonl"), tiny]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        outputs.append(done.stdout.strip().split(" ", 2))
    (first_loaded, _, first_texts), (second_loaded, second_torch, second_texts) = outputs
    assert first_loaded == "True"
    assert (second_loaded, second_torch) == ("False", "False")
    assert first_texts == second_texts


@pytest.mark.parametrize("rows", [None, [{"question": "a"}], {"question": ["a"]}], ids=["none", "list", "dict"])
def test_what_is_no_dataset_cannot_be_applied_to(distill_fn, rows):
    with pytest.raises(BatchTypeError, match="apply takes a Dataset"):
        distill_fn.apply(rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_torch_does_not_know_is_said(rows, tiny):
    distill_fn = ReasonDistiller.from_pretrained(tiny, max_new_tokens=2, device_map="cuda:7", journal_dir=None)
    missing = "NVIDIA" if torch.version.cuda else "CUDA"  # as the build of torch says it
    with pytest.raises(ModelLoadError, match=rf"cannot be loaded with AutoModelForCausalLM: .*{missing}"):
        distill_fn.apply(rows.select([0]))
