"""Counts over the rows of a run: what people want to know at its end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import datasets

from hf_rare.rows.columns import STATUSES
from hf_rare.rows.kinds_of_dataset import check_dataset
from hf_rare.rows.statistics import DEFAULT_COLUMNS, measure
from hf_rare.text import show_cost, show_count
from hf_rare.writers.result import Result, Sample


@dataclass
class Summary:
    """Counts over the rows of a run.

    Args:
        statuses (`Counter[str]`, *optional*, defaults to none): texts by status.
        prompt_tokens (`int`, *optional*, defaults to 0): tokens of all prompts, each row's counted once.
        completion_tokens (`int`, *optional*, defaults to 0): tokens of all texts.
        generated (`int`, *optional*, defaults to 0): completions that were generated and not read from the journal, by
            all processes of the job.
        generated_tokens (`int`, *optional*, defaults to 0): their tokens.
        cost (`float`, *optional*, defaults to 0): what all completions have cost, those from the journal too, by the
            prices that were given.
        served_by (`Counter[str]`, *optional*, defaults to none): completions by the model and server that say they
            have written them.
        seconds (`float`, *optional*, defaults to 0): time that this process spent generating, or waiting for others
            to, without loading.
        noun (`str`, *optional*, defaults to `"trace"`): what a text is called.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    generated: int = 0
    generated_tokens: int = 0
    cost: float = 0.0
    served_by: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    noun: str = "trace"

    @classmethod
    def of_batch(cls, results: Sequence[Result[Any]], samples: Sequence[Sample]) -> Self:
        """Count the prompts of a batch, and the samples that were laid out."""
        return cls(
            Counter(sample.status for sample in samples),
            sum(result.prompt_tokens for result in results),
            sum(sample.completion_tokens for sample in samples),
            cost=sum(result.cost for result in results),
            served_by=Counter(name for result in results for name in result.served_by),
        )

    @classmethod
    def of_dataset(cls, dataset: datasets.Dataset, output_column: str = "reasoning") -> Self:
        """Count the rows of a distilled dataset.

        Args:
            dataset ([`~datasets.Dataset`]): a dataset with the columns of the row contract.
            output_column (`str`, *optional*, defaults to `"reasoning"`): prefix of these columns.

        Raises:
            BatchTypeError: This is no `Dataset`.
        """
        check_dataset(dataset, "Summary.of_dataset")
        statistics = measure(dataset, {**DEFAULT_COLUMNS, "output_column": output_column})
        return cls(statistics.statuses, statistics.prompt_tokens.total, statistics.completion_tokens.total)

    def numbers(self) -> dict[str, float]:
        """Return all numbers by name, for loggers; texts by status as `status/ok` and its like."""
        names = ("prompt_tokens", "completion_tokens", "generated", "generated_tokens", "seconds", "cost")
        statuses = {f"status/{status}": count for status, count in sorted(self.statuses.items())}
        return {name: getattr(self, name) for name in names} | statuses

    def __add__(self, other: "Summary") -> "Summary":
        names = [field.name for field in fields(self) if field.name != "noun"]
        return Summary(noun=self.noun, **{name: getattr(self, name) + getattr(other, name) for name in names})

    def __str__(self) -> str:
        total = self.statuses.total()
        counts = ", ".join(f"{self.statuses[status]} {status}" for status in STATUSES if self.statuses[status])
        text = f"{show_count(total, self.noun)}: {counts or 'none'}"
        text += f"; {self.prompt_tokens} prompt tokens, {self.completion_tokens} tokens of {self.noun}s"
        if self.seconds:
            rate = self.generated_tokens / self.seconds
            text += f"; {self.generated} generated now in {self.seconds:.1f} s, {rate:.1f} tokens/s"
        if self.cost:
            text += f"; cost {show_cost(self.cost)}"
        return text
