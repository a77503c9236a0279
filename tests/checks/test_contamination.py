"""Rows that share wording with an evaluation set are found."""

import pytest
from datasets import Dataset, DatasetDict

from hf_rare.checks.contamination import decontaminate
from hf_rare.errors import ColumnError, ConfigError

NINE = "one two three four five six seven eight nine"
ROWS = Dataset.from_dict(
    {
        "question": [
            f"So, {NINE.upper()}!",
            "one two three four five six seven",
            "Is snow white?",
            "",
            "is SNOW",
        ],
        "scenario": ["", "and eight", None, f"zero. {NINE[4:]}", "x"],
        "id": range(5),
    }
)
TEST_SET = Dataset.from_dict({"question": [NINE, "Is snow white", None]})


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


def test_lists_of_texts_are_compared_one_by_one():
    rows = Dataset.from_dict({"question": [["Is it?", "Is snow white"], [], None, ["one two three four", NINE[19:]]]})
    assert decontaminate(rows, [TEST_SET], ["question"], mark="c")["c"][:] == [True, False, False, False]
    test_set = Dataset.from_dict({"question": [["Is it?", None], ["Why is it so?"]]})
    assert not any(decontaminate(rows, [test_set], ["question"], mark="c")["c"])  # anyone may ask that


@pytest.mark.parametrize(
    ("evaluation_sets", "message"),
    [
        (["What is X?", "What is Y?"], r"received str\. Put several texts into a list of their own"),
        ([DatasetDict(test=TEST_SET)], r"received DatasetDict\. .*splits\.values\(\)"),
        ({"test": DatasetDict(test=TEST_SET)}, "received DatasetDict"),
        ([TEST_SET.to_iterable_dataset()], r"received IterableDataset\. Of a stream"),
        (TEST_SET.to_iterable_dataset(), "wrap yours in a list"),
        ([TEST_SET.to_list()], "holds texts, received dict"),
        ([["What is X?", 0]], "holds texts, received int"),
        ([None], "received NoneType"),
    ],
)
def test_an_evaluation_set_of_another_kind_is_an_error(evaluation_sets, message):
    with pytest.raises(ConfigError, match=message):
        decontaminate(ROWS, evaluation_sets)


def test_columns_without_texts_are_errors():
    with pytest.raises(ColumnError, match=r"'id' holds Value\('int64'\); expected strings, or lists of strings"):
        decontaminate(ROWS, [TEST_SET], ["id"])
    with pytest.raises(ColumnError, match="'question' holds"):
        decontaminate(ROWS, [Dataset.from_dict({"question": [[1]]})])


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
