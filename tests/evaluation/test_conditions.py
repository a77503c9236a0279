"""What students are asked: each row in each condition, at each place."""

import logging

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from hf_rare.errors import BatchTypeError, ColumnError, ConfigError
from hf_rare.evaluation.conditions import CONDITIONS, Questions, list_orders
from hf_rare.evaluation.settings import EvaluationConfig
from tests.support.fares import make_fares


def ask(dataset, conditions=CONDITIONS, keep=(), settings=None, **changes) -> list[dict]:
    given = {"changed": "changed_text", "changed_gold": "changed_answer"} if "changed" in conditions else {}
    return list(Questions(EvaluationConfig(**(settings or {})), conditions, **{**given, **changes}).ask(dataset, keep))


def test_orders():
    assert list(list_orders("closed_book", [1, 2], None)) == [("closed_book", [])]
    assert list(list_orders("positive", [1, 2], None)) == [("positive", [0])]
    assert list(list_orders("changed", [1, 2], None)) == [("changed", [0])]
    assert list(list_orders("negatives", [1, 2], None)) == [("negatives", [1, 2])]
    assert list(list_orders("with_documents", [1, 2], None)) == [
        ("positive_at_1", [0, 1, 2]),
        ("positive_at_2", [1, 0, 2]),
        ("positive_at_3", [1, 2, 0]),
    ]
    assert list(list_orders("with_documents", [1, 2], [3, 7])) == [("positive_at_3", [1, 2, 0])]
    assert not list(list_orders("with_documents", [], None))
    assert not list(list_orders("negatives", [], None))


def test_every_row_is_asked_in_every_condition():
    asked = ask(make_fares(), keep=["id"])
    names = ["closed_book", "positive", "positive_at_1", "positive_at_2", "positive_at_3", "negatives", "changed"]
    assert [row["condition"] for row in asked] == names * 6
    assert [row["row"] for row in asked] == [number for number in range(6) for _ in names]
    assert [row["id"] for row in asked[:8]] == ["orla"] * 7 + ["brim"]
    assert {tuple(row["answer"]) for row in asked[:6]} == {("4",)}
    changed = asked[6]
    assert (changed["text"], changed["answer"], changed["original_answer"]) == (
        "A ticket to Orla costs 24 coins.",
        ["24"],
        ["4"],
    )
    assert all(row["original_answer"] == [] for row in asked[:6])


def test_a_function_of_the_row_changes_the_fact():
    asked = ask(
        make_fares(),
        ["changed"],
        changed=lambda row: row["text"].replace(row["answer"], "99") if row["id"] != "brim" else row["text"],
        changed_gold=lambda row: 99,
    )
    assert [row["row"] for row in asked] == [0, 2, 3, 4, 5]  # nothing has changed in the second
    assert asked[0]["text"] == "A ticket to Orla costs 99 coins."
    assert asked[0]["answer"] == ["99"]


def test_fewer_negatives_and_places():
    asked = ask(make_fares().select([0]), ["with_documents", "negatives"], num_negatives=1, places=[2])
    assert [(row["condition"], row["documents"]) for row in asked] == [("positive_at_2", [1, 0]), ("negatives", [1])]


def test_the_positive_is_no_negative_of_itself():
    rows = make_fares().select([0])
    copies = [f"  {rows[0]['text'].upper()}\n", "A.", rows[0]["text"], "B.", "C."]
    rows = rows.map(lambda row: {"hard_negatives": copies})
    asked = ask(rows, ["with_documents", "negatives"], num_negatives=2)
    assert [row["documents"] for row in asked] == [[0, 2, 4], [2, 0, 4], [2, 4, 0], [2, 4]]
    alone = rows.map(lambda row: {"hard_negatives": copies[:1]})
    assert not ask(alone, ["with_documents", "negatives"])


def test_functions_get_the_whole_row():
    names = {"changed_text": "documents", "id": "row", "changed_answer": "condition"}
    rows = make_fares().rename_columns(names)
    asked = ask(
        rows, ["changed"], changed=lambda row: row["documents"], changed_gold=lambda row: row["condition"] + row["row"]
    )
    assert [row["text"] for row in asked] == make_fares()["changed_text"][:]
    assert (asked[1]["row"], asked[1]["condition"], asked[1]["answer"]) == (1, "changed", ["25brim"])
    seen = ask(rows, ["changed"], changed=lambda row: " ".join(sorted(row)), changed_gold=lambda row: 1)
    assert seen[0]["text"] == " ".join(sorted(rows.column_names))


