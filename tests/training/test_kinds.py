"""Exports check what columns hold, not only their names, and say what they leave out."""

import json
import logging

import pytest
from datasets import Dataset

from hf_rare.errors import ColumnError
from hf_rare.training.retrieval import to_retrieval
from hf_rare.training.trl import to_preference, to_sft
from tests.support.commands import command
from tests.support.distilled import distilled_rows

MANY = ("reasoning", "reasoning_answer", "reasoning_status", "reasoning_error", "reasoning_completion_tokens")


@pytest.fixture
def traces(demo_rows) -> Dataset:
    return distilled_rows(demo_rows)


@pytest.fixture
def sampled(traces) -> Dataset:
    rows = [{**row, **{name: [row[name]] * 2 for name in MANY}} for row in traces.select(range(4))]
    for row in rows:
        row |= {"reasoning": [row["reasoning"][0], "Other words."], "reasoning_status": ["ok", "ok"]}
    return Dataset.from_list([{**row, "reasoning_verdict": ["right", "wrong"]} for row in rows])


WRONG = {
    "negatives as text": ("retrieval", {"hard_negatives": "Bo"}, ["'hard_negatives'", "texts", "lists of texts"]),
    "negatives as numbers": ("retrieval", {"hard_negatives": [1, 2]}, ["'hard_negatives'", "lists of texts"]),
    "negatives as objects": ("retrieval", {"hard_negatives": [{"text": "a"}]}, ["'hard_negatives'", "objects"]),
    "negatives in lists": ("retrieval", {"hard_negatives": [["a"], ["b"]]}, ["'hard_negatives'", "lists of lists"]),
    "a positive in a list": ("retrieval", {"text": ["a"]}, ["'text'", "lists of texts"]),
    "a question that is a number": ("retrieval", {"question": 7}, ["'question'", "int64"]),
    "a scenario that is a list": ("retrieval", {"scenario": ["a"]}, ["'scenario'", "lists of texts"]),
    "sft, negatives as text": ("sft", {"hard_negatives": "Bo"}, ["'hard_negatives'", "lists of texts"]),
    "sft, a question that is a number": ("sft", {"question": 7}, ["'question'", "int64"]),
    "sft, a question that is a boolean": ("sft", {"question": True}, ["'question'", "true or false"]),
    "sft, a trace that is a number": ("sft", {"reasoning": 7}, ["'reasoning'", "int64"]),
    "sft, an answer that is a number": ("sft", {"reasoning_answer": 7.0}, ["'reasoning_answer'", "float64"]),
    "sft, an order as text": ("sft", {"reasoning_document_order": "0 1 2"}, ["'reasoning_document_order'", "texts"]),
    "sft, an order as a number": ("sft", {"reasoning_document_order": 0}, ["'reasoning_document_order'", "int64"]),
    "sft, an order of texts": ("sft", {"reasoning_document_order": ["0"]}, ["'reasoning_document_order'"]),
    "sft, a status as a number": ("sft", {"reasoning_status": 1}, ["'reasoning_status'"]),
    "sft, statuses of one trace": ("sft", {"reasoning_status": ["ok"]}, ["'reasoning_status'", "one"]),
    "sft, answers of one trace": ("sft", {"reasoning_answer": ["A"]}, ["'reasoning_answer'", "one"]),
    "sft, a sample as text": ("sft", {"reasoning_sample": "0"}, ["'reasoning_sample'", "texts"]),
    "kto, verdicts of one trace": ("kto", {"reasoning_verdict": ["right"]}, ["'reasoning_verdict'", "one"]),
    "kto, a verdict in other words": ("kto", {"reasoning_verdict": "correct"}, ["'reasoning_verdict'", "correct"]),
    "kto, a verdict as an object": ("kto", {"reasoning_verdict": {"a": 1}}, ["'reasoning_verdict'"]),
}


@pytest.mark.parametrize(("form", "changed", "words"), WRONG.values(), ids=WRONG)
def test_a_column_of_another_kind_is_an_error(traces, tmp_path, form, changed, words):
    Dataset.from_list([{**row, **changed} for row in traces]).save_to_disk(tmp_path / "rows")
    said = command("export", tmp_path / "rows", form, "--output", tmp_path / "out.jsonl")
    assert said.code == 3
    message = said.said.splitlines()[-1]
    assert message.startswith("hf-rare: ")
    assert [word for word in words if word not in message] == [], message
    assert not (tmp_path / "out.jsonl").exists()


UNEVEN = {
    "a verdict for many traces": ({"reasoning_verdict": "right"}, ["'reasoning_verdict'"]),
    "a status for many traces": ({"reasoning_status": "ok"}, ["'reasoning_status'"]),
    "an answer for many traces": ({"reasoning_answer": "A"}, ["'reasoning_answer'"]),
    "too few verdicts": ({"reasoning_verdict": ["right"]}, ["'reasoning_verdict'", "1", "2"]),
    "too many verdicts": ({"reasoning_verdict": ["right"] * 3}, ["'reasoning_verdict'", "3", "2"]),
    "too few answers": ({"reasoning_answer": ["A"]}, ["'reasoning_answer'", "1", "2"]),
    "too few statuses": ({"reasoning_status": ["ok"]}, ["'reasoning_status'", "1", "2"]),
}


