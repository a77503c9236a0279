"""The batches that `Dataset.map` hands over, in all their formats: read columns out, put new columns in.

A batch is a mapping of columns (also numpy, torch and jax arrays), a pyarrow Table, or a pandas or polars DataFrame.
The new columns come back in the same kind of container. Frames and tables must carry every column along, because
`Dataset.map` keeps nothing but what it gets back; mappings carry the new columns alone.
"""

import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from hf_rare.compat.datasets import read_undecoded
from hf_rare.errors import BatchTypeError, ColumnError


def column_names(batch: Any) -> list[str]:
    """List the columns of a batch.

    Raises:
        BatchTypeError: `batch` is not a batch of rows.
    """
    if isinstance(batch, Mapping):
        return list(batch)
    if isinstance(batch, pa.Table):
        return list(batch.column_names)
    if _is_pandas(batch) or _is_polars(batch):
        return list(batch.columns)
    raise BatchTypeError(
        f"Expected a batch of rows (a dict of columns, a pyarrow Table, a pandas or polars DataFrame), received "
        f"{type(batch).__name__}. Use `dataset.map(distill_fn, batched=True)` without `input_columns`."
    )


def holds_lists(batch: Any, name: str) -> bool:
    """Tell whether a column holds lists by its type, which tables have, and what `map` hands over as a dict."""
    table = read_undecoded(batch)
    if not isinstance(table, pa.Table):
        return False
    kind = table.schema.field(name).type
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def read_columns(batch: Any, names: Sequence[str], config: Any = None) -> list[dict[str, Any]]:
    """Read columns of a batch as plain Python values, row by row.

    Args:
        batch:
            The batch, in any format.
        names (`Sequence[str]`):
            The columns to read.
        config (*optional*):
            The settings that name them, for the message about one that is missing.

    Returns:
        `list[dict[str, Any]]` of length `batch_size`: value by column name.

    Raises:
        BatchTypeError: `batch` is one row rather than a batch, or of an unknown type.
        ColumnError: A column is missing, or the columns differ in length.
    """
    existing = column_names(batch)
    missing = [name for name in names if name not in existing]
    if missing:
        raise ColumnError(
            f"The batch has no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, existing))}. "
            f"{_advise_missing(missing, existing, config)}"
        )
    columns = {name: _to_list(batch[name], name) for name in names}
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{name!r}: {len(column)}" for name, column in columns.items())
        raise ColumnError(f"The columns of a batch must be of one length, received {lengths}.")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def fill_lists(batch: Any, rows: Sequence[dict[str, Any]], name: str) -> bool:
    """Let a value that is missing in a column of lists be a list without items.

    Args:
        batch:
            The batch, in any format.
        rows (`list[dict[str, Any]]`):
            What [`read_columns`] gave of it, which is changed.
        name (`str`):
            The column.

    Returns:
        `bool`: whether the column holds lists, by its type or by the rows.
    """
    has_lists = holds_lists(batch, name) or any(isinstance(row[name], list) for row in rows)
    if has_lists:
        for row in rows:
            row[name] = [] if row[name] is None else row[name]
    return has_lists


def check_free(new: Iterable[str], existing: Collection[str], config: Any, read: Collection[str]) -> None:
    """Raise [`ColumnError`] where a new column exists already.

    Args:
        new (`Iterable[str]`): the new columns.
        existing (`Collection[str]`): those that there are.
        config: settings, of which those of columns that are not read give the new ones their names.
        read (`Collection[str]`): the columns that are read.
    """
    if not (taken := [name for name in new if name in existing]):
        return
    others = [
        f"{name}=..."
        for name, value in vars(config).items()
        if name.endswith("_column")
        and isinstance(value, str)
        and value not in read
        and any(f"{column}_".startswith(f"{value}_") for column in taken)
    ]
    advice = f", or let the new ones have another name: {', '.join(others)}" if others else ""
    raise ColumnError(
        f"The dataset already has a column {', '.join(map(repr, taken))}. Remove it first "
        f"(`ds.remove_columns({taken!r})`){advice}."
    )


