"""Traces of each row that are kept, where a row has several: the first right one, or what is to stand in for it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import datasets
import pyarrow as pa

from hf_rare.errors import ColumnError, ConfigError
from hf_rare.rows.batches import read_columns, take_rows
from hf_rare.rows.column_types import is_list
from hf_rare.rows.columns import (
    ANSWER,
    COMPLETION_TOKENS,
    ERROR,
    EVIDENCE_COLUMNS,
    GROUNDING_COLUMNS,
    STATUS,
    SUITABILITY_COLUMNS,
    TRACE,
    VERDICT,
    per_trace,
)
from hf_rare.training.convert import check_columns, check_exportable

OF_TRACE = (TRACE, ANSWER, STATUS, ERROR, COMPLETION_TOKENS, VERDICT)
ENDINGS = (*OF_TRACE, *GROUNDING_COLUMNS, *EVIDENCE_COLUMNS, *SUITABILITY_COLUMNS)
"""What is said of each trace of a row."""

FALLBACKS = ("first", "last", "none")


def keep_one_trace(
    dataset: datasets.Dataset,
    output_column: str = "reasoning",
    fallback: Literal["first", "last", "none"] = "first",
) -> datasets.Dataset:
    """Keep one trace of each row: the first that is `ok` and right, or else the first that is `ok` and unchecked.

    It turns rows with all attempts (`keep_attempts`, `num_samples`) into what the distiller gives without them. What
    `verify`, `audit_grounding` and `measure_evidence` say of the trace stays with it.

    Args:
        dataset ([`~datasets.Dataset`]):
            Distilled rows with lists of traces.
        output_column (`str`, *optional*, defaults to `"reasoning"`):
            Column with the traces, and prefix of the others.
        fallback (`"first"`, `"last"` or `"none"`, *optional*, defaults to `"first"`):
            What a row keeps that has neither: its first trace (RARE, arXiv 2503.23513), its last, or nothing, so that
            the row is left out.

    Returns:
        [`~datasets.Dataset`]: the rows with plain columns.

    Raises:
        ConfigError: `fallback` cannot be right.
        ColumnError: A column is missing, or holds no lists.
        BatchTypeError: This is no [`~datasets.Dataset`].
    """
    if fallback not in FALLBACKS:
        raise ConfigError(f"fallback={fallback!r} cannot be right: expected one of {', '.join(map(repr, FALLBACKS))}.")
    return keep_traces(dataset, output_column, partial(_choose_one, fallback))


def keep_traces(
    dataset: datasets.Dataset,
    output_column: str,
    choose: Callable[[Mapping[str, Any]], Sequence[int]],
    keep: int = 1,
) -> datasets.Dataset:
    """Keep some traces of each row, with all that is said of them; a row that keeps none is left out.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with lists of traces.
        output_column (`str`):
            Column with the traces, and prefix of the others.
        choose (`Callable`):
            Gives the places of the traces that a row keeps, from the lists by the ending of their column.
        keep (`int`, *optional*, defaults to 1):
            How many a row may keep. One stands in plain columns, several in lists.

    Returns:
        [`~datasets.Dataset`]: the rows.

    Raises:
        ColumnError: A column is missing, or holds no lists.
        BatchTypeError: This is no [`~datasets.Dataset`].
    """
    names = check_lists(dataset, output_column)
    kept = {name: _kept_feature(dataset.features[name], keep) for name in names}
    features = datasets.Features({**dataset.features, **kept})
    if not len(dataset):
        return datasets.Dataset.from_dict({name: [] for name in features}, features=features)
    function = partial(_keep, names, output_column, choose, keep, features.arrow_schema)
    rows = dataset.with_format("arrow")  # columns that are not chosen from are never decoded
    return rows.map(function, batched=True, features=features, desc="Choosing traces").with_format(None)


def check_lists(dataset: datasets.Dataset, output_column: str) -> list[str]:
    """List the columns that hold something of each trace of a row.

    Raises:
        ColumnError: The columns of the traces or of their statuses are missing, or one holds no lists.
        BatchTypeError: This is no [`~datasets.Dataset`].
    """
    check_exportable(dataset)
    check_columns(dataset, [output_column, output_column + STATUS])
    possible = [output_column + ending for ending in ENDINGS]
    names = [name for name in possible if name in dataset.column_names]
    if plain := [name for name in names if not is_list(dataset.features[name])]:
        raise ColumnError(f"The column {plain[0]!r} holds one value for each row: there is nothing to choose from.")
    return names


def _kept_feature(feature: Any, keep: int) -> Any:
    """Return the type of what is kept of a column of lists: rows may keep lists of different lengths."""
    if keep == 1:
        return feature.feature
    return datasets.List(feature.feature) if isinstance(feature, datasets.List) else feature


def _choose_one(fallback: str, row: Mapping[str, Any]) -> list[int]:
    count = max(len(row[ending] or []) for ending in (TRACE, STATUS))
    own, said = (per_trace(row.get(ending), count) for ending in (STATUS, VERDICT))
    whole = [place for place, status in enumerate(own) if status == "ok"]
    ranked = [place for word in ("right", "unchecked") for place in whole if (said[place] or "unchecked") == word]
    place = next(iter(ranked), {"first": 0, "last": count - 1}.get(fallback))
    return [place] if place is not None and count else []


def _keep(
    names: list[str],
    output: str,
    choose: Callable[[Mapping[str, Any]], Sequence[int]],
    keep: int,
    schema: pa.Schema,
    table: pa.Table,
) -> pa.Table:
    rows, kept = [], []
    for number, row in enumerate(read_columns(table, names)):
        if places := choose({name.removeprefix(output): values for name, values in row.items()}):
            rows.append(number)
            lists = {name: per_trace(row[name], max(places) + 1) for name in names}
            chosen = {name: [values[place] for place in places] for name, values in lists.items()}
            kept.append({name: values[0] for name, values in chosen.items()} if keep == 1 else chosen)
    others = take_rows(table, rows)
    arrays = {name: pa.array([values[name] for values in kept], schema.field(name).type) for name in names}
    return pa.table({name: arrays.get(name, others[name]) for name in table.column_names})
