"""Rows that share wording with an evaluation set are found."""

import pytest
from datasets import Dataset

from hf_rare.decontamination import decontaminate
from hf_rare.errors import ColumnError, ConfigError

NINE = "one two three four five six seven eight nine"
ROWS = Dataset.from_dict(
    {
        "question": [f"So, {NINE.upper()}!", "one two three four five six seven", "Why is it so?", "", "why IS it"],
        "scenario": ["", "and eight", None, f"zero. {NINE[4:]}", "x"],
        "id": range(5),
    }
)
TEST_SET = Dataset.from_dict({"question": [NINE, "Why is it so", None]})


def test_shared_runs_and_short_questions_as_a_whole_are_found(caplog):
    clean = decontaminate(ROWS, {"test": TEST_SET})
    assert clean["id"][:] == [1, 4]
    assert clean.features == ROWS.features
    assert "3 of 5 rows share wording" in caplog.text
    assert "so, one two" in caplog.text
    assert decontaminate(ROWS, [TEST_SET["question"][:1]])["id"][:] == [1, 2, 4]
    assert decontaminate(ROWS, [TEST_SET], n=9)["id"][:] == [1, 3, 4]
    assert decontaminate(ROWS, [TEST_SET], ["question"])["id"][:] == [1, 3, 4]


def test_rows_can_be_marked_and_nothing_is_lost():
    marked = decontaminate(ROWS, [TEST_SET], mark="contaminated")
    assert marked["contaminated"][:] == [True, False, True, True, False]
    assert marked.remove_columns("contaminated").to_list() == ROWS.to_list()
    assert decontaminate(ROWS.select([]), [TEST_SET], mark="c").column_names == [*ROWS.column_names, "c"]
    assert len(decontaminate(ROWS, [])) == 5


def test_wrong_settings_are_errors():
    with pytest.raises(ConfigError, match="wrap yours in a list"):
        decontaminate(ROWS, TEST_SET)
    with pytest.raises(ConfigError, match="n=0"):
        decontaminate(ROWS, [TEST_SET], n=0)
    with pytest.raises(ColumnError, match="no column 'text'"):
        decontaminate(ROWS, [TEST_SET], ["text"])
    with pytest.raises(ColumnError, match="no column 'query'"):
        decontaminate(ROWS, [TEST_SET], evaluation_columns=["query"])
    with pytest.raises(ColumnError, match="exists already"):
        decontaminate(ROWS, [TEST_SET], mark="id")
