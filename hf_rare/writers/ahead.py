"""The rows of a whole dataset, a few at a time: what a run ahead of `Dataset.map` reads."""

import bisect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import datasets


def can_be_read_ahead(dataset: Any) -> bool:
    """Tell whether rows can be had by number, and are those that `map` hands over: a transform makes others."""
    return isinstance(dataset, datasets.Dataset) and dataset.format["type"] != "custom"


class RowsAhead:
    """The rows of datasets, one behind the other, by their number.

    Args:
        splits (`Sequence[Dataset]`): the datasets.
    """

    def __init__(self, splits: Sequence[datasets.Dataset]) -> None:
        self._splits = [split.with_format("arrow") for split in splits]
        self._ends = list(itertools.accumulate(map(len, splits)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, numbers: range, prepare: Callable[[Any], list[Any]]) -> list[Any]:
        """Return what `prepare` makes of the rows with these numbers, table by table."""
        made: list[Any] = []
        start = numbers.start
        while start < numbers.stop:
            place = bisect.bisect_right(self._ends, start)
            first = self._ends[place - 1] if place else 0
            stop = min(numbers.stop, self._ends[place])
            made += prepare(self._splits[place][start - first : stop - first])
            start = stop
        return made