def add_columns(
    batch: Any, columns: Mapping[str, list[Any]], features: datasets.Features, repeats: Sequence[int] | None = None
) -> Any:
    """Return a batch with new columns put in, in its own kind of container.

    Args:
        batch:
            The batch, in any format.
        columns (`Mapping[str, list]`):
            The new columns, each with a value for every row that is given back.
        features ([`datasets.Features`]):
            Their types.
        repeats (`Sequence[int]`, *optional*):
            How often each row of the batch is given back. With it, mappings carry the old columns along too, and
            those of `map` become tables, in which nothing is decoded.

    Returns:
        A container of the type of `batch`: the new columns, and, for frames and tables or with `repeats`, the old
        ones.
    """
    if repeats is not None:
        batch = read_undecoded(batch)
    rows = np.repeat(np.arange(_count_rows(batch)), 1 if repeats is None else repeats)
    if isinstance(batch, Mapping):
        old = {name: _take(batch[name], rows) for name in batch} if repeats is not None else {}
        return old | {name: _keep_type(values, features[name]) for name, values in columns.items()}
    if _is_pandas(batch):
        frame = batch.iloc[rows].reset_index(drop=True)
        return frame.assign(**{name: _keep_type(values, features[name]) for name, values in columns.items()})
    types = features.arrow_schema
    table = pa.table({name: pa.array(values, types.field(name).type) for name, values in columns.items()})
    if isinstance(batch, pa.Table):
        batch = take_rows(batch, rows)
        for name in table.column_names:
            batch = batch.append_column(name, table[name])
        return batch
    import polars

    return batch[rows].hstack(polars.DataFrame(table))


def take_rows(table: pa.Table, rows: Any) -> pa.Table:
    """Take rows of a table by their numbers, with views too, for which Arrow has no `take`."""
    numbers = pa.array(rows, pa.int64())
    columns = []
    for column in table.columns:
        try:
            columns.append(column.take(numbers))
        except pa.ArrowNotImplementedError:
            columns.append(pa.array([column[number].as_py() for number in numbers.to_pylist()], column.type))
    return pa.table(columns, table.schema)


def _advise_missing(missing: Sequence[str], existing: Sequence[str], config: Any) -> str:
    """Say by which settings other columns are read."""
    for name in missing:
        if len(parts := name.split(",")) > 1 and {part.strip() for part in parts} <= set(existing):
            return f"{name!r} are several names: pass a list of them ({' '.join(map(str.strip, parts))})."
    named = {
        name: value if isinstance(value, tuple) else (value,)
        for name, value in (vars(config) if config is not None else {}).items()
        if name.endswith("_column")
    }
    settings = [name for name, columns in named.items() if set(columns) & set(missing)]
    if not settings:
        return "Rename one, or name another."
    kinds = typing.get_type_hints(type(config), include_extras=True)
    needless = [name for name in settings if type(None) in typing.get_args(kinds[name])]
    advice = f"Rename one, or say which to read: {', '.join(f'{name}=...' for name in settings)}."
    return advice + "".join(f" Where there is none to read, {name}=None." for name in needless)


def _to_list(column: Any, name: str) -> list[Any]:
    if isinstance(column, pa.ChunkedArray | pa.Array):
        return [_to_plain(value) for value in column.to_pylist()]
    if hasattr(column, "to_list"):  # pandas and polars series
        column = column.to_list()
    if isinstance(column, str) or not hasattr(column, "__len__"):
        raise BatchTypeError(
            f"Column {name!r} holds a {type(column).__name__} instead of a list: this is one row, not a batch. Use "
            "`dataset.map(distill_fn, batched=True)`."
        )
    return [_to_plain(value) for value in column]


