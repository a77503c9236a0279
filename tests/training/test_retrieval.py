"""Rows become anchors with a positive and negatives, which sentence-transformers learns from."""

import json

import pytest
from datasets import Dataset, DatasetDict, concatenate_datasets

from hf_rare.errors import BatchTypeError, ColumnError, ConfigError
from hf_rare.training.retrieval import to_retrieval
from tests.support.distilled import distilled_rows


@pytest.fixture
def distilled(demo_rows) -> Dataset:
    return distilled_rows(demo_rows)


def test_anchors_with_positives_and_negatives(distilled):
    exported = to_retrieval(distilled, keep_columns=["id"], statuses=("ok",))
    assert exported.column_names == ["anchor", "positive", "negative_1", "negative_2", "negative_3", "id"]
    ok = [row for row in distilled if row["reasoning_status"] == "ok"]
    assert len(exported) == len(ok) == 11
    for row, source in zip(exported, ok, strict=True):
        assert row["anchor"] == f"{source['scenario']}\n{source['question']}"
        assert (row["positive"], row["negative_1"]) == (source["text"], source["hard_negatives"][0])
        assert row["id"] == source["id"]
    every = to_retrieval(distilled, 1, query="question")  # triplets need no trace
    assert every.column_names == ["anchor", "positive", "negative_1"]
    assert len(every) == len(distilled) == 14
    assert to_retrieval(distilled, 0)[0].keys() == {"anchor", "positive"}


def test_rows_with_too_few_negatives(rows, caplog):
    many = rows.to_list()
    many[1]["hard_negatives"] = ["One."]
    many[2]["hard_negatives"] = None
    many[3] = many[0] | {"id": "again"}
    many[4]["question"] = many[4]["scenario"] = ""
    dataset = Dataset.from_list(many, features=rows.features)
    assert to_retrieval(dataset, keep_columns=["id"])["id"][:] == ["row-0", "row-5"]
    assert "4 of 6 rows are left out" in caplog.text
    assert "2 have too few negatives" in caplog.text
    padded = to_retrieval(dataset, 3, pad=True, keep_columns=["id"])
    assert padded["id"][:] == ["row-0", "row-1", "row-5"]
    assert padded[1]["negative_3"] == "One."
    assert padded[0]["negative_3"] == padded[0]["negative_1"]


def test_as_many_negatives_as_most_of_the_rows_have_that_are_exported(rows):
    many = [row | {"reasoning_status": "empty", "hard_negatives": ["One."]} for row in rows]
    many[4]["reasoning_status"] = many[5]["reasoning_status"] = "ok"
    many[5]["hard_negatives"] = many[4]["hard_negatives"] = ["One.", "Two.", "Three."]
    exported = to_retrieval(Dataset.from_list(many), statuses=["ok"])
    assert len(exported) == 2
    assert exported.column_names == ["anchor", "positive", "negative_1", "negative_2", "negative_3"]


def test_samples_count_by_any_status(rows):
    sampled = Dataset.from_list([row | {"reasoning_status": ["failed", "ok"]} for row in rows])
    assert len(to_retrieval(sampled, statuses=["ok"])) == len(rows)
    assert len(to_retrieval(sampled, statuses=["empty"])) == 0


def test_formats_change_nothing(distilled):
    expected = json.dumps(to_retrieval(distilled).to_list())
    assert json.dumps(to_retrieval(distilled.with_format("pandas")).to_list()) == expected


def test_wrong_settings_are_errors(distilled):
    with pytest.raises(ConfigError, match="num_negatives"):
        to_retrieval(distilled, -1)
    with pytest.raises(ColumnError, match="no column 'queries'"):
        to_retrieval(distilled, query=["queries"])
    with pytest.raises(BatchTypeError, match="DatasetDict"):
        to_retrieval(DatasetDict(train=distilled))


@pytest.mark.integration
def test_sentence_transformers_learns_from_triplets(distilled, tiny_embedder, tmp_path):
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    exported = to_retrieval(distilled, 2)
    shared = exported[0] | {"anchor": "Another question about the same document?"}
    exported = concatenate_datasets([exported, Dataset.from_list([shared], exported.features)])
    student = SentenceTransformer(tiny_embedder, device="cpu")
    before = {name: weight.clone() for name, weight in student.named_parameters()}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=len(exported),
        learning_rate=1e-2,
        batch_sampler="no_duplicates",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
    )
    loss = MultipleNegativesRankingLoss(student)
    trainer = SentenceTransformerTrainer(student, arguments, train_dataset=exported, loss=loss)
    batch = trainer.data_collator([exported[0], exported[1]])
    lengths = {name: batch[name].shape[0] for name in batch if name.endswith("_input_ids")}
    assert list(lengths) == [f"{name}_input_ids" for name in ("anchor", "positive", "negative_1", "negative_2")]
    assert set(lengths.values()) == {2}
    batches = list(trainer.get_train_dataloader().batch_sampler)
    assert not any({0, len(exported) - 1} <= set(batch) for batch in batches)
    result = trainer.train()
    assert result.global_step == 2
    assert result.training_loss > 0
    assert any(not weight.equal(before[name]) for name, weight in student.named_parameters())
