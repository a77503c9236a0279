"""Questions that are nearly the same are dropped but for the first."""

import random
import time

import pytest
from datasets import Dataset, DatasetDict

from hf_rare.checks.near_duplicates import drop_near_duplicates, find_first_of_each
from hf_rare.errors import BatchTypeError, ColumnError, ConfigError
from hf_rare.text import normalize

QUESTIONS = [
    "Which lock does ALTER TABLE take while it adds a column with a default?",
    "How does the planner estimate the number of rows of a join?",
    "which LOCK does alter table take, while it adds a column with a default",
    "Which lock does ALTER TABLE take while it adds a column with defaults?",
    "Which lock does CREATE INDEX CONCURRENTLY take while it builds?",
    "",
    None,
    "Why?",
    "why",
]


def test_the_first_of_each_stays_with_its_id(caplog):
    rows = Dataset.from_dict({"question": QUESTIONS, "id": range(9)})
    with caplog.at_level("INFO"):
        kept = drop_near_duplicates(rows)
    assert kept["id"][:] == [0, 1, 4, 5, 6, 7]
    assert "3 of 9 rows are dropped" in caplog.text
    assert kept.to_list() == [rows[i] for i in kept["id"]]
    assert drop_near_duplicates(rows, threshold=1.0)["id"][:] == [0, 1, 3, 4, 5, 6, 7]


def test_all_columns_count():
    rows = Dataset.from_dict({"question": ["Why?"] * 2, "scenario": ["The disk is full.", "A row is locked."]})
    assert len(drop_near_duplicates(rows, ["question"])) == 1
    assert len(drop_near_duplicates(rows, ["question", "scenario"])) == 2
    assert len(drop_near_duplicates(rows)) == 2  # a scenario is part of the question
    assert len(drop_near_duplicates(rows.remove_columns("scenario"))) == 1


def test_lists_of_texts_count_as_their_texts():
    rows = Dataset.from_dict({"question": [["Why?", "How is it?"], ["Why", None, "how is it"], ["When is it?"], []]})
    assert drop_near_duplicates(rows).to_list() == [rows[i] for i in (0, 2, 3)]


def test_the_order_of_rows_that_differ_changes_nothing():
    draw = random.Random(0)
    texts = [" ".join(draw.choices("abcdefghijkl", k=8)) + f" {i}" for i in range(100)]
    texts = [normalize(text) for text in texts]
    kept = {texts[i] for i in find_first_of_each(texts, 0.95)}
    assert {texts[::-1][i] for i in find_first_of_each(texts[::-1], 0.95)} == kept


def test_many_questions_take_little_time():
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(5000)]
    texts = [" ".join(draw.choices(words, k=12)) for _ in range(3000)]
    start = time.process_time()
    assert len(find_first_of_each([*texts, *(f"{text} so" for text in texts)])) == 3000
    assert time.process_time() - start < 10


def test_wrong_settings_are_errors():
    rows = Dataset.from_dict({"question": ["Why?"]})
    with pytest.raises(ColumnError, match="no column 'q'"):
        drop_near_duplicates(rows, ["q"])
    with pytest.raises(ConfigError, match="list of names"):
        drop_near_duplicates(rows, "question")
    with pytest.raises(ConfigError, match="threshold"):
        drop_near_duplicates(rows, threshold=0)
    with pytest.raises(ColumnError, match=r"'n' holds Value\('int64'\)"):
        drop_near_duplicates(rows.add_column("n", [1]), ["n"])
    with pytest.raises(BatchTypeError, match="DatasetDict"):
        drop_near_duplicates(DatasetDict(train=rows))
