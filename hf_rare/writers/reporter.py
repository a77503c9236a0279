"""Who tells callbacks how the runs of a writer go, from the counts that the progress bar shows too.

It is the process that has made the writer: callbacks do not travel. What they raise costs neither a row nor a run, and
nothing that is generated, kept or cached depends on them.
"""

import atexit
import contextlib
import dataclasses
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import pyarrow as pa

from hf_rare.errors import BudgetReachedError, ConfigError
from hf_rare.runs.progress import RunCounts, RunListener
from hf_rare.runs.team import read_place
from hf_rare.text import hide_tokens
from hf_rare.writers.callbacks import Callback, Callbacks, How, RunBegin, RunEnd, RunProgress
from hf_rare.writers.recipe import make_recipe
from hf_rare.writers.result import Result
from hf_rare.writers.summary import Summary

logger = logging.getLogger(__name__)


class _Function(Callback):
    """A function as a callback."""

    def __init__(self, function: Callable[[RunProgress], object]) -> None:
        self.function = function

    def on_progress(self, progress: RunProgress) -> None:
        self.function(progress)


@dataclass(eq=False)
class _Listening:
    """A callback, and what it was told last: when, after how many tokens, after how many seconds of generating."""

    callback: Callback
    name: str
    due: float = 0.0
    tokens: int = 0
    seconds: float = 0.0


