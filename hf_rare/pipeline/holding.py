"""What a file can hold: values as JSON, and columns that a kind of file has no way to write."""

import datetime
import decimal
import json
import logging
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hf_rare.paths import is_there
from hf_rare.text import in_one_line

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 1000
MEDIA = ("Image", "Audio", "Video", "Pdf")
"""Names of the features that a file stands behind."""


def write_json_lines(dataset: datasets.Dataset, path: Path) -> None:
    """Write a row a line: floats with all their digits, dates and times as ISO 8601, what is not a number as null."""
    rows = dataset.with_format("arrow")
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for start in range(0, len(dataset), ROWS_AT_ONCE):
            for row in rows[start : start + ROWS_AT_ONCE].to_pylist():
                try:
                    line = json.dumps(row, ensure_ascii=False, allow_nan=False, default=_as_json)
                except ValueError:  # JSON has no word for what is not a number
                    line = json.dumps(_without_nan(row), ensure_ascii=False, allow_nan=False, default=_as_json)
                file.write(line + "\n")


def find_what_no_file_holds(ending: str, dataset: datasets.Dataset) -> Iterator[tuple[str, str]]:
    """Return the columns that a file with this ending cannot hold, and why."""
    schema = dataset.features.arrow_schema
    for field in schema:
        if ending == ".jsonl":
            if kind := _find_type(field.type, _is_binary):
                feature = type(dataset.features[field.name]).__name__
                what = f"{feature.lower()}s" if feature in MEDIA else f"bytes ({kind})"
                yield field.name, f"it holds {what}, and JSON has none"
            elif _find_type(field.type, pa.types.is_floating) and _has_infinity(dataset, field.name):
                yield field.name, "it holds an infinite number, and JSON has none"
        elif ending == ".parquet":
            try:
                with pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])):
                    pass
            except (pa.ArrowException, OSError) as err:
                yield field.name, in_one_line(err).rstrip(".")


def without_lost_files(dataset: datasets.Dataset) -> datasets.Dataset:
    """Return pictures and the like whose file is gone as empty ones of that name, so that the others can be saved.

    A folder takes the files into itself, and `datasets` writes nothing where one of them is not there.
    """
    for name, feature in dataset.features.items():
        if type(feature).__name__ not in MEDIA:
            continue
        rows = dataset.select_columns([name]).with_format("arrow")
        values = [value for start in range(0, len(rows), ROWS_AT_ONCE) for value in _read_paths(rows, name, start)]
        lost = {path for path in set(values) if path and "://" not in path and not is_there(path)}
        if lost:
            logger.warning("%d files of the column %r are not there, such as %s.", len(lost), name, min(lost))
            empty = partial(_empty_lost, name, lost)
            dataset = dataset.with_format("arrow").map(empty, batched=True, features=dataset.features)
            dataset = dataset.with_format(None)
    return dataset


def _read_paths(rows: datasets.Dataset, name: str, start: int) -> list[str | None]:
    """Return the paths of media that are not in the dataset itself."""
    column = rows[start : start + ROWS_AT_ONCE][name].combine_chunks()
    paths, are_outside = column.field("path").to_pylist(), pc.is_null(column.field("bytes")).to_pylist()
    return [path if is_outside else None for path, is_outside in zip(paths, are_outside, strict=True)]


def _empty_lost(name: str, lost: set[str], table: pa.Table) -> pa.Table:
    values = [
        {**value, "bytes": b""} if value and value["bytes"] is None and value["path"] in lost else value
        for value in table[name].to_pylist()
    ]
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))


def _find_type(kind: pa.DataType, is_found: Any) -> pa.DataType | None:
    """Find a type in another, such as that of a list's items."""
    if is_found(kind):
        return kind
    if isinstance(kind, pa.BaseExtensionType):
        return _find_type(kind.storage_type, is_found)
    inner = (kind.field(place).type for place in range(kind.num_fields))
    return next((found for one in inner if (found := _find_type(one, is_found)) is not None), None)


def _is_binary(kind: pa.DataType) -> bool:
    checks = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(check(kind) for check in checks)


def _has_infinity(dataset: datasets.Dataset, name: str) -> bool:
    column = dataset.select_columns([name]).with_format("arrow")
    starts = range(0, len(dataset), ROWS_AT_ONCE)
    return any(_is_infinite(column[start : start + ROWS_AT_ONCE][name]) for start in starts)


def _is_infinite(column: Any) -> bool:
    if pa.types.is_floating(column.type):
        return bool(pc.any(pc.is_inf(column)).as_py())
    return any(_holds_infinity(value) for value in column.to_pylist())


def _holds_infinity(value: Any) -> bool:
    if isinstance(value, float):
        return math.isinf(value)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(map(_holds_infinity, items))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _as_json(value: Any) -> str:
    if isinstance(value, datetime.timedelta):
        return f"PT{value.total_seconds()}S"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    raise TypeError(f"JSON has no {type(value).__name__}")
