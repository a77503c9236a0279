"""One trace of each row, where a row has several: the first right one, or what is to stand in for it."""

from functools import partial
from typing import Literal

import datasets
import pyarrow as pa

from hf_rare.errors import ColumnError, ConfigError
from hf_rare.rows.batches import read_columns, take_rows
from hf_rare.rows.column_types import is_list
from hf_rare.rows.columns import ANSWER, COMPLETION_TOKENS, ERROR, GROUNDING_COLUMNS, STATUS, VERDICT
from hf_rare.training.convert import check_columns, check_exportable

ENDINGS = ("", ANSWER, STATUS, ERROR, COMPLETION_TOKENS, VERDICT)
FALLBACKS = ("first", "last", "none")


def keep_one_trace(
    dataset: datasets.Dataset,
    output_column: str = "reasoning",
    fallback: Literal["first", "last", "none"] = "first",
) -> datasets.Dataset:
    """Keep one trace of each row: the first that is `ok` and right, or else the first that is `ok` and unchecked.

    It turns rows with all attempts (`keep_attempts`, `num_samples`) into what the distiller gives without them. What
    `verify` and `audit_grounding` say of the trace stays with it.

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
    check_exportable(dataset)
    check_columns(dataset, [output_column, output_column + STATUS])
    possible = [output_column + ending for ending in (*ENDINGS, *GROUNDING_COLUMNS)]
    names = [name for name in possible if name in dataset.column_names]
    if plain := [name for name in names if not is_list(dataset.features[name])]:
        raise ColumnError(f"The column {plain[0]!r} holds one value for each row: there is nothing to choose from.")
    features = datasets.Features({**dataset.features, **{name: dataset.features[name].feature for name in names}})
    if not len(dataset):
        return datasets.Dataset.from_dict({name: [] for name in features}, features=features)
    choose = partial(_choose, names, output_column, fallback, features.arrow_schema)
    rows = dataset.with_format("arrow")  # columns that are not chosen from are never decoded
    return rows.map(choose, batched=True, features=features, desc="Choosing traces").with_format(None)


def _choose(names: list[str], output: str, fallback: str, schema: pa.Schema, table: pa.Table) -> pa.Table:
    rows, kept = [], []
    for number, row in enumerate(read_columns(table, names)):
        own = row[output + STATUS] or []
        said = row.get(output + VERDICT, ["unchecked"] * len(own)) or []
        whole = [place for place, status in enumerate(own) if status == "ok"]
        ranked = [place for word in ("right", "unchecked") for place in whole if said[place] == word]
        place = next(iter(ranked), {"first": 0, "last": -1}.get(fallback))
        if place is not None and own:
            rows.append(number)
            kept.append({name: row[name][place] for name in names})
    others = take_rows(table, rows)
    arrays = {name: pa.array([values[name] for values in kept], schema.field(name).type) for name in names}
    return pa.table({name: arrays.get(name, others[name]) for name in table.column_names})
