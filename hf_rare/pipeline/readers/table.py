"""Rows of plain values as an Arrow file: types are found in all rows, and a value of another type is named."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

Row = tuple[str, Mapping[str, Any]]
"""Where a row stands, such as `line 7`, and its values by column name."""

ROWS_AT_ONCE = 1000
_WORDS: dict[Callable[[Any], bool], str] = {
    pa.types.is_boolean: "true or false",
    pa.types.is_integer: "a number",
    pa.types.is_floating: "a number",
    pa.types.is_string: "a text",
    pa.types.is_list: "a list",
    pa.types.is_struct: "an object",
}


class RowError(ValueError):
    """What is wrong with a row, in words that name it."""


@dataclass
class _MismatchError(Exception):
    """Two types that no column can have at once.

    Args:
        path (`tuple[str, ...]`): keys of objects that lead to them.
        known (`pa.DataType`): the one that was there first.
        new (`pa.DataType`): the other one.
    """

    path: tuple[str, ...]
    known: pa.DataType
    new: pa.DataType


def write_rows(
    read: Callable[[], Iterator[Row]],
    path: Path,
    types: Mapping[str, pa.DataType] | None = None,
    columns: Sequence[str] = (),
) -> None:
    """Write rows to an Arrow file that `datasets` can map into memory.

    They are read twice where types must be found, so that never more than a thousand of them are in memory.

    Args:
        read (`Callable`):
            Gives the rows, each time anew.
        path (`Path`):
            The file.
        types (`Mapping[str, pa.DataType]`, *optional*):
            Type by column name, of columns of which it is known.
        columns (`Sequence[str]`, *optional*):
            All columns, in order, where they are known.

    Raises:
        RowError: A column holds values of different types, or a value that Arrow has no type for.
    """
    found = dict(types or {})
    if not columns or set(columns) > set(found):
        found |= _find_types(read, found)
    found = {name: found.get(name, pa.null()) for name in columns or found}
    schema = datasets.Features.from_arrow_schema(pa.schema(found.items())).arrow_schema
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for rows in _in_batches(read()):
            writer.write_table(pa.table([_make_array(rows, name, kind) for name, kind in found.items()], schema))


def _in_batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _find_types(read: Callable[[], Iterator[Row]], but: Collection[str]) -> dict[str, pa.DataType]:
    """Find the types of all columns but some."""
    found: dict[str, pa.DataType] = {}
    for rows in _in_batches(read()):
        for name in dict.fromkeys(name for _, values in rows for name in values if name not in but):
            known = found.get(name, pa.null())
            try:
                found[name] = _unite(known, pa.array([values.get(name) for _, values in rows]).type)
            except (_MismatchError, pa.ArrowException, ValueError, TypeError, OverflowError):
                found[name] = _find_type_by_row(rows, name, known)
    return found


def _find_type_by_row(rows: list[Row], name: str, known: pa.DataType) -> pa.DataType:
    """Find the type of a column in rows, one of which does not go with the others, or is none that Arrow has."""
    for place, values in rows:
        try:
            known = _unite(known, _type_of(values.get(name)))
        except _MismatchError as err:
            inner = "".join(f" under {key!r}" for key in err.path)
            raise RowError(
                f"{place}, column {name!r} holds {_describe(err.new)}{inner}, and before it {_describe(err.known)}. "
                "Write all values of a column in one way."
            ) from err
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as err:
            raise RowError(f"{place}, column {name!r} holds what no column can: {err}.") from err
    return known


def _type_of(value: Any) -> pa.DataType:
    if isinstance(value, list):
        kind = pa.null()
        for item in value:
            kind = _unite(kind, _type_of(item))
        return pa.list_(kind)
    if isinstance(value, dict):
        return pa.struct([(key, _type_of(item)) for key, item in value.items()])
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise OverflowError(f"{value} is beyond 64 bits")
    return pa.infer_type([value])


def _unite(known: pa.DataType, new: pa.DataType, path: tuple[str, ...] = ()) -> pa.DataType:
    """Return the type that holds the values of both."""
    if known == new or pa.types.is_null(new):
        return known
    if pa.types.is_null(known):
        return new
    if pa.types.is_list(known) and pa.types.is_list(new):
        return pa.list_(_unite(known.value_type, new.value_type, path))
    if pa.types.is_struct(known) and pa.types.is_struct(new):
        fields = {field.name: field.type for field in known}
        for field in new:
            fields[field.name] = _unite(fields.get(field.name, pa.null()), field.type, (*path, field.name))
        return pa.struct(fields.items())
    if {known, new} == {pa.int64(), pa.float64()}:
        return pa.float64()
    raise _MismatchError(path, known, new)


def _describe(kind: pa.DataType) -> str:
    return next((words for is_kind, words in _WORDS.items() if is_kind(kind)), str(kind))


def _make_array(rows: list[Row], name: str, kind: pa.DataType) -> Any:
    values = [values.get(name) for _, values in rows]
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        for (place, _), value in zip(rows, values, strict=True):
            try:
                pa.array([value], kind)
            except UnicodeEncodeError as err:
                half = err.object[err.start]
                raise RowError(
                    f"{place}, column {name!r} is not valid Unicode: lone surrogate {half!a}, half of a character."
                ) from err
            except OverflowError as err:
                raise RowError(f"{place}, column {name!r} holds a number beyond 64 bits.") from err
            except (pa.ArrowException, ValueError, TypeError) as err:
                raise RowError(f"{place}, column {name!r} holds what is not {_describe(kind)}: {err}.") from err
        raise