def _to_plain(value: Any) -> Any:
    """Turn arrays and tensors into lists, their scalars into Python's, and a missing value (a NaN) into None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _to_plain(item) for name, item in value.items()}
    return None if isinstance(value, float) and value != value else value


def _count_rows(batch: Any) -> int:
    return len(next(iter(batch.values()), ())) if isinstance(batch, Mapping) else len(batch)


def _take(column: Any, rows: Any) -> Any:
    return column[rows] if hasattr(column, "dtype") else [column[row] for row in rows]


def _keep_type(values: list[Any], feature: Any) -> list[Any]:
    """Let lists that are all empty keep their type: `map` takes types from the first batch, and [] alone has none."""
    if isinstance(feature, datasets.List) and isinstance(feature.feature, datasets.Value) and not any(values):
        dtype = feature.feature.dtype
        return [np.empty(0, dtype=str if dtype == "string" else dtype) for _ in values]
    return values


def _is_pandas(batch: Any) -> bool:
    return type(batch).__module__.split(".")[0] == "pandas" and hasattr(batch, "columns")


def _is_polars(batch: Any) -> bool:
    return type(batch).__module__.split(".")[0] == "polars" and hasattr(batch, "columns")


def map_with_features(
    dataset: Any,
    function: Callable[..., Any],
    make_features: Callable[[datasets.Features], datasets.Features],
    input_columns: Sequence[str],
    remove_columns: Sequence[str],
    batch_size: int,
    map_kwargs: Mapping[str, Any],
) -> Any:
    """Map a dataset with the types of its new columns said up front, so that an empty one gets them too.

    Rows are handed over without the dataset's format, which the result gets back: in NumPy's, PyTorch's or pandas'
    format a whole number beside a null becomes a float, and a date may not be readable at all.

    Args:
        dataset (`Dataset`, `DatasetDict`, `IterableDataset` or `IterableDatasetDict`):
            The dataset.
        function (`Callable`):
            Passed to `map`, which gives it batches.
        make_features (`Callable`):
            Gives the features of the result from those of a dataset.
        input_columns (`Sequence[str]`):
            Columns that must be there.
        remove_columns (`Sequence[str]`):
            Columns to drop first.
        batch_size (`int`):
            Rows of a batch.
        map_kwargs (`Mapping[str, Any]`):
            Passed to `map`.

    Returns:
        A dataset of the same kind.

    Raises:
        ColumnError: An input column is missing.
    """
    if isinstance(dataset, dict):
        rest = (function, make_features, input_columns, remove_columns, batch_size, map_kwargs)
        return type(dataset)({name: map_with_features(split, *rest) for name, split in dataset.items()})
    dataset = dataset.remove_columns(list(remove_columns)) if remove_columns else dataset
    kwargs = {"batched": True, "batch_size": batch_size, **map_kwargs}
    if dataset.features is None:  # an IterableDataset may not know its columns
        return dataset.map(function, **kwargs)
    features = make_features(dataset.features)
    read_columns({name: [] for name in dataset.features}, input_columns, getattr(function, "config", None))
    if isinstance(dataset, datasets.Dataset) and len(dataset) == 0:  # `map` would add no columns
        return datasets.Dataset.from_dict({name: [] for name in features}, features=features)
    if isinstance(dataset, datasets.IterableDataset):  # which decodes whole batches; what comes out is decoded
        return dataset.decode(False).map(function, **{"features": features, **kwargs})
    form = dataset.format
    if form["type"] in (None, "custom"):  # a transform makes what is in the rows
        return dataset.map(function, **{"features": features, **kwargs})
    mapped = dataset.with_format(None).map(function, **{"features": features, **kwargs})
    hidden = set(dataset.column_names) - set(form["columns"])
    shown = [name for name in mapped.column_names if name not in hidden]
    return mapped.with_format(form["type"], shown, form["output_all_columns"], **form["format_kwargs"])
