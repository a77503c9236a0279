"""Counts over all rows of a dataset, however many of them a page shows, and which rows it should show."""

import math
import random
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_rare.rows.columns import COMPLETION_TOKENS, POSITIVE_POSITION, PROMPT_TOKENS, SAMPLE
from hf_rare.rows.statistics import Distribution

OF_GROUNDS = ("grounding/cites", "grounding/grounded", "evidence/on_positive")
"""What is shown by the place of the positive."""
APART = ("status", "completion", "verdict", "first", "grounding", "evidence", "change")
"""Kinds of names by which rows are drawn apart, so that what is rare is there."""
OFTEN = ("grounding/cites", "grounding/quotes")
"""Names of such kinds that do not set rows apart: the others of their kind say it."""
CONFIDENCE = statistics.NormalDist().inv_cdf(0.975)
"""Standard deviations that 95 % of a normal distribution lie within."""


@dataclass
class Tally:
    """What is counted over the rows of a dataset.

    Args:
        rows (`int`): the rows.
        traces (`int`): their traces.
        by_trace (`Counter[str]`): traces by name.
        by_row (`Counter[str]`): rows of which a trace has the name.
        tokens_read (`int`): tokens of the prompts, each row's once.
        tokens_written (`int`): tokens of the traces.
        tokens_lost (`int`): those of traces that are not `ok`.
        lengths ([`Distribution`]): tokens of a trace.
        at_place (`dict[int, Counter[str]]`): rows and traces that were looked at for what they rest on, and names
            of [`OF_GROUNDS`], by the place of the positive.
    """

    rows: int = 0
    traces: int = 0
    by_trace: Counter[str] = field(default_factory=Counter)
    by_row: Counter[str] = field(default_factory=Counter)
    tokens_read: int = 0
    tokens_written: int = 0
    tokens_lost: int = 0
    lengths: Distribution = field(default_factory=Distribution)
    at_place: dict[int, Counter[str]] = field(default_factory=dict)

    def count(self, traces: Sequence[Mapping[str, Any]], named: Sequence[Collection[str]]) -> None:
        """Count a row.

        Args:
            traces (`Sequence[Mapping[str, Any]]`): of each trace what its columns say, by ending.
            named (`Sequence[Collection[str]]`): the names of each.
        """
        self.rows += 1
        self.traces += len(traces)
        self.by_row.update(dict.fromkeys((name for names in named for name in names), 1))
        if traces and not traces[0][SAMPLE]:  # a row for each trace: the prompt was read once for all
            self.tokens_read += _number(traces[0][PROMPT_TOKENS])
        for trace, names in zip(traces, named, strict=True):
            self.by_trace.update(names)
            tokens = _number(trace[COMPLETION_TOKENS])
            self.tokens_written += tokens
            self.tokens_lost += tokens if "completion/not_ok" in names else 0
            if tokens:
                self.lengths.counts[tokens] += 1
        self._count_grounds(traces, named)

    def _count_grounds(self, traces: Sequence[Mapping[str, Any]], named: Sequence[Collection[str]]) -> None:
        for kind in ("grounding", "evidence"):
            own = [names for names in named if any(name.startswith(kind) for name in names)]
            place = _number(traces[0][POSITIVE_POSITION]) if traces else 0
            if own and place:
                counts = self.at_place.setdefault(place, Counter())
                counts[f"{kind}/rows"] += 1
                counts[f"{kind}/traces"] += len(own)
                counts.update(name for names in own for name in names if name in OF_GROUNDS and name.startswith(kind))

    def rate_at(self, place: int, name: str) -> tuple[float, float, float] | None:
        """Return a rate at a place of the positive, and where its interval of 95 % begins and ends.

        The traces of a row are no independent ones: the interval is that of as many traces as there are rows.
        """
        counts, kind = self.at_place.get(place, Counter()), name.partition("/")[0]
        if not counts[f"{kind}/traces"]:
            return None
        rate = counts[name] / counts[f"{kind}/traces"]
        return (rate, *wilson_interval(rate, counts[f"{kind}/rows"]))


def wilson_interval(rate: float, count: int) -> tuple[float, float]:
    """Return the interval of 95 % of a rate: the score interval of E. B. Wilson (1927), which stays between 0 and 1.

    Args:
        rate (`float`): the share that was seen.
        count (`int`): how many it was seen among.

    Returns:
        `tuple[float, float]`: where it begins, and where it ends.
    """
    square = CONFIDENCE**2 / count
    middle = (rate + square / 2) / (1 + square)
    half = CONFIDENCE / (1 + square) * math.sqrt(rate * (1 - rate) / count + square / 4 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def stratum_of(named: Iterable[Collection[str]]) -> tuple[str, ...]:
    """Return what a row is drawn by: all names of its traces that say how they turned out."""
    names = {name for own in named for name in own if name.partition("/")[0] in APART and name not in OFTEN}
    return tuple(sorted(names))


def draw_rows(strata: Sequence[int], count: int, seed: int, wanted: Collection[int] = ()) -> list[int]:
    """Draw rows so that what is rare is among them: of each stratum as many, or all where it has fewer.

    Args:
        strata (`Sequence[int]`): the stratum of each row.
        count (`int`): how many rows.
        seed (`int`): seed of the draw.
        wanted (`Collection[int]`, *optional*): numbers of rows that are drawn whatever their stratum, so that they are
            at most half of all.

    Returns:
        `list[int]`: numbers of rows, ascending.
    """
    if len(strata) <= count:
        return list(range(len(strata)))
    draw = random.Random(seed)
    wanted = set(draw.sample(sorted(wanted), min(len(wanted), count // 2)))
    rows: dict[int, list[int]] = {}
    for number, stratum in enumerate(strata):
        if number not in wanted:
            rows.setdefault(stratum, []).append(number)
    chosen, left = list(wanted), count - len(wanted)
    for done, own in enumerate(sorted(rows.values(), key=lambda own: (len(own), own[0]))):
        taken = draw.sample(own, min(len(own), left // (len(rows) - done)))
        chosen += taken
        left -= len(taken)
    return sorted(chosen)


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
