"""What people see of a run: a bar in rows with tokens per second, and a summary at the end."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import datasets
from datasets.utils import tqdm

from hf_rare.parsing import STATUSES
from hf_rare.results import Result


class RowProgress:
    """A progress bar in rows, with prompt and generated tokens per second and the time that is left.

    It obeys `datasets.disable_progress_bars()`.

    Args:
        total (`int`): rows of the batch.

    Attributes:
        seconds (`float`): time since the start.
    """

    def __init__(self, total: int) -> None:
        self._bar = tqdm(total=total, desc="Distilling", unit="row", dynamic_ncols=True, leave=False, mininterval=0.5)
        self._start = time.perf_counter()
        self._prompt_tokens = 0
        self._generated_tokens = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._bar.close()

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.perf_counter() - self._start

    def add_tokens(self, prompt_tokens: int, generated_tokens: int) -> None:
        """Count tokens as they are read and generated."""
        self._prompt_tokens += prompt_tokens
        self._generated_tokens += generated_tokens
        self.finish_rows(0)

    def finish_rows(self, rows: int) -> None:
        """Count rows that are done."""
        rates = [tokens / max(self.seconds, 1e-6) for tokens in (self._prompt_tokens, self._generated_tokens)]
        self._bar.set_postfix_str("{:.0f} prompt + {:.0f} generated tokens/s".format(*rates), refresh=False)
        self._bar.update(rows)  # redraws at most every `mininterval`


@dataclass
class Summary:
    """Counts over the rows of a run.

    Args:
        statuses (`Counter[str]`): traces by status.
        prompt_tokens (`int`): tokens of all prompts, each row's counted once.
        completion_tokens (`int`): tokens generated.
        seconds (`float`): time spent generating, without loading.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    @classmethod
    def of_results(cls, results: Iterable[Result]) -> Self:
        """Count the results of a batch."""
        summary = cls()
        for result in results:
            summary.statuses.update(sample.status for sample in result.samples)
            summary.prompt_tokens += result.prompt_tokens
            summary.completion_tokens += sum(sample.completion_tokens for sample in result.samples)
        return summary

    @classmethod
    def of_dataset(cls, dataset: datasets.Dataset, output_column: str = "reasoning", seconds: float = 0.0) -> Self:
        """Count the rows of a distilled dataset.

        Args:
            dataset ([`~datasets.Dataset`]): a dataset with the columns of the row contract.
            output_column (`str`, *optional*, defaults to `"reasoning"`): prefix of these columns.
            seconds (`float`, *optional*, defaults to 0.0): how long the run took, where that is known.
        """
        summary = cls(seconds=seconds)
        number = f"{output_column}_sample"
        names = [f"{output_column}_{end}" for end in ("status", "prompt_tokens", "completion_tokens")]
        is_expanded = number in dataset.column_names
        for row in dataset.select_columns([*names, number] if is_expanded else names).with_format(None):
            status, prompt_tokens, completion_tokens = (row[name] for name in names)
            is_one = isinstance(status, str)
            summary.statuses.update([status] if is_one else status)
            summary.completion_tokens += completion_tokens if is_one else sum(completion_tokens)
            summary.prompt_tokens += 0 if is_expanded and row[number] else prompt_tokens
        return summary

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            self.statuses + other.statuses,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
        )

    def __str__(self) -> str:
        total = self.statuses.total()
        counts = ", ".join(f"{self.statuses[status]} {status}" for status in STATUSES if self.statuses[status])
        text = f"{total} {'trace' if total == 1 else 'traces'}: {counts or 'none'}"
        text += f"; {self.prompt_tokens} prompt tokens, {self.completion_tokens} generated"
        if self.seconds:
            rate = self.completion_tokens / self.seconds
            text += f"; {self.seconds:.1f} s, {rate:.1f} generated tokens/s"
        return text
