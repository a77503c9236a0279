"""Batches that come from several threads, written as one stream: none waits for the slowest row of another.

The first thread that finds nobody writing writes for all, as long as others bring rows. What was written is in the
journal then, and every thread makes its columns from there.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from hf_rare.generation.protocol import Completion, EncodedPrompt
from hf_rare.writers.attempt import WriterAttempts
from hf_rare.writers.base import ColumnWriter
from hf_rare.writers.result import Result

LOOK_SECONDS = 0.05


class _Batch:
    """The rows of a batch that are not finished yet."""

    def __init__(self, rows: Sequence[Result[Any]]) -> None:
        self.rows = [_Row(row, self) for row in rows]
        self.left = len(rows)
        self.is_over = threading.Event()

    def finish_row(self) -> None:
        self.left -= 1
        if not self.left:
            self.is_over.set()


class _Row:
    """A row, and the batch that waits for it."""

    def __init__(self, result: Result[Any], batch: _Batch) -> None:
        self.result = result
        self.batch = batch


class _JoinedAttempts:
    """The attempts of a writer at rows that say when they are finished."""

    def __init__(self, attempts: WriterAttempts[Any]) -> None:
        self._attempts = attempts
        self.read_together = attempts.read_together

    def next(self, row: _Row) -> list[tuple[EncodedPrompt, int]]:
        wanted = self._attempts.next(row.result)
        if not wanted:
            row.batch.finish_row()
        return wanted

    def all(self, row: _Row) -> list[tuple[EncodedPrompt, int]]:
        return self._attempts.all(row.result)

    def read(self, rows: Sequence[_Row], completions: Sequence[Sequence[Completion]]) -> None:
        self._attempts.read([row.result for row in rows], completions)

    def copy(self, row: _Row) -> _Row:
        return _Row(self._attempts.copy(row.result), row.batch)

    def alone(self) -> AbstractContextManager[None]:
        return self._attempts.alone()


class JoinedBatches:
    """A writer whose batches may come from several threads at once.

    Without a journal, its own or a companion's, batches are written one after the other.

    Args:
        writer ([`ColumnWriter`]): the writer.
    """

    def __init__(self, writer: ColumnWriter[Any, Any]) -> None:
        self._writer = writer
        # what reads counts for itself, and must not write again what has failed
        limits = dict.fromkeys(("max_rows", "max_tokens", "max_hours", "checkpoint_repo"))
        self._reader = writer.with_run(**limits, retry_failed=False)
        self._has_journals = all(each.completer.has_journal() for each in (writer, *writer.companions.values()))
        self._waiting: deque[_Batch] = deque()
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._error: BaseException | None = None

    def __call__(self, batch: Any) -> Any:
        """Write the new columns of a batch; see [`ColumnWriter`].

        Raises:
            As the writer does. What ends the run in one thread ends it in all.
        """
        if not self._has_journals:
            with self._writing:
                return self._writer(batch)
        with self._reading:  # tokenizers are not for two threads
            mine = _Batch(self._reader.begin_rows(batch))
        if mine.rows:
            self._waiting.append(mine)
            self._write_or_wait(mine)
        with self._reading:
            return self._reader(batch)

    def _write_or_wait(self, mine: _Batch) -> None:
        while not mine.is_over.wait(LOOK_SECONDS if self._writing.locked() else 0):
            if self._error is not None:
                raise self._error
            if not self._writing.acquire(blocking=False):
                continue
            try:
                attempts = _JoinedAttempts(self._writer.make_attempts())
                self._writer.completer.run_rows(self._take_rows(), attempts)
            except BaseException as err:
                self._error = err
                raise
            finally:
                self._writing.release()

    def _take_rows(self) -> Iterator[list[_Row]]:
        """Return the rows of the next batch; none where none waits now, which may change while rows are written."""
        while True:
            yield self._waiting.popleft().rows if self._waiting else []
