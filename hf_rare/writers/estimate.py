"""What a run will take, from a few rows: tokens, hours, and how many rows go together.

A micro-batch of `b` prompts padded to `l` tokens takes `b * l` times the seconds of a prompt token, and the seconds of
a step for each step until its longest completion ends. Both depend on `b`. They are measured on a few rows that are
written to their ends, one alone and the others together, and on the first steps of as many rows as a generator takes,
which also shows how many fit; then all micro-batches of the run are added up.

Where a row that has ended makes room for the next one, prompts take their tokens times the seconds of one, and the
steps are counted by letting rows as long as those that were tried take each other's place.
"""

import contextlib
import heapq
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hf_rare.errors import ConfigError, HfRareError
from hf_rare.generation.protocol import Generator, Job, JobList
from hf_rare.rows.row import derive_seed
from hf_rare.text import show_cost, show_time
from hf_rare.writers.preparing import PreparedRow

MEASURED_PROMPTS = 1000
"""The prompts of at most this many rows, spread evenly over the dataset, are measured; they stand for the others."""

PROBE_STEPS = 16
"""Steps of as many rows as go together that are timed."""

SPEED_ERROR = 0.2
"""Share by which the speed may be off, since machines drift; `benchmarks/results/estimate.json` has an example."""


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Args:
        rows (`int`): rows of the dataset.
        invalid_rows (`int`): rows that cannot be generated.
        prompt_tokens (`int`): tokens of all prompts.
        completion_tokens (`int`): tokens that will be generated.
        hours (`float`): time to generate them, without loading the model.
        error (`float`): share by which the hours may be off: two standard errors of the length of a completion, and
            `SPEED_ERROR`.
        rows_together (`int`): rows that are written together.
        sample (`int`): rows that were generated to find out.
        cost (`float`): what the completions will cost, where an endpoint's prices are given.
    """

    rows: int
    invalid_rows: int
    prompt_tokens: int
    completion_tokens: int
    hours: float
    error: float
    rows_together: int
    sample: int
    cost: float = 0.0

    def __str__(self) -> str:
        cost = f", cost {show_cost(self.cost)}" if self.cost else ""
        low, high = self.hours * (1 - self.error), self.hours * (1 + self.error)
        return (
            f"{self.rows} rows ({self.invalid_rows} invalid): {self.prompt_tokens} prompt tokens, about "
            f"{self.completion_tokens} generated, in {show_time(self.hours)} ({show_time(low)} to {show_time(high)})"
            f"{cost}; up to {self.rows_together} rows together. Estimated from {self.sample} rows."
        )


class _EnoughError(HfRareError):
    """Ends a probe whose speed is known."""


@dataclass
class Clock:
    """An observer that measures what prompts and steps take, by the number of rows written together."""

    refills: bool
    max_steps: float = math.inf
    prompts: dict[int, float] = field(default_factory=dict)
    steps: dict[int, list[float]] = field(default_factory=dict)
    read: tuple[float, int] = (0.0, 0)
    rows_together: int = 0

    def begin(self, jobs: Sequence[Job]) -> None:
        """Start the clock of the rows that are written together now."""
        self.rows_together, self._last = len(jobs), time.perf_counter()
        self._padded = len(jobs) * max(len(job.prompt.token_ids) for job in jobs)
        if not self.refills:
            self.steps[self.rows_together] = []

    def add_tokens(self, prompt_tokens: int, generated_tokens: int) -> None:
        """Take the time of a step."""
        now = time.perf_counter()
        taken, self._last = now - self._last, now
        if prompt_tokens:
            self.prompts[self.rows_together] = taken / max(1, self._padded)
            self.read = (self.read[0] + taken, self.read[1] + prompt_tokens)
            return
        steps = self.steps.setdefault(self.rows_together, [])
        tokens = max(1, generated_tokens) / self.rows_together if self.refills else 1
        steps.append(taken / tokens)  # time for a token of each row
        if len(steps) >= self.max_steps:
            raise _EnoughError

    def seconds(self, lengths: Sequence[int], rows_together: int, completions: Sequence[int]) -> float:
        """Return the time that a run takes.

        Args:
            lengths (`Sequence[int]`): tokens of its prompts, in order.
            rows_together (`int`): how many rows are written together.
            completions (`Sequence[int]`): tokens of a few completions.
        """
        if self.refills:
            return self._refilled_seconds(lengths, rows_together, completions)
        batches = (lengths[start : start + rows_together] for start in range(0, len(lengths), rows_together))
        return sum(self._batch_seconds(batch, completions) for batch in batches)

    def _batch_seconds(self, batch: Sequence[int], completions: Sequence[int]) -> float:
        steps = {count: statistics.median(times[:PROBE_STEPS]) for count, times in self.steps.items() if times}
        slower = [statistics.mean(self.steps[count]) / first for count, first in steps.items()]  # a cache that grows
        prompts = len(batch) * max(batch) * _read_off(self.prompts, len(batch))
        step = _read_off(steps, len(batch)) * max(slower, default=1.0)
        return prompts + step * (expected_longest(completions, len(batch)) - 1)

    def _refilled_seconds(self, lengths: Sequence[int], rows_together: int, completions: Sequence[int]) -> float:
        steps = {count: statistics.mean(times) for count, times in self.steps.items() if times}
        written = [completions[i % len(completions)] - 1 for i in range(len(lengths))]
        reading = sum(lengths) * self.read[0] / max(1, self.read[1])
        return reading + sum(count * _read_off(steps, rows) for rows, count in count_steps(written, rows_together))


def estimate_run(
    dataset: Any,
    prepare: Callable[[Any], list[PreparedRow]],
    num_samples: int,
    seed: int,
    generator: Generator,
    rows: int,
) -> Estimate:
    """Estimate what a run will take.

    Args:
        dataset ([`~datasets.Dataset`]):
            The dataset.
        prepare (`Callable`):
            Makes prompts of a batch of its rows.
        num_samples (`int`):
            Completions of a row.
        seed (`int`):
            Seed of the draw.
        generator ([`Generator`]):
            What will write.
        rows (`int`):
            Rows to generate to their ends, at least 2.

    Returns:
        [`Estimate`]: the estimate.

    Raises:
        ConfigError: There are fewer than 2 rows to try.
    """
    if rows < 2:
        raise ConfigError(f"rows={rows!r} cannot be right: expected a number of at least 2.")
    places = spread(range(len(dataset)), min(len(dataset), MEASURED_PROMPTS))
    prepared = prepare(dataset.select(places).with_format(None)[:])
    ready = sorted((row for row in prepared if row.status == "ok"), key=lambda row: row.prompt_tokens)
    sample = spread(ready, min(rows, len(ready)))
    if len(sample) < 2:
        raise ConfigError(f"An estimate needs 2 rows that can be generated; there are {len(sample)}.")
    scale = len(dataset) / len(prepared) * num_samples
    invalid_rows = round((len(prepared) - len(ready)) * len(dataset) / len(prepared))
    generator.load()
    if generator.requests_at_once is not None:
        return _estimate_requests(sample, seed, generator, len(dataset), invalid_rows, num_samples)
    clock = Clock(generator.refills)
    completions = _try(sample, seed, generator, clock)
    rows_together = _probe([row for row in prepared if row.is_ready], seed, generator, clock)
    lengths = [row.prompt_tokens for row in ready]
    seconds = clock.seconds(lengths, rows_together, completions)
    mean = statistics.mean(completions) or 1.0  # 0 when every row of the sample failed
    error = 2 * statistics.stdev(completions) / math.sqrt(len(completions)) / mean
    return Estimate(
        rows=len(dataset),
        invalid_rows=invalid_rows,
        prompt_tokens=round(sum(lengths) * len(dataset) / len(prepared)),
        completion_tokens=round(mean * len(lengths) * scale),
        hours=seconds * scale / 3600,
        error=min(1.0, math.hypot(error, SPEED_ERROR)),
        rows_together=rows_together,
        sample=len(sample),
    )


def _estimate_requests(
    sample: list[PreparedRow], seed: int, generator: Generator, rows: int, invalid_rows: int, num_samples: int
) -> Estimate:
    """Estimate what a run takes of a server: as many requests at once, each as long as those of the sample."""
    start = time.perf_counter()
    written = generator.generate(JobList(_make_jobs(sample, seed)))
    completions = [completion for done in written for _, completion in done]
    seconds = time.perf_counter() - start
    lengths = [completion.completion_tokens for completion in completions]
    mean, longest = statistics.mean(lengths) or 1.0, max(lengths) or 1
    places = generator.requests_at_once or 1
    valid = rows - invalid_rows
    waves = max(1.0, valid * num_samples / places) / max(1.0, len(sample) / places)
    error = 2 * statistics.stdev(lengths) / math.sqrt(len(lengths)) / mean
    return Estimate(
        rows=rows,
        invalid_rows=invalid_rows,
        prompt_tokens=round(statistics.mean(completion.prompt_tokens for completion in completions) * valid),
        completion_tokens=round(mean * valid * num_samples),
        hours=seconds * mean / longest * waves / 3600,
        error=min(1.0, math.hypot(error, SPEED_ERROR)),
        rows_together=places,
        sample=len(sample),
        cost=statistics.mean(map(generator.cost, completions)) * valid * num_samples,
    )


def _try(sample: list[PreparedRow], seed: int, generator: Generator, clock: Clock) -> list[int]:
    """Generate the middle row alone and the others together; give the lengths of the completions."""
    middle = len(sample) // 2
    groups = sample[middle : middle + 1], sample[:middle] + sample[middle + 1 :]
    return [length for group in groups for length in _time(group, seed, generator, clock)]


def _probe(rows: list[PreparedRow], seed: int, generator: Generator, clock: Clock) -> int:
    """Generate the first tokens of as many rows as a generator takes; give their number."""
    clock.max_steps = PROBE_STEPS
    written = generator.generate(JobList(_make_jobs(rows, seed)), clock)
    with contextlib.suppress(_EnoughError):
        for _ in written:
            if not clock.refills:
                break
    return max([1, *clock.prompts, *(count for count, times in clock.steps.items() if times)])


def _time(rows: list[PreparedRow], seed: int, generator: Generator, clock: Clock) -> list[int]:
    written = generator.generate(JobList(_make_jobs(rows, seed)), clock)
    return [completion.completion_tokens for completions in written for _, completion in completions]


def _make_jobs(rows: list[PreparedRow], seed: int) -> list[Job]:
    return [
        Job(row.encoded, derive_seed(row.row.digest(seed), "sample", 0))
        for row in rows
        if row.encoded is not None and row.row is not None
    ]


def _read_off(measured: dict[int, float], count: int) -> float:
    """Read what was measured at other numbers of rows off at `count`, along straight lines between them."""
    return float(np.interp(count, sorted(measured), [measured[i] for i in sorted(measured)])) if measured else 0.0


def count_steps(lengths: Sequence[int], places: int) -> list[tuple[int, int]]:
    """Count the steps with so many rows each, when rows of these lengths take each other's place."""
    waiting, writing, counted, now = list(reversed(lengths)), list[int](), list[tuple[int, int]](), 0
    while waiting or writing:
        while waiting and len(writing) < places:
            heapq.heappush(writing, now + waiting.pop())
        counted.append((len(writing), writing[0] - now))
        now = heapq.heappop(writing)
    return counted


def expected_longest(lengths: Sequence[int], draws: int) -> float:
    """Return the expected maximum of `draws` values drawn from `lengths` with replacement."""
    ordered, count = sorted(lengths), len(lengths)
    return sum(length * (((i + 1) / count) ** draws - (i / count) ** draws) for i, length in enumerate(ordered))


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """Pick `count` items evenly, the first and the last among them."""
    if count < 2:
        return list(items[:count])
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
