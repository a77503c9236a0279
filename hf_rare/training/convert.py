"""What exports share: columns are checked, rows turned into examples, other columns carried along as they are."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import datasets
import pyarrow as pa

from hf_rare.errors import ColumnError, ConfigError
from hf_rare.rows.batches import read_columns, take_rows
from hf_rare.rows.column_types import Kind, check_types
from hf_rare.rows.columns import VERDICT
from hf_rare.rows.kinds_of_dataset import check_dataset

EXPORT_REVISION = 4
"""Bumped by hand whenever the same row is written in another way: the cache of `map` goes by it."""

BATCH_SIZE = 1000


def check_exportable(dataset: Any) -> None:
    """Raise [`BatchTypeError`] for anything but a [`~datasets.Dataset`]."""
    check_dataset(dataset, "An export")


def check_columns(dataset: datasets.Dataset, names: Iterable[str]) -> None:
    """Raise [`ColumnError`] where a column is missing."""
    if missing := [name for name in names if name not in dataset.column_names]:
        advice = "Pass the names of your columns (text_column=..., output_column=...); distill with columns='full'."
        if all(name.endswith(VERDICT) for name in missing):
            advice = "Check the answers first: hf_rare.verify(dataset, gold_column=...), or `hf-rare verify`."
        raise ColumnError(
            f"The dataset has no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, dataset.column_names))}. {advice}"
        )


def check_kinds(dataset: datasets.Dataset, kinds: Mapping[str, Kind]) -> None:
    """Raise [`ColumnError`] where a column is missing, or holds something else than it is read for.

    Args:
        dataset ([`~datasets.Dataset`]): the rows.
        kinds (`Mapping[str, Kind]`): what columns are read for.
    """
    check_columns(dataset, kinds)
    check_types(dataset.features, kinds)


def convert_rows(
    dataset: datasets.Dataset,
    make: Callable[[Mapping[str, Any]], Iterable[Mapping[str, Any]]],
    read: Collection[str],
    features: Mapping[str, Any],
    keep_columns: Collection[str],
    reserved: Collection[str],
    desc: str = "Exporting",
) -> datasets.Dataset:
    """Turn each row into examples.

    Args:
        dataset ([`~datasets.Dataset`]):
            The rows.
        make (`Callable`):
            Gives the examples of a row: value by column name, of which those in `features` are written.
        read (`Collection[str]`):
            Columns that `make` gets.
        features (`Mapping[str, Any]`):
            Types of the new columns.
        keep_columns (`Collection[str]`):
            Columns that the examples of a row carry along unchanged.
        reserved (`Collection[str]`):
            Names that these cannot have.
        desc (`str`, *optional*, defaults to `"Exporting"`):
            What the progress bar says.

    Returns:
        [`~datasets.Dataset`]: the new columns, then those to keep.

    Raises:
        ColumnError: A column is missing.
        ConfigError: A column to keep has a reserved name.
    """
    keep = [keep_columns] if isinstance(keep_columns, str) else list(dict.fromkeys(keep_columns))
    check_columns(dataset, [*read, *keep])
    if taken := [name for name in keep if name in reserved]:
        raise ConfigError(
            f"The column {taken[0]!r} cannot be kept under this name, which means something to the trainer. Rename it "
            f"with dataset.rename_column({taken[0]!r}, ...)."
        )
    written = datasets.Features({**features, **{name: dataset.features[name] for name in keep}})
    if not len(dataset):
        return datasets.Dataset.from_dict({name: [] for name in written}, features=written)
    types = datasets.Features(features).arrow_schema

    def convert(table: pa.Table, revision: int) -> pa.Table:
        made = [(i, example) for i, row in enumerate(read_columns(table, list(read))) for example in make(row)]
        arrays = {name: pa.array([example[name] for _, example in made], types.field(name).type) for name in features}
        kept = take_rows(table.select(keep), [i for i, _ in made])
        return pa.table({**arrays, **{name: kept[name] for name in keep}})

    rows = dataset.select_columns(list(dict.fromkeys([*read, *keep]))).with_format("arrow")
    return rows.map(
        convert,
        batched=True,
        batch_size=BATCH_SIZE,
        remove_columns=rows.column_names,
        features=written,
        fn_kwargs={"revision": EXPORT_REVISION},
        desc=desc,
    ).with_format(None)
