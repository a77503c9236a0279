"""The base of those who ask a model for a number of items about each row, as JSON: questions, negatives.

The items of all attempts count, and a row is tried again until there are enough.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hf_rare.generation.protocol import Completion
from hf_rare.prompts.item_prompt import ItemPrompts
from hf_rare.rows.row import Row
from hf_rare.text import normalize
from hf_rare.writers.base import C, ColumnWriter
from hf_rare.writers.result import Result, Sample
from hf_rare.writers.thoughts import split_thoughts

I = TypeVar("I")  # noqa: E741


@dataclass(frozen=True, kw_only=True)
class Found(Sample, Generic[I]):
    """The items of one completion."""

    items: tuple[I, ...] = ()


class ItemWriter(ColumnWriter[C, Found[I]], Generic[C, I]):
    """Asks a model for items about each row."""

    @property
    @abstractmethod
    def items_wanted(self) -> int:
        """How many items each row should have."""

    @property
    @abstractmethod
    def item_name(self) -> str:
        """What several of them are called, in errors."""

    @abstractmethod
    def _make_prompts(self) -> ItemPrompts[Row]:
        """Make what reads a row and makes its prompt."""

    @abstractmethod
    def _parse(self, text: str, row: Row, is_cut: bool) -> list[I]:
        """Find the items in what a model wrote about a row, without its thought; its end may be missing."""

    @abstractmethod
    def _key(self, item: I) -> str:
        """Return the text by which two items are the same."""

    def _read_completions(
        self, results: Sequence[Result[Found[I]]], completions: Sequence[Sequence[Completion]]
    ) -> None:
        for result, written in zip(results, completions, strict=True):
            result.samples += [self._read(result, completion) for completion in written]
            result.is_complete = len(self._items(result)) >= self.items_wanted

    def _read(self, result: Result[Found[I]], completion: Completion) -> Found[I]:
        if completion.failure:
            return Found(status=completion.failure, error=completion.error)
        row, split = result.prepared.row, split_thoughts(result, completion, self.config.thought_tags)
        is_cut, tokens = completion.is_cut, completion.completion_tokens
        items = tuple(self._parse(split.visible, row, is_cut)) if isinstance(row, Row) else ()
        if items:
            return Found(status="ok", completion_tokens=tokens, items=items)
        if is_cut:
            error = completion.error or "the token limit ended the completion"
            return Found(status="truncated", error=error, completion_tokens=tokens)
        error = f"there are no {self.item_name} in the completion"
        if not split.is_closed:
            error = split.say_unclosed(self.config.thought_tags)
        return Found(status="unparsed", error=error, completion_tokens=tokens)

    def _items(self, result: Result[Found[I]]) -> list[I]:
        """Return the different items of all attempts, in order."""
        different: dict[str, I] = {}
        for sample in result.samples:
            for item in sample.items:
                different.setdefault(normalize(self._key(item)), item)
        return list(different.values())

    def _settle(self, result: Result[Found[I]]) -> tuple[Found[I], dict[str, Any]]:
        """Sum up the attempts of a row as one sample; give it, and the values of `ITEM_COLUMNS`."""
        prepared, samples = result.prepared, result.samples
        items = self._items(result)[: self.items_wanted]
        tokens = sum(sample.completion_tokens for sample in samples)
        if not samples:
            total = Found[I](status=prepared.status, error=prepared.error)
        elif not items:
            total = Found(status=samples[-1].status, error=samples[-1].error, completion_tokens=tokens)
        else:
            missing = len(items) < self.items_wanted
            attempts = f"{result.attempts} attempt{'s' if result.attempts > 1 else ''}"
            error = f"{len(items)} of {self.items_wanted} {self.item_name} in {attempts}" if missing else ""
            total = Found(status="ok", error=error, completion_tokens=tokens, items=tuple(items))
        return total, result.describe(total)
