"""What the rows of a distilled dataset look like in numbers: statuses, tokens, lengths, documents, positions.

The columns are read in batches of arrow, never row by row, and only counts are kept: memory depends on how many
different lengths there are, not on how many rows. A column that is missing or of another type counts nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_rare.errors import ConfigError
from hf_rare.rows.columns import (
    ANSWER,
    COMPLETION_TOKENS,
    DOCUMENT_ORDER,
    DOCUMENTS_TRUNCATED,
    POSITIVE_POSITION,
    PROMPT_TOKENS,
    SAMPLE,
    STATUS,
    VERDICT,
)
from hf_rare.rows.hard_negatives import name_columns
from hf_rare.settings.writers import DistillConfig

BATCH_SIZE = 1000
SETTINGS = ("output_column", "text_column", "question_column", "hard_negatives_column")
DEFAULT_COLUMNS = {name: getattr(DistillConfig(), name) for name in SETTINGS}

OF_WHAT_IS_THERE = (
    "prompt_tokens",
    "completion_tokens",
    "trace_characters",
    "answer_characters",
    "documents",
    "positive_positions",
)


@dataclass
class Distribution:
    """How often each number occurs.

    Args:
        counts (`Counter[int]`): times by number.
    """

    counts: Counter[int] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __add__(self, other: "Distribution") -> "Distribution":
        return Distribution(Counter({**self.counts, **{n: self.counts[n] + c for n, c in other.counts.items()}}))

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return self.counts.total()

    @property
    def total(self) -> int:
        """Their sum."""
        return sum(number * count for number, count in self.counts.items())

    @property
    def mean(self) -> float:
        """Their mean."""
        return self.total / self.count

    def quantile(self, share: float) -> int:
        """Return the smallest number that at least `share` of the numbers do not exceed."""
        seen, numbers = 0, sorted(self.counts)
        for number in numbers:
            seen += self.counts[number]
            if seen >= share * self.count:
                return number
        return numbers[-1]

    def update(self, numbers: Any) -> None:
        """Count the numbers of an arrow array; nulls are left out."""
        values, counts = np.unique(numbers.drop_null().to_numpy(zero_copy_only=False), return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self.counts[value] += count


@dataclass
class Statistics:
    """Counts over rows. What a dataset does not say is left empty.

    Args:
        rows (`int`): the rows.
        statuses (`Counter[str]`): traces by status.
        verdicts (`Counter[str]`): traces by verdict.
        prompt_tokens ([`Distribution`]): of the prompts, each row's counted once.
        completion_tokens ([`Distribution`]): of the traces.
        trace_characters ([`Distribution`]): of the traces.
        answer_characters ([`Distribution`]): of the answers that stand apart from their traces.
        question_characters ([`Distribution`]): of the questions.
        document_characters ([`Distribution`]): of the documents.
        documents ([`Distribution`]): documents in a prompt.
        documents_truncated ([`Distribution`]): documents of a prompt that were shortened.
        positive_positions ([`Distribution`]): place of the positive in a prompt, from 1.
    """

    rows: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    prompt_tokens: Distribution = field(default_factory=Distribution)
    completion_tokens: Distribution = field(default_factory=Distribution)
    trace_characters: Distribution = field(default_factory=Distribution)
    answer_characters: Distribution = field(default_factory=Distribution)
    question_characters: Distribution = field(default_factory=Distribution)
    document_characters: Distribution = field(default_factory=Distribution)
    documents: Distribution = field(default_factory=Distribution)
    documents_truncated: Distribution = field(default_factory=Distribution)
    positive_positions: Distribution = field(default_factory=Distribution)

    @property
    def traces(self) -> int:
        """How many traces have a status."""
        return self.statuses.total()

    def __add__(self, other: "Statistics") -> "Statistics":
        sums = {name: getattr(self, name) + getattr(other, name) for name in vars(self)}
        return Statistics(**sums)


def named_splits(dataset: Any) -> dict[str, datasets.Dataset]:
    """Return the splits of a dataset by name: a [`~datasets.Dataset`] is one, `train` where it does not say which.

    Raises:
        ConfigError: It is no dataset, or one whose rows are not there yet.
    """
    if isinstance(dataset, datasets.DatasetDict):
        return {str(name): split for name, split in dataset.items()}
    if isinstance(dataset, datasets.Dataset):
        return {str(dataset.split or "train"): dataset}
    raise ConfigError(
        f"dataset is of type {type(dataset).__name__}; expected a Dataset or a DatasetDict. The rows of a stream "
        "can be counted only once they are on the disk: Dataset.from_generator makes them so."
    )


def measure(dataset: datasets.Dataset, columns: Mapping[str, Any] = DEFAULT_COLUMNS) -> Statistics:
    """Count what is in the rows of a dataset.

    Args:
        dataset ([`~datasets.Dataset`]):
            The dataset, distilled or not.
        columns (`Mapping[str, Any]`, *optional*):
            Names of its columns by setting: `output_column` (the prefix of the columns of the row contract),
            `text_column`, `question_column`, `hard_negatives_column`, which may be several.

    Returns:
        [`Statistics`]: the counts.
    """
    statistics = Statistics(rows=len(dataset))
    sinks: dict[str, list[Callable[[Any], None]]] = {}

    def read(column: str, sink: Callable[[Any], None]) -> None:
        if column in dataset.column_names:
            sinks.setdefault(column, []).append(sink)

    def prefixed(ending: str) -> str:
        return f"{columns['output_column']}{ending}"

    read(prefixed(STATUS), lambda array: _count_texts(array, statistics.statuses))
    read(prefixed(VERDICT), lambda array: _count_texts(array, statistics.verdicts))
    read(prefixed(ANSWER), lambda array: _count_lengths(array, statistics.answer_characters))
    read(prefixed(COMPLETION_TOKENS), lambda array: _count_numbers(array, statistics.completion_tokens))
    read(columns["output_column"], lambda array: _count_lengths(array, statistics.trace_characters))
    of_rows: dict[str, Callable[[Any], None]] = {
        prefixed(PROMPT_TOKENS): lambda array: _count_numbers(array, statistics.prompt_tokens),
        prefixed(DOCUMENTS_TRUNCATED): lambda array: _count_numbers(array, statistics.documents_truncated),
        prefixed(POSITIVE_POSITION): lambda array: _count_numbers(array, statistics.positive_positions),
        prefixed(DOCUMENT_ORDER): lambda array: _count_items(array, statistics.documents),
        columns["question_column"]: lambda array: _count_lengths(array, statistics.question_characters),
    }
    for column in (columns["text_column"], *name_columns(columns["hard_negatives_column"])):
        of_rows[column] = lambda array: _count_lengths(array, statistics.document_characters)
    for column, sink in of_rows.items():
        read(column, sink)
    if not sinks:
        return statistics
    number = prefixed(SAMPLE)
    is_expanded = dataset.features.get(number) == datasets.Value("int64")
    read_columns = dataset.select_columns([*sinks, *([number] if is_expanded else [])]).with_format("arrow")
    for batch in read_columns.iter(BATCH_SIZE):
        firsts = batch.filter(pc.equal(batch[number], 0)) if is_expanded else batch
        for column, counters in sinks.items():
            array = (firsts if column in of_rows else batch)[column].combine_chunks()
            for count in counters:
                count(array)
    for name in OF_WHAT_IS_THERE:  # 0 is a row without a prompt, or a trace that was never written
        getattr(statistics, name).counts.pop(0, None)
    return statistics


def _flatten(array: Any) -> Any:
    """Return the items of lists, or the array itself; of views, which count nothing, the texts."""
    items = pc.list_flatten(array) if _is_list(array) else array
    return items.cast(pa.large_string()) if pa.types.is_string_view(items.type) else items


def _is_list(array: Any) -> bool:
    checks = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(array.type) for is_kind in checks)


def _is_text(array: Any) -> bool:
    return bool(pa.types.is_string(array.type) or pa.types.is_large_string(array.type))


def _count_texts(array: Any, counter: Counter[str]) -> None:
    items = _flatten(array)
    if _is_text(items):
        for pair in pc.value_counts(items.drop_null()).to_pylist():
            counter[pair["values"]] += pair["counts"]


def _count_numbers(array: Any, distribution: Distribution) -> None:
    items = _flatten(array)
    if pa.types.is_integer(items.type):
        distribution.update(items)


def _count_lengths(array: Any, distribution: Distribution) -> None:
    items = _flatten(array)
    if _is_text(items):
        distribution.update(pc.utf8_length(items))


def _count_items(array: Any, distribution: Distribution) -> None:
    if _is_list(array):
        distribution.update(pc.list_value_length(array))
