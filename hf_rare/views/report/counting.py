"""The rows of a report: counted one by one, beside those of another dataset with the same keys, and drawn."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.views.report.facets import name_change, name_traces
from hf_rare.views.report.tally import Tally, draw_rows, stratum_of
from hf_rare.views.report.traces import Keys, Place, Traces

AT_RANDOM = 50
"""Rows that are looked at whatever is true of them."""
KEY_COLUMN = "id"


@dataclass(frozen=True, eq=False)
class CountedRow:
    """A row that was counted.

    Args:
        place ([`Place`]): where it stands.
        key (`str`): by which it is known.
        named (`list[list[str]]`): the names of each trace.
        other ([`Place`], *optional*): where the row of the other dataset stands that has its key.
        other_named (`list[list[str]]`): the names of each trace of that.
    """

    place: Place
    key: str
    named: list[list[str]]
    other: Place | None = None
    other_named: list[list[str]] = field(default_factory=list)


@dataclass
class Counted:
    """What was counted over one dataset or two.

    Args:
        rows (`list[CountedRow]`): the rows of the first.
        tally ([`Tally`]): over these.
        other_tally ([`Tally`]): over those of the other.
        only_there (`int`): rows of the other whose keys the first has not.
    """

    rows: list[CountedRow]
    tally: Tally
    other_tally: Tally
    only_there: int


def choose_key(column: str | None, *datasets: Traces | None) -> str | None:
    """Choose what rows are known by: the column that is named, or `id` where all have it.

    Raises:
        ConfigError: The column is not there.
    """
    names = [set(split.column_names) for one in datasets if one is not None for split in one.splits.values()]
    if column is None:
        return KEY_COLUMN if names and all(KEY_COLUMN in own for own in names) else None
    if missing := [own for own in names if column not in own]:
        raise ConfigError(
            f"key_column={column!r} cannot be right: rows have {', '.join(map(repr, sorted(missing[0])))}."
        )
    return column


def count_rows(mine: Traces, other: Traces | None, keys: Keys, seed: int) -> Counted:
    """Count the rows of a dataset, and those of another beside them.

    Args:
        mine ([`Traces`]): the dataset.
        other ([`Traces`], *optional*): the other.
        keys ([`Keys`]): what rows of both are known by.
        seed (`int`): seed of the rows that are drawn at random.
    """
    tally, other_tally = Tally(), Tally()
    theirs: dict[str, tuple[Place, list[list[str]], list[Mapping[str, Any]]]] = {}
    if other is not None:
        for place, row, traces in other.iterate_light(*keys.columns):
            named = name_traces(traces)
            other_tally.count(traces, named)
            theirs[keys.read(row)] = place, named, traces
        keys.begin_again()
    at_random = set(random.Random(seed).sample(range(len(mine)), min(AT_RANDOM, len(mine))))
    rows: list[CountedRow] = []
    for number, (place, row, traces) in enumerate(mine.iterate_light(*keys.columns)):
        key, names = keys.read(row), name_traces(traces)
        pair = theirs.get(key)
        of_row = [f"split/{place.split}"] if len(mine.splits) > 1 else []
        of_row += ["queue/random"] if number in at_random else []
        of_row += name_change(traces, pair[2] if pair else None) if other is not None else []
        named = [own + of_row for own in names]
        tally.count(traces, named)
        rows.append(CountedRow(place, key, named, *(pair[:2] if pair else ())))
    found = sum(row.other is not None for row in rows)
    return Counted(rows, tally, other_tally, len(theirs) - found)


def draw_counted(rows: Sequence[CountedRow], count: int, seed: int) -> list[CountedRow]:
    """Draw rows in which all that sets traces apart is there; see [`draw_rows`]."""
    numbers: dict[tuple[str, ...], int] = {}
    strata = [numbers.setdefault(stratum_of(row.named), len(numbers)) for row in rows]
    wanted = {number for number, row in enumerate(rows) if any("queue/random" in names for names in row.named)}
    return [rows[number] for number in draw_rows(strata, count, seed, wanted)]