def test_right_answers_are_texts_whatever_they_were():
    features = Features(
        {"text": Value("string"), "question": Value("string"), "hard_negatives": List(Value("string"))}
    )
    columns = {"text": ["a", "b"], "question": ["q", "r"], "hard_negatives": [[], []]}
    labels = Dataset.from_dict(
        {**columns, "label": [1, 0]}, features=Features({**features, "label": ClassLabel(names=["no", "yes"])})
    )
    settings = {"scenario_column": None, "gold_column": "label"}
    assert [row["label"] for row in ask(labels, ["positive"], settings=settings)] == [["yes"], ["no"]]
    numbers = Dataset.from_dict({**columns, "label": [3.5, None]})
    assert [row["label"] for row in ask(numbers, ["positive"], settings=settings)] == [["3.5"], []]
    options = Dataset.from_dict({**columns, "label": [1, 0], "options": [["x", "y"], ["x", "y"]]})
    assert [row["label"] for row in ask(options, ["positive"], settings=settings)] == [["B"], ["A"]]
    without = ask(labels, ["positive"], settings={"scenario_column": None, "gold_column": None})
    assert "label" not in without[0]


def test_the_right_answer_to_a_changed_fact_may_be_a_class_label():
    names = sorted({*make_fares()["answer"], *make_fares()["changed_answer"]})
    rows = (
        make_fares()
        .cast_column("answer", ClassLabel(names=names))
        .cast_column("changed_answer", ClassLabel(names=names))
    )
    golds = [(row["answer"], row["original_answer"]) for row in ask(rows, ["changed"])]
    assert golds == [(row["answer"], row["original_answer"]) for row in ask(make_fares(), ["changed"])]
    spoilt = make_fares().map(lambda row: {"changed_answer": {"value": 1}})
    with pytest.raises(ColumnError, match="'changed_answer' cannot hold gold answers"):
        ask(spoilt, ["changed"])


def test_options_that_nothing_uses_leave_no_row_out():
    rows = make_fares().add_column("options", [["a", ""], ["x", None], [], None, ["a"], ["b"]])
    assert len(ask(rows, ["positive"], settings={"gold_column": None})) == 6
    assert (
        len(ask(rows, ["changed"], settings={"gold_column": None}, changed=lambda row: "New.", changed_gold=None)) == 6
    )
    assert len(ask(rows, ["positive"])) < 6  # here an answer may be one of them


def test_rows_that_cannot_be_used_are_left_out(caplog):
    rows = make_fares()
    rows = rows.map(lambda row: {"question": ""} if row["id"] == "cask" else {})
    with caplog.at_level(logging.INFO):
        asked = ask(rows, ["positive"])
    assert [row["row"] for row in asked] == [0, 1, 3, 4, 5]
    assert "1 of 6 rows are left out" in caplog.text
    assert "Row 2 is left out: question is empty" in caplog.text


def test_what_cannot_be_asked_is_said():
    rows = make_fares()
    with pytest.raises(ColumnError, match=r"no column 'answer'.*gold_column=None"):
        ask(rows.remove_columns("answer"), ["positive"])
    with pytest.raises(ColumnError, match="no column 'hard_negatives'"):
        ask(rows.remove_columns("hard_negatives"), ["positive"])
    with pytest.raises(ColumnError, match="no column 'other'"):
        ask(rows, ["changed"], changed="other")
    with pytest.raises(ConfigError, match=r"rename_column\('condition'"):
        ask(rows.rename_column("id", "condition"), ["positive"], keep=["condition"])
    with pytest.raises(BatchTypeError, match="this is a DatasetDict"):
        ask(DatasetDict(test=rows), ["positive"])
    assert len(ask(rows.rename_column("id", "row"), ["changed"], changed=lambda row: "New.")) == 6


@pytest.mark.parametrize(
    "settings",
    [{"num_samples": 4}, {"max_attempts": 8}, {"expand": True}, {"keep_attempts": True}, {"columns": "minimal"}],
)
def test_each_question_is_answered_once(settings):
    with pytest.raises(ConfigError, match="a student answers each question once"):
        EvaluationConfig(**settings)
