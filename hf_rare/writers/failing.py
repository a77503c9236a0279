"""Rows that are given up: they become what any row is whose completion fails, in the journal too.

The writer itself lays them out, around a generator that fails every prompt and loads no model.
"""

from collections.abc import Iterator
from typing import Any

from hf_rare.generation.protocol import Completion, Encoder, Generator, Job, JobSource, Observer
from hf_rare.writers.base import ColumnWriter

NO_LIMITS = dict.fromkeys(("max_rows", "max_tokens", "max_hours", "max_cost", "checkpoint_repo"))


class _FailingGenerator(Generator):
    """Stands for a generator, and fails every prompt."""

    def __init__(self, generator: Generator, error: str) -> None:
        self._generator = generator
        self._error = error

    @property
    def encoder(self) -> Encoder:
        return self._generator.encoder

    @property
    def is_sampling(self) -> bool:
        return self._generator.is_sampling

    def identity(self) -> dict[str, Any]:
        return self._generator.identity()

    def may_reuse(self, completion: Completion) -> bool:
        return self._generator.may_reuse(completion)

    def generate(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        while jobs := source.take(1):
            yield [(job, Completion("", "error", len(job.prompt.token_ids), 0, self._error)) for job in jobs]


def fail_rows(writer: ColumnWriter[Any, Any], batch: Any, error: str) -> Any:
    """Write the new columns of rows of which nothing more is to be generated.

    Args:
        writer ([`ColumnWriter`]): the writer, whose model and whose companions' models are left alone.
        batch: the rows.
        error (`str`): why they fail.

    Returns:
        The columns, as the writer makes them. What the journal has of the rows is in them.

    Raises:
        As the writer does, and so `GenerationError` with `on_error="raise"`.
    """
    failing = writer.with_generator(lambda generator: _FailingGenerator(generator, error), **NO_LIMITS)
    return failing(batch)
