import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from hf_rare.errors import BatchTypeError, ColumnError
from hf_rare.rows.batches import add_columns, column_names, read_columns

PLAIN = {"question": ["a", None, "c"], "hard_negatives": [["x", "y"], None, []], "n": [1, 2, 3]}
BATCHES = {
    "dict": PLAIN,
    "arrow": pa.table(PLAIN),
    "pandas": pd.DataFrame(PLAIN),
    "polars": pl.DataFrame(PLAIN),
    "numpy": {
        "question": np.array(PLAIN["question"], dtype=object),
        "hard_negatives": np.array([np.array(["x", "y"]), None, np.array([])], dtype=object),
        "n": np.array([1, 2, 3]),
    },
    "torch": {**PLAIN, "n": torch.tensor([1, 2, 3])},
}
FEATURES = datasets.Features({"s": datasets.Value("string"), "l": datasets.List(datasets.Value("int64"))})


@pytest.mark.parametrize("kind", BATCHES)
def test_every_container_reads_as_plain_values(kind):
    rows = read_columns(BATCHES[kind], ["question", "hard_negatives"])
    assert rows == [
        {"question": "a", "hard_negatives": ["x", "y"]},
        {"question": None, "hard_negatives": None},
        {"question": "c", "hard_negatives": []},
    ]


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("repeat", [1, 2])
def test_new_columns_come_back_in_the_same_container(kind, repeat):
    batch = BATCHES[kind]
    new = {"s": [str(i) for i in range(3 * repeat)], "l": [[i] for i in range(3 * repeat)]}
    result = add_columns(batch, new, FEATURES, [repeat] * 3 if repeat > 1 else None)
    assert isinstance(result, dict if isinstance(batch, dict) else type(batch))
    assert read_columns(result, ["s", "l"]) == [{"s": str(i), "l": [i]} for i in range(3 * repeat)]
    if isinstance(batch, dict) and repeat == 1:
        assert list(result) == ["s", "l"]
    else:
        assert column_names(result) == ["question", "hard_negatives", "n", "s", "l"]
        assert [int(row["n"]) for row in read_columns(result, ["n"])] == [n for n in (1, 2, 3) for _ in range(repeat)]


def test_a_frame_with_an_index_of_its_own_is_repeated_by_place():
    frame = pd.DataFrame({"n": [1, 2]}, index=[5, 5])
    result = add_columns(frame, {"s": list("abcd")}, FEATURES, 2)
    assert result["n"].tolist() == [1, 1, 2, 2]
    assert result["s"].tolist() == list("abcd")


def test_lists_that_are_all_empty_keep_their_type():
    lists = add_columns(PLAIN, {"l": [[], [], []]}, FEATURES)["l"]
    assert [values.dtype for values in lists] == [np.int64] * 3
    text = datasets.List(datasets.Value("string"))
    rows = datasets.Dataset.from_dict({"n": [1, 2]})
    written = rows.map(
        lambda batch: add_columns(batch, {"l": [["x"] if n > 1 else [] for n in batch["n"]]}, {"l": text}),
        batched=True,
        batch_size=1,
    )
    assert written.features["l"] == text
    assert written["l"][:] == [[], ["x"]]
    assert add_columns(PLAIN, {"l": [[], []]}, {"l": datasets.List(text)})["l"] == [[], []]


@pytest.mark.parametrize("format", [None, "numpy", "torch", "pandas", "polars", "arrow"])
def test_values_are_plain_in_every_format(format):
    values = {"n": [1, 2], "list": [[1, 2], [3]], "text": ["a", "b"], "texts": [["a"], []], "flag": [True, False]}
    rows = read_columns(datasets.Dataset.from_dict(values).with_format(format)[:], list(values))
    assert rows == [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    assert [type(rows[0][name]) for name in values] == [int, list, str, list, bool]
    assert type(rows[0]["list"][0]) is int


def test_one_row_instead_of_a_batch_is_explained():
    with pytest.raises(BatchTypeError, match="batched=True"):
        read_columns({"question": "one text"}, ["question"])
    with pytest.raises(BatchTypeError, match="batched=True"):
        read_columns({"question": 3}, ["question"])


@pytest.mark.parametrize("batch", [["a", "b"], "text", None, 3])
def test_what_is_no_batch_is_explained(batch):
    with pytest.raises(BatchTypeError, match=r"received .*input_columns"):
        column_names(batch)


def test_a_missing_column_is_named_with_what_exists():
    with pytest.raises(ColumnError, match="no column 'q'; it has 'question', 'hard_negatives', 'n'"):
        read_columns(PLAIN, ["q"])


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ColumnError, match="'a': 1, 'b': 2"):
        read_columns({"a": [1], "b": [1, 2]}, ["a", "b"])
