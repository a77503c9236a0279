"""How the rows of a writer are tried: the prompts and seeds of each attempt, and what reads its completions."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from hf_rare.generation.protocol import Completion, EncodedPrompt
from hf_rare.rows.row import derive_seed
from hf_rare.settings.writers import WriterConfig
from hf_rare.writers.result import Result, Sample

S = TypeVar("S", bound=Sample)

READ_TOGETHER = 256
"""Rows whose completions wait for each other where a model reads them: while it does, nothing else is written."""


class WriterAttempts(Generic[S]):
    """The attempts at the rows of a writer, as [`JobStream`] asks for them.

    Args:
        config ([`WriterConfig`]): attempts, samples and seed.
        is_sampling (`bool`): whether another attempt can come to something else; without it each row has one.
        read (`Callable`): adds what completions say to the samples of their rows, and marks rows that are complete.
        companions (`Sequence`): the other writers that `read` asks.
        price (`Callable`): gives what a completion has cost.
    """

    def __init__(
        self,
        config: WriterConfig,
        is_sampling: bool,
        read: Callable[[Sequence[Result[S]], Sequence[Sequence[Completion]]], None],
        companions: Sequence[Any],
        price: Callable[[Completion], float],
    ) -> None:
        self._seed = config.seed
        self._samples = config.samples_per_attempt
        self._most = config.attempts if is_sampling else 1
        self._read = read
        self._companions = companions
        self._price = price
        self.read_together = READ_TOGETHER if companions else 1

    def next(self, row: Result[S]) -> list[tuple[EncodedPrompt, int]]:
        """Return the prompt of the next attempt at a row with the seed of each sample; nothing after the last."""
        return [] if row.is_complete else self._ask(row, row.attempts, row.attempts + 1)

    def all(self, row: Result[S]) -> list[tuple[EncodedPrompt, int]]:
        """Return the prompt of a row with the seeds of all attempts."""
        return self._ask(row, 0, self._most)

    def _ask(self, row: Result[S], first: int, end: int) -> list[tuple[EncodedPrompt, int]]:
        content, encoded = row.prepared.row, row.prepared.encoded
        if not row.prepared.is_ready or content is None or encoded is None:
            return []
        digest, samples = (
            content.digest(self._seed),
            range(first * self._samples, min(end, self._most) * self._samples),
        )
        return [(encoded, derive_seed(digest, "sample", sample)) for sample in samples]

    def read(self, rows: Sequence[Result[S]], completions: Sequence[Sequence[Completion]]) -> None:
        """Read the completions of the latest attempt at each row."""
        for row, written in zip(rows, completions, strict=True):
            row.take(written, self._price)
        self._read(rows, completions)

    def copy(self, row: Result[S]) -> Result[S]:
        """Return a row that is as far as this one, and goes its own way from here."""
        copied = copy.copy(row)
        copied.samples, copied.served_by = list(row.samples), list(row.served_by)
        return copied

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let the other writers work in this process alone, while others read other rows."""
        with contextlib.ExitStack() as stack:
            for companion in self._companions:
                stack.enter_context(companion.completer.alone())
            yield
