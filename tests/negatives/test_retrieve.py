"""Documents for questions that come without one."""

import logging

import pytest
from datasets import Dataset

from hf_rare.errors import ColumnError, ConfigError
from hf_rare.negatives.retrieve import retrieve_documents

CORPUS = Dataset.from_dict(
    {
        "id": [10, 11, 12, 13],
        "body": [
            "The owl hunts mice at night.",
            "Mice live in fields.",
            "Bread is baked from flour.",
            "The owl sleeps.",
        ],
    }
)
ROWS = Dataset.from_dict(
    {"question": ["What does an owl hunt at night?", "xyzzy", "Flour?"], "scenario": ["", None, ""]}
)


def test_the_best_is_the_text_and_the_others_are_the_negatives():
    found = retrieve_documents(ROWS, CORPUS, corpus_column="body", id_column="id", keep_scores=True)
    assert found["text"][:] == ["The owl hunts mice at night.", "", "Bread is baked from flour."]
    assert found[0]["hard_negatives"] == ["The owl sleeps."]
    assert found["hard_negatives_ids"][:] == [[10, 13], [], [12]]
    assert [len(scores) for scores in found["hard_negatives_scores"]] == [2, 0, 1]
    assert found[0]["hard_negatives_scores"] == sorted(found[0]["hard_negatives_scores"], reverse=True)
    assert found.column_names[:2] == ROWS.column_names


def test_no_more_documents_than_asked(caplog):
    with caplog.at_level(logging.INFO, logger="hf_rare"):
        found = retrieve_documents(ROWS, CORPUS["body"][:], num_documents=1, query="question")
    assert [len(negatives) for negatives in found["hard_negatives"]] == [0, 0, 0]
    assert "Documents for 3 rows; for 1 of them nothing was found." in caplog.text
    assert len(retrieve_documents(ROWS.select([]), CORPUS["body"][:])) == 0


def test_a_second_search_with_another_number_is_another_search():
    texts = CORPUS["body"][:]
    one, two = (retrieve_documents(ROWS, texts, num_documents=number, query="question") for number in (1, 2))
    assert [len(row["hard_negatives"]) for row in (one[0], two[0])] == [0, 1]


def test_settings_and_columns_that_cannot_be_right():
    with pytest.raises(ConfigError, match="num_documents=0"):
        retrieve_documents(ROWS, CORPUS, 0)
    with pytest.raises(ConfigError, match="skip_top is for hard negatives"):
        retrieve_documents(ROWS, CORPUS, skip_top=3)
    with pytest.raises(ColumnError, match="The corpus has no column 'text'"):
        retrieve_documents(ROWS, CORPUS)
    with pytest.raises(ColumnError, match="already"):
        retrieve_documents(ROWS.add_column("text", ["a", "b", "c"]), CORPUS, corpus_column="body")
