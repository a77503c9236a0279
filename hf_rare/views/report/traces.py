"""The traces of a row, one by one, whether its columns hold lists or not; and where a report finds them."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import datasets

from hf_rare.errors import BatchTypeError, ColumnError
from hf_rare.rows.column_types import is_list
from hf_rare.rows.columns import (
    EVIDENCE,
    EVIDENCE_COLUMNS,
    EVIDENCE_PER_TOKEN,
    FEATURES,
    GROUNDING_COLUMNS,
    STATUS,
    TRACE,
    TRACE_COLUMNS,
    VERDICT,
)
from hf_rare.rows.gold import label_names
from hf_rare.rows.hard_negatives import name_columns
from hf_rare.rows.statistics import named_splits
from hf_rare.settings.writers import DistillConfig
from hf_rare.views.preview import show_gold

PER_TRACE = (*TRACE_COLUMNS, VERDICT, *GROUNDING_COLUMNS, *EVIDENCE_COLUMNS)
"""Endings of the columns that hold a value for each trace where a row has several."""
HEAVY = (TRACE, EVIDENCE, EVIDENCE_PER_TOKEN)
"""Endings of columns that nothing is counted by."""
ROWS_AT_ONCE = 1000

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a row stands.

    Args:
        split (`str`): its split.
        row (`int`): its number in the split, from 0.
    """

    split: str
    row: int


class Traces:
    """The rows of a distilled dataset as a report reads them.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.DatasetDict`]):
            The dataset.
        config ([`DistillConfig`]):
            The names of its columns.

    Attributes:
        splits (`dict[str, Dataset]`): its splits by name.

    Raises:
        BatchTypeError: It is no dataset whose rows are there.
        ColumnError: A split has no column with traces.
    """

    def __init__(self, dataset: Any, config: DistillConfig) -> None:
        if not isinstance(dataset, datasets.Dataset | datasets.DatasetDict):
            raise BatchTypeError(
                f"A report is made of a Dataset or a DatasetDict, and this is a {type(dataset).__name__}. The rows of "
                "a stream can be counted only once they are on the disk: Dataset.from_generator makes them so."
            )
        self.splits = named_splits(dataset)
        self._config = config
        self._shown: dict[str, datasets.Dataset] = {}
        self._has_lists: dict[str, bool] = {}
        for name, split in self.splits.items():
            if config.output_column not in split.column_names:
                raise ColumnError(
                    f"The split {name!r} has no column {config.output_column!r}; it has "
                    f"{', '.join(map(repr, split.column_names))}. Distill it first, or pass output_column=..."
                )
            self._has_lists[name] = is_list(split.features[config.output_column])
            self._shown[name] = self._choose_shown(split)

    def __len__(self) -> int:
        return sum(map(len, self.splits.values()))

    def iterate_light(self, *further: str) -> Iterator[tuple[Place, Values, list[Values]]]:
        """Iterate over all rows without their texts: place, values of `further` columns, and each trace by ending."""
        for name, split in self.splits.items():
            endings = [ending for ending in FEATURES if ending not in HEAVY]
            names = {self._config.output_column + ending for ending in endings} | set(further)
            if self._config.output_column + STATUS not in split.column_names:
                names.add(self._config.output_column)  # by nothing else is it known how many traces a row has
            light = split.select_columns([column for column in split.column_names if column in names])
            number = 0
            for batch in light.with_format(None).iter(ROWS_AT_ONCE):
                columns = list(batch)
                for values in zip(*batch.values(), strict=True):
                    row = dict(zip(columns, values, strict=True))
                    yield Place(name, number), row, self._split(row, self._has_lists[name])
                    number += 1

    def read(self, place: Place) -> tuple[Values, list[Values]]:
        """Read a row: the values of its columns, the right answer in words, and each of its traces by ending."""
        row, gold = self._shown[place.split][place.row], self._config.gold_column
        if gold is not None and gold in row:
            row[gold] = show_gold(row[gold], label_names(self.splits[place.split].features, gold))
        return row, self._split(row, self._has_lists[place.split])

    def _choose_shown(self, split: datasets.Dataset) -> datasets.Dataset:
        """Return a split with the columns that the page shows: others may hold pictures, and take long to read."""
        config = self._config
        shown = {config.text_column, config.question_column, config.scenario_column, config.gold_column}
        shown |= set(name_columns(config.hard_negatives_column))
        shown |= {config.output_column + ending for ending in FEATURES}
        return split.select_columns([column for column in split.column_names if column in shown]).with_format(None)

    def _split(self, row: Values, as_lists: bool) -> list[Values]:
        """Return what the columns of the row contract say of each trace of a row, by ending."""
        values = {ending: row.get(self._config.output_column + ending) for ending in FEATURES}
        if not as_lists:
            return [values]
        lists = {ending: own for ending in PER_TRACE if isinstance(own := values[ending], list)}
        count = max(map(len, lists.values()), default=0)
        return [
            {**values, **{ending: own[i] if i < len(own) else None for ending, own in lists.items()}}
            for i in range(count)
        ]


class Keys:
    """What rows of two datasets are known by as the same: a column, or what the teacher was asked.

    Args:
        column (`str`, *optional*): the column; without one, question, scenario and positive together.
        config ([`DistillConfig`]): names of these columns.
    """

    def __init__(self, column: str | None, config: DistillConfig) -> None:
        asked = (config.question_column, config.scenario_column, config.text_column)
        self.columns = (column,) if column is not None else tuple(name for name in asked if name is not None)
        self._column = column
        self._seen: dict[str, int] = {}

    def begin_again(self) -> None:
        """Forget which keys have been given: the rows that follow are those of another dataset."""
        self._seen.clear()

    def read(self, row: Values) -> str:
        """Return the key of the next row; rows with the same content are told apart by which of them comes first."""
        if self._column is not None:
            key = str(row[self._column])
        else:
            texts = [row.get(name) for name in self.columns]
            key = hashlib.blake2b(repr(texts).encode("utf-8", "replace"), digest_size=8).hexdigest()
        number = self._seen[key] = self._seen.get(key, 0) + 1
        return key if number == 1 else f"{key} ({number})"
