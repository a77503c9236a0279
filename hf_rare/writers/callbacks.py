"""Callbacks: what people's own loggers are told of a run. Who tells them, and when, is the business of `reporter`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hf_rare.writers.summary import Summary

How = Literal["finished", "limit", "interrupted", "failed", "unknown"]


@dataclass(frozen=True, kw_only=True)
class RunBegin:
    """What is known as a run begins.

    Args:
        kind (`str`): what writes, as recipes call it: `distill`, `questions`, `negatives`, `judge` or `evaluate`.
        recipe (`dict`): settings, model and versions, as JSON values without tokens and local paths.
        rows (`int`, *optional*): rows of the run; `None` where this is not known, as with `map`.
        rank (`int`): number of this process among those that a launcher has started, from 0.
        world_size (`int`): how many these are; 1 for a process that works alone.
    """

    kind: str
    recipe: Mapping[str, Any]
    rows: int | None
    rank: int
    world_size: int


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """How far a run is: what this process has done of it.

    Args:
        rows (`int`, *optional*): rows of the run, for all processes; `None` where this is not known.
        rows_begun (`int`): rows that were begun.
        rows_ended (`int`): those of them that are finished, whatever their status.
        rows_ended_by_all (`int`): rows that all processes of the job have finished; alone, `rows_ended`.
        found (`int`): completions that needed no writing: the journal had them, or an equal row.
        tokens_per_second (`float`): tokens generated since the last event, by the second; at the end of the run, since
            its beginning. Those of completions under way count where the generator tells of them.
        summary ([`Summary`]): counts over the rows that are finished, and over the completions that were generated.
        rank (`int`): number of this process among those that a launcher has started, from 0.
    """

    rows: int | None
    rows_begun: int
    rows_ended: int
    rows_ended_by_all: int
    found: int
    tokens_per_second: float
    summary: Summary
    rank: int

    def numbers(self) -> dict[str, float]:
        """Return all numbers by name, for loggers: these, and those of [`Summary.numbers`]."""
        names = ("rows_begun", "rows_ended", "rows_ended_by_all", "found", "tokens_per_second")
        return {name: getattr(self, name) for name in names} | self.summary.numbers()


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """How a run has ended.

    Args:
        how (`str`): `finished`; `limit`, by `max_rows` and its like; `interrupted`, by Ctrl-C or a signal; `failed`,
            by an error; or `unknown`, of a `map` that nobody has said the end of.
        error (`str`): what has ended it, in words; empty where it is finished.
        summary ([`Summary`]): counts over the rows of the run; under a launcher, over those of all processes.
        progress ([`RunProgress`]): the last one.
    """

    how: How
    error: str
    summary: Summary
    progress: RunProgress


class Callback:
    """The base of callbacks: a subclass has those of its methods that it needs, which do nothing here.

    What they raise is logged once, and the callback left out from there on; Ctrl-C and `SystemExit` end the run.

    Attributes:
        interval (`float`): least seconds between two calls of `on_progress`, 10 by default. The last one comes at the
            end of the run, however soon that is.

    Example:
        >>> from hf_rare import Callback
        >>> class Printing(Callback):
        ...     interval = 60.0
        ...
        ...     def on_progress(self, progress):
        ...         print(f"{progress.rows_ended} of {progress.rows} rows")
        >>> distill_fn = ReasonDistiller.from_pretrained("Qwen/Qwen3-8B", max_new_tokens=64, callbacks=[Printing()])
        >>> ds = distill_fn.apply(rows)
        6 of 6 rows
    """

    interval: float = 10.0

    def on_run_begin(self, begin: RunBegin) -> None:
        """Take note that a run begins.

        Args:
            begin ([`RunBegin`]): what is known of it.
        """

    def on_progress(self, progress: RunProgress) -> None:
        """Take note of how far a run is.

        Args:
            progress ([`RunProgress`]): what was done so far.
        """

    def on_run_end(self, end: RunEnd) -> None:
        """Take note that a run has ended.

        Args:
            end ([`RunEnd`]): how, and what it has come to.
        """


Callbacks = Sequence[Callback | Callable[[RunProgress], object]]
"""What `callbacks=` takes: callbacks, and functions that are called with each [`RunProgress`]."""
