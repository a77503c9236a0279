"""One trace of each row is kept, with all that was found out about it."""

import pytest
from datasets import Dataset, List, Value, concatenate_datasets

from hf_rare import audit_grounding
from hf_rare.checks.grounding_rates import summarize_grounding
from hf_rare.errors import ColumnError, ConfigError
from hf_rare.training.one_trace import keep_one_trace

TEXTS = {"text": "Ebb.", "hard_negatives": ["Flood."], "reasoning_document_order": [1, 0]}


def make_rows(**columns) -> Dataset:
    row = {
        **TEXTS,
        "reasoning": ["By [1].", "By [2].", "None."],
        "reasoning_answer": ["A", "B", "C"],
        "reasoning_status": ["ok"] * 3,
        "reasoning_verdict": ["wrong", "right", "unchecked"],
        "reasoning_positive_position": 2,
    }
    return Dataset.from_list([row | columns])


@pytest.mark.parametrize(
    ("columns", "fallback", "kept"),
    [
        ({}, "first", ["By [2]."]),
        ({"reasoning_verdict": ["wrong", "wrong", "unchecked"]}, "first", ["None."]),
        ({"reasoning_status": ["ok", "truncated", "empty"]}, "first", ["By [1]."]),
        ({"reasoning_status": ["ok", "truncated", "empty"]}, "last", ["None."]),
        ({"reasoning_status": ["ok", "truncated", "empty"]}, "none", []),
    ],
)
def test_the_first_right_trace_is_kept_or_the_fallback(columns, fallback, kept):
    rows = keep_one_trace(make_rows(**columns), fallback=fallback)
    assert rows["reasoning"][:] == kept
    assert rows.features["reasoning_answer"] == Value("string")


def test_a_trace_of_which_nothing_is_said_is_unchecked():
    checked, bare = make_rows(), make_rows().remove_columns("reasoning_verdict")
    short, half = make_rows(reasoning_verdict=["wrong"]), make_rows(reasoning_verdict=["wrong", None, "unchecked"])
    unknown = bare.remove_columns(["reasoning_status", "reasoning_answer"])
    rows = keep_one_trace(concatenate_datasets([checked, bare, short, half, unknown]))
    assert rows["reasoning"][:] == ["By [2].", "By [1].", "By [2].", "By [2].", "By [1]."]
    assert rows["reasoning_verdict"][:] == ["right", None, None, None, None]
    assert rows["reasoning_answer"][:] == ["B", "A", "B", "B", None]


def test_what_the_audit_says_stays_with_the_trace():
    rows = keep_one_trace(audit_grounding(make_rows()))
    assert rows[0]["reasoning_cited_documents"] == [0]
    assert rows[0]["reasoning_grounded_on_positive"] is True
    assert rows.features["reasoning_cited_documents"] == List(Value("int64"))
    assert summarize_grounding(rows).overall.cites_positive == 1
    assert summarize_grounding(rows).overall.traces == 1
    assert audit_grounding(keep_one_trace(make_rows())).to_list() == rows.to_list()


def test_what_cannot_be_chosen_from_is_an_error():
    with pytest.raises(ConfigError, match="fallback='best' cannot be right: expected one of 'first'"):
        keep_one_trace(make_rows(), fallback="best")
    with pytest.raises(ColumnError, match="nothing to choose from"):
        keep_one_trace(keep_one_trace(make_rows()))
