"""Rows of every kind in every format: what stands beside is not changed, and all formats give the same columns."""

import datetime
import decimal
import random

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from hf_rare import ReasonDistiller
from tests.attack.conftest import IS_WHOLE
from tests.support.scripted import ScriptedGenerator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 5000 if IS_WHOLE else 1000
FORMATS = [None, "arrow", "numpy", "torch", "pandas", "polars"]
NOON = datetime.datetime(2024, 1, 5, 12, 30, 15, 250_000)
BYSTANDERS = {
    "large": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "small": pa.array([-(2**63), None, 2**63 - 1], pa.int64()),
    "byte": pa.array([None, 7, 255], pa.uint8()),
    "float": pa.array([float("nan"), None, 0.1], pa.float64()),
    "half": pa.array(np.array([1, 2, 3], np.float16)),
    "bool": pa.array([None, True, False]),
    "words": pa.array(["a", None, "\u0000\u2028"]),
    "large_words": pa.array(["a", None, ""], pa.large_string()),
    "binary": pa.array([b"\x00\xff", None, b""], pa.binary()),
    "date": pa.array([NOON.date(), None, NOON.date()]),
    "time": pa.array([NOON, None, NOON], pa.timestamp("us")),
    "zone": pa.array([NOON, None, NOON], pa.timestamp("ns", "UTC")),
    "decimal": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("2.00")]),
    "duration": pa.array([datetime.timedelta(seconds=90), None, datetime.timedelta(0)]),
    "list": pa.array([[1, None], None, []], pa.list_(pa.int64())),
    "lists": pa.array([[["x"], None], None, [[]]], pa.list_(pa.list_(pa.string()))),
    "struct": pa.array([{"a": 1, "b": None}, None, {"a": None, "b": "x"}]),
    "nothing": pa.nulls(3),
}
TEXTS = [
    "",
    " ",
    "A text.",
    "\u0000.",  # at its end, NumPy drops it
    "é\u0301",
    "<|im_end|>",
    "x" * 3000,
    "{{ 7 * 7 }}",
    "\U0001f600",
    "</think>",
    None,
]


def answer(text, seed):
    return f"Thinking of {len(text)}.</think>It is {seed % 7}."


def make(seed: int, rows: int, bystanders: bool = True) -> Dataset:
    """Make rows whose inputs may be anything that the types of their columns hold."""
    pick = random.Random(seed)

    def text(good):
        return (
            f"{pick.choice(['Rule', 'Tide', '東京'])} {pick.random()}" if pick.random() < good else pick.choice(TEXTS)
        )

    inputs = {
        "question": pa.array([text(0.9) for _ in range(rows)], pa.string()),
        "scenario": pa.array([text(0.3) for _ in range(rows)], pa.string()),
        "text": pa.array([text(0.9) for _ in range(rows)], pa.string()),
        "hard_negatives": pa.array(
            [None if pick.random() < 0.1 else [text(0.9) for _ in range(pick.randrange(4))] for _ in range(rows)],
            pa.list_(pa.string()),
        ),
    }
    taken = pa.array([i % 3 for i in range(rows)])
    beside = {name: column.take(taken) for name, column in BYSTANDERS.items()} if bystanders else {}
    return Dataset(pa.table({**inputs, **beside}))


def distiller(**settings) -> ReasonDistiller:
    return ReasonDistiller(ScriptedGenerator(answer), template="plain", journal_dir=None, **settings)


@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize("name", BYSTANDERS)
def test_no_column_is_changed_by_standing_beside(count, name, expand):
    rows = make(0, 30).select_columns(["question", "scenario", "text", "hard_negatives", name])
    settings = {"num_samples": 2, "expand": True} if expand else {}
    repeated = np.repeat(np.arange(len(rows)), 2 if expand else 1)
    expected = rows.data.table.combine_chunks().column(name).take(pa.array(repeated))
    changed = []
    for form in FORMATS:
        got = distiller(**settings).apply(rows.with_format(form), batch_size=7, load_from_cache_file=False)
        assert got.format["type"] == form
        column = got.with_format("arrow")[:].column(name).combine_chunks()
        count(tried=1)
        if column.type != expected.type or repr(column.to_pylist()) != repr(expected.to_pylist()):
            changed.append((form, str(column.type)))
    count(lost=len(changed))
    assert changed == []


def test_all_formats_give_the_same_columns(count):
    rows = make(1, ROWS, bystanders=False)
    expected = distiller().apply(rows, load_from_cache_file=False)
    assert len(set(expected["reasoning_status"])) >= 2
    differing: dict[int, list[str]] = {}
    for form in FORMATS[1:]:
        got = rows.with_format(form).map(distiller(), batched=True, batch_size=64, load_from_cache_file=False)
        for i, (one, other) in enumerate(zip(got.with_format(None), expected, strict=True)):
            if one != other:
                differing.setdefault(i, []).append(form)
    count(tried=ROWS, lost=len(differing))
    assert differing == {}