@pytest.mark.parametrize("form", ["kto", "dpo"])
@pytest.mark.parametrize(("changed", "words"), UNEVEN.values(), ids=UNEVEN)
def test_samples_have_what_belongs_to_them(sampled, tmp_path, form, changed, words):
    Dataset.from_list([{**row, **changed} for row in sampled]).save_to_disk(tmp_path / "rows")
    said = command("export", tmp_path / "rows", form, "--output", tmp_path / "out.jsonl")
    assert said.code == 3
    message = said.said.splitlines()[-1]
    assert [word for word in words if word not in message] == [], message


def test_negatives_that_are_the_positive_are_left_out(caplog):
    rows = [
        {"question": "a?", "scenario": "", "text": "The rule.", "hard_negatives": ["The rule.", "one", "two"]},
        {"question": "b?", "scenario": "", "text": "\uff21 rule", "hard_negatives": ["a  RULE\n", "one", "two"]},
        {"question": "c?", "scenario": "", "text": "x", "hard_negatives": ["one", "  ", "", "two"]},
        {"question": "d?", "scenario": "", "text": "x", "hard_negatives": ["x"]},
        {"question": "e?", "scenario": "", "text": "  ", "hard_negatives": ["one", "two"]},
        {"question": " ", "scenario": None, "text": "x", "hard_negatives": ["one", "two"]},
        {"question": "f?", "scenario": "", "text": "x", "hard_negatives": None},
    ]
    caplog.set_level(logging.WARNING, logger="hf_rare.training")
    exported = to_retrieval(Dataset.from_list(rows))
    assert exported.column_names == ["anchor", "positive", "negative_1", "negative_2"]
    assert exported["anchor"][:] == ["a?", "b?", "c?"]
    assert exported["negative_1"][:] == ["one"] * 3
    assert exported["negative_2"][:] == ["two"] * 3
    assert "3 negatives are left out, which are the positive of their row" in caplog.text
    padded = to_retrieval(Dataset.from_list(rows), 2, pad=True)
    assert padded["anchor"][:] == ["a?", "b?", "c?"]
    assert to_retrieval(Dataset.from_list(rows), 0)["anchor"][:] == ["a?", "b?", "c?", "d?", "f?"]


def test_kto_with_one_label_says_so(traces, sampled, caplog):
    caplog.set_level(logging.WARNING, logger="hf_rare.training")
    to_preference(sampled, form="kto")
    assert "label" not in caplog.text
    for verdict, word in (("right", "right"), ("wrong", "wrong")):
        caplog.clear()
        made = to_preference(traces.add_column("reasoning_verdict", [verdict] * len(traces)), form="kto")
        assert set(made["label"]) == {verdict == "right"}
        assert f"All 11 labels say {word}" in caplog.text
    caplog.clear()
    assert len(to_preference(traces.add_column("reasoning_verdict", ["unchecked"] * len(traces)), form="kto")) == 0
    assert "no trace is known to be right or wrong" in caplog.text


GRADES = [
    (["0.9", "0.1"], [True, False]), (["1", "0"], [True, False]), (["True", "false"], [True, False]),
    (["1.0", ""], [True]), (["right", "wrong"], [True, False]), (["0.5", "nan"], [True]),
    ([True, False], [True, False]), ([1, 0], [True, False]), ([0.9, float("nan")], [True]),
]  # fmt: skip


@pytest.mark.parametrize(("grades", "labels"), GRADES)
def test_grades_that_a_file_holds_as_texts_are_grades(traces, grades, labels):
    rows = traces.select([0, 1]).add_column("grade", grades)
    assert to_preference(rows, form="kto", correct_column="grade")["label"][:] == labels


def test_statuses_that_are_numbers_cannot_be_chosen_by(traces, tmp_path):
    Dataset.from_list([{**row, "reasoning_status": 1} for row in traces]).save_to_disk(tmp_path / "rows")
    said = command("export", tmp_path / "rows", "retrieval", "--statuses", "ok", "--output", tmp_path / "out.jsonl")
    assert said.code == 3
    assert "'reasoning_status'" in said.said


def test_columns_of_nothing_are_of_any_kind(traces):
    rows = Dataset.from_list([{**row, "scenario": None, "reasoning_answer": None} for row in traces])
    assert len(to_sft(rows)) == 11
    assert len(to_retrieval(Dataset.from_list([{**row, "scenario": None} for row in traces]))) == len(traces)
    with pytest.raises(ColumnError, match="no column 'text'"):
        to_retrieval(traces.remove_columns("text"))


def test_rows_from_a_file_with_one_negative_as_text(tmp_path):
    row = {"question": "a?", "scenario": "", "text": "x", "hard_negatives": "Bo"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    said = command("export", tmp_path / "rows.jsonl", "retrieval", "--output", tmp_path / "out.jsonl")
    assert said.code == 3
    assert "'hard_negatives' holds texts; expected lists of texts" in said.said