class RunReporter(RunListener):
    """Tells callbacks how the runs of a writer go.

    A run lasts as long as the block of [`RunReporter.running`]; of a batch outside of one nobody knows whether it is
    the last, and so its run lasts until a batch fails, the next block begins, or the process ends.

    Args:
        callbacks (`Sequence`): callbacks, and functions that are called with each [`RunProgress`].

    Raises:
        ConfigError: One is neither.
    """

    def __init__(self, callbacks: Callbacks) -> None:
        super().__init__()
        self._listening = _read_callbacks(callbacks)
        self._writer: Any = None
        self._rows: int | None = None
        self._is_bounded = False
        self._process, self._rank = os.getpid(), 0
        self._generated_before = (0, 0)
        self._ended = self._laid_out = Summary()

    @property
    def is_open(self) -> bool:
        """Whether there is a run, and somebody is told of it."""
        return self._writer is not None and self._process == os.getpid()

    @contextlib.contextmanager
    def running(self, writer: Any, rows: int | None) -> Iterator[None]:
        """Let a run last as long as this block; in the block of another one, it is part of that."""
        if not self._listening or self._is_bounded:
            yield
            return
        self._end("unknown")
        self._begin(writer, rows)
        self._is_bounded = True
        try:
            with self._ending_at_errors():
                yield
            self._end("finished")
        finally:
            self._is_bounded = False

    @contextlib.contextmanager
    def writing_batch(self, writer: Any) -> Iterator[None]:
        """Let a batch be part of a run, which begins with it where there is none."""
        if self._listening and not self.is_open:
            self._begin(writer, None)
        with contextlib.nullcontext() if self._is_bounded else self._ending_at_errors():
            yield

    def end_rows(self, rows: Sequence[Result[Any]]) -> None:
        """Count rows that are finished."""
        if self.is_open:
            self._ended += self._writer.count_rows(rows)

    def add_batch(self, summary: Summary) -> None:
        """Add a batch whose columns were laid out."""
        self._laid_out += summary

    def add_columns(self, written: datasets.Dataset | pa.Table, rows: int) -> None:
        """Add rows that other processes have written, which are known by their columns alone.

        Args:
            written ([`~datasets.Dataset`] or `pa.Table`): their new columns.
            rows (`int`): how many rows they were; one may have become several.
        """
        if not self.is_open:
            return
        dataset = datasets.Dataset(written) if isinstance(written, pa.Table) else written
        summary = Summary.of_dataset(dataset, self._writer.output_prefix)
        self._laid_out += summary
        self._ended += summary
        self.counts.rows_begun += rows
        self.counts.rows_ended += rows
        self.counts.rows_ended_by_all += rows
        self.look()

    def look(self) -> None:
        """Tell those of the counts whose time has come."""
        if not self.is_open:
            return
        now = time.monotonic()
        for listening in self._listening:
            if now >= listening.due:
                self._tell(listening, "on_progress", self._make_progress(listening))
                listening.due = time.monotonic() + listening.callback.interval

    def _begin(self, writer: Any, rows: int | None) -> None:
        self._rank, world_size = read_place()
        self.counts = RunCounts()
        self._ended, self._laid_out = Summary(noun=writer.noun), Summary(noun=writer.noun)
        self._generated_before = (writer.completer.generated, writer.completer.tokens)
        self._writer, self._rows, self._process = writer, rows, os.getpid()
        begin = RunBegin(
            kind=writer.kind, recipe=make_recipe(writer), rows=rows, rank=self._rank, world_size=world_size
        )
        for listening in self._listening:
            self._tell(listening, "on_run_begin", begin)
            listening.due, listening.tokens, listening.seconds = time.monotonic() + listening.callback.interval, 0, 0.0
        atexit.register(self._end, "unknown")  # which comes before what loggers have registered up to here

    def _end(self, how: How, error: str = "") -> None:
        """End the run, where there is one."""
        if not self.is_open:
            return
        summary, completer = self._laid_out, self._writer.completer
        summary.generated = completer.generated - self._generated_before[0]
        summary.generated_tokens = completer.tokens - self._generated_before[1]
        summary.seconds = self.counts.seconds
        progress = self._make_progress(None)
        self._writer = None
        atexit.unregister(self._end)
        for listening in self._listening:
            self._tell(listening, "on_progress", progress)
            self._tell(listening, "on_run_end", RunEnd(how=how, error=error, summary=summary, progress=progress))

    @contextlib.contextmanager
    def _ending_at_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException as err:
            self._end(_how_ended(err), hide_tokens(str(err)) or type(err).__name__)
            raise

    def _make_progress(self, listening: _Listening | None) -> RunProgress:
        """Say how far the run is: for one of those that listen, or for all at its end."""
        counts = dataclasses.replace(self.counts)
        tokens, seconds = max(counts.told_tokens, counts.generated_tokens), counts.seconds
        if listening is not None:
            tokens, listening.tokens = tokens - listening.tokens, tokens
            seconds, listening.seconds = seconds - listening.seconds, seconds
        else:
            tokens = counts.generated_tokens
        summary = dataclasses.replace(
            self._ended + Summary(),
            generated=counts.generated,
            generated_tokens=counts.generated_tokens,
            seconds=counts.seconds,
        )
        return RunProgress(
            rows=self._rows,
            rows_begun=counts.rows_begun,
            rows_ended=counts.rows_ended,
            rows_ended_by_all=counts.rows_ended_by_all,
            found=counts.found,
            tokens_per_second=tokens / seconds if seconds > 0 else 0.0,
            summary=summary,
            rank=self._rank,
        )

    def _tell(self, listening: _Listening, name: str, event: Any) -> None:
        """Call a method of a callback; what it raises leaves it out."""
        if listening not in self._listening:
            return
        try:
            getattr(listening.callback, name)(event)
        except Exception:
            self._listening = [other for other in self._listening if other is not listening]
            logger.warning(
                "The callback %s has failed in %s and is left out; the run goes on. It said:\n%s",
                listening.name,
                name,
                hide_tokens(traceback.format_exc()),
            )


def _how_ended(err: BaseException) -> How:
    if isinstance(err, BudgetReachedError):
        return "limit"
    return "failed" if isinstance(err, Exception) else "interrupted"


def _read_callbacks(callbacks: Any) -> list[_Listening]:
    """Check callbacks, and make some of functions."""
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise ConfigError(
            f"callbacks={callbacks!r} cannot be right: expected a list of Callback objects and functions."
        )
    read = list[_Listening]()
    for callback in callbacks:
        if isinstance(callback, type):
            raise ConfigError(
                f"callbacks= holds the class {callback.__name__}; expected an object of it: {callback.__name__}()."
            )
        if not isinstance(callback, Callback) and not callable(callback):
            raise ConfigError(
                f"callbacks= holds a {type(callback).__name__}; expected a Callback, or a function that takes a "
                "RunProgress."
            )
        made = callback if isinstance(callback, Callback) else _Function(callback)
        if isinstance(made.interval, bool) or not isinstance(made.interval, int | float) or not made.interval >= 0:
            raise ConfigError(
                f"The interval of the callback {type(callback).__name__} is {made.interval!r}; expected seconds, a "
                "number of at least 0."
            )
        read.append(_Listening(made, getattr(callback, "__name__", type(callback).__name__)))
    return read
