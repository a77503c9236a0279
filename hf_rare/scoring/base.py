"""The base of all callables for `Dataset.map` that measure texts with a model, which reads and writes nothing.

The way of a batch: `rows.batches` reads it, the subclass says which texts of each row are measured, `runs.completer`
takes the numbers from the journal or from the scorer, the subclass makes columns of them, and `rows.batches` puts them
into the batch.
"""

import contextlib
import copy
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import datasets

from hf_rare.errors import BatchTypeError
from hf_rare.generation.protocol import Completion, EncodedPrompt
from hf_rare.generation.scorer import ScoredPrompt, make_scorer
from hf_rare.rows.batches import (
    add_columns,
    check_free,
    column_names,
    fill_lists,
    holds_lists,
    map_with_features,
    read_columns,
)
from hf_rare.rows.column_types import is_list
from hf_rare.rows.kinds_of_dataset import DATASETS, advise
from hf_rare.runs.completer import Completer
from hf_rare.runs.pickling import reduce_to_settings
from hf_rare.settings.base import Config, split_settings
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.run import RunConfig

logger = logging.getLogger(__name__)

C = TypeVar("C", bound=Config)

BATCH_SIZE = 100
"""Rows of a batch: the tokens of all its prompts are held until it is done."""


@dataclass(eq=False)
class ScoredRow:
    """The texts of a row that are measured.

    Args:
        prompts (`Mapping[tuple[int, ...], ScoredPrompt]`): what is measured together; the key says for each of its
            texts the number of the item, such as a trace, that it is of.
        items (`int`, *optional*): how many items the row has in a list; `None` for one that is in no list.
        completions (`Sequence[Completion]`, *optional*): the numbers, in the order of `prompts`, once they are there.
        left_out (`Sequence[str]`, *optional*): why items are in none of the prompts, one for each.
    """

    prompts: Mapping[tuple[int, ...], ScoredPrompt]
    items: int | None = None
    completions: Sequence[Completion] | None = None
    left_out: Sequence[str] = ()

    def read(self) -> dict[int, list[dict[str, Any]]]:
        """Return what the texts of each item were measured to be, by its number; what failed is left out."""
        measured: dict[int, list[dict[str, Any]]] = {}
        for owners, completion in zip(self.prompts, self.completions or (), strict=False):
            if not completion.failure:
                for number, text in zip(owners, json.loads(completion.text), strict=True):
                    measured.setdefault(number, []).append(text)
        return measured

    @property
    def failures(self) -> list[str]:
        """Why items could not be measured."""
        return [*self.left_out, *(one.error for one in self.completions or () if one.failure)]


class OneAttempt:
    """How rows are measured, as [`JobStream`] asks for it: once."""

    read_together = 1

    def next(self, row: ScoredRow) -> list[tuple[EncodedPrompt, int]]:
        """Return what is measured of a row; nothing where it is."""
        return [] if row.completions is not None else self.all(row)

    def all(self, row: ScoredRow) -> list[tuple[EncodedPrompt, int]]:
        """Return all that is measured of a row."""
        return [(prompt, 0) for prompt in row.prompts.values()]

    def read(self, rows: Sequence[ScoredRow], completions: Sequence[Sequence[Completion]]) -> None:
        """Take note of the numbers."""
        for row, measured in zip(rows, completions, strict=True):
            row.completions = measured

    def copy(self, row: ScoredRow) -> ScoredRow:
        """Return a row that is as far as this one."""
        return copy.copy(row)

    def alone(self) -> contextlib.nullcontext[None]:
        """Let others work alone: there are none."""
        return contextlib.nullcontext()


class TextMeasure(ABC, Generic[C]):
    """Measures texts of rows with a model: pass it to `Dataset.map(measure, batched=True)`.

    It pickles to its settings, so that a second run reads the cache of `datasets` without loading a model.

    Args:
        model (`str` or [`TransformersGenerator`]):
            The model: its name on the Hub, a folder, or a generator that has it.
        **settings:
            The settings of `config_type` and of [`RunConfig`] (journal, failures, limits); for a name or a folder also
            those of [`ModelConfig`] (`revision`, `dtype`, `adapter`, ...) and [`DecodingConfig`]
            (`chat_template_kwargs`, `context_length`).

    Attributes:
        config ([`Config`]): what is measured.
        run ([`RunConfig`]): journal, failures, limits.
        scorer ([`TransformersScorer`]): what reads.

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        ModelLoadError: The model does not exist, or cannot be found out about.
    """

    config_type: ClassVar[type[Config]]
    has_ranks: ClassVar[bool] = False
    doing: ClassVar[str] = "Measuring"

    def __init__(self, model: Any, **settings: Any) -> None:
        own, run, loading, decoding = split_settings(
            settings, self.config_type, RunConfig, ModelConfig, DecodingConfig
        )
        self.config: C = self._make_config(own)
        self.run = RunConfig(**run)
        self.scorer = make_scorer(model, self.has_ranks, {**loading, **decoding})
        self.completer = Completer(self.scorer, self.run, self.doing)

    @abstractmethod
    def columns_to_read(self, existing: Collection[str]) -> list[str]:
        """List the columns that are read, of those that there are or must be."""

    @abstractmethod
    def new_features(self, as_lists: bool) -> datasets.Features:
        """Name the new columns and their types; `as_lists` where a row has a list of traces."""

    @abstractmethod
    def ask(self, values: Mapping[str, Any]) -> ScoredRow:
        """Say which texts of a row are measured."""

    @abstractmethod
    def lay_out(self, rows: Sequence[ScoredRow]) -> dict[str, list[Any]]:
        """Make the new columns of the numbers."""

    @property
    def items_column(self) -> str | None:
        """The column in which a row has an item or a list of them, where it may have the one or the other."""
        return None

    def _make_config(self, settings: dict[str, Any]) -> Any:
        return self.config_type(**settings)

    def __reduce__(self) -> tuple[Any, ...]:
        team = self.completer.team_of_launcher
        return reduce_to_settings(type(self), self.config, self.scorer, self.run, {}, team)

    def __call__(self, batch: Any, *context: Any) -> Any:
        """Measure the rows of a batch.

        Args:
            batch:
                A batch of rows, as `map` passes it in any format.
            *context:
                The indices and the rank that `map` passes with `with_indices` and `with_rank`. They change nothing.

        Returns:
            The new columns, in a container of the type of `batch`.

        Raises:
            ColumnError: A column that is needed is missing, or a new one exists already.
            GenerationError: A row failed and `on_error="raise"`.
            BudgetReachedError: `max_rows`, `max_tokens` or `max_hours` ended the run.
        """

        def make_rows() -> list[ScoredRow]:
            existing = column_names(batch)
            read = self.columns_to_read(existing)
            check_free(self.new_features(False), existing, self.config, read)
            rows = read_columns(batch, read, self.config)
            if self.items_column is not None:
                fill_lists(batch, rows, self.items_column)
            return [self.ask(values) for values in rows]

        rows = self.completer.complete(make_rows, OneAttempt())
        if failures := [error for row in rows for error in row.failures]:
            logger.warning("%d texts could not be measured: %s.", len(failures), failures[0])
        column = self.items_column
        as_lists = any(row.items is not None for row in rows) or (column is not None and holds_lists(batch, column))
        return add_columns(batch, self.lay_out(rows), self.new_features(as_lists))

    def features(self, features: datasets.Features) -> datasets.Features:
        """Return the features of a dataset with the new columns, for `map(features=...)`.

        Args:
            features ([`datasets.Features`]): the features of the dataset.

        Returns:
            [`datasets.Features`]: `features` and the new columns.

        Raises:
            ColumnError: A column that is needed is missing, or a new one exists already.
        """
        read = self.columns_to_read(list(features))
        check_free(self.new_features(False), features, self.config, read)
        read_columns({name: [] for name in features}, read, self.config)
        column = self.items_column
        as_lists = column is not None and is_list(features[column])
        return datasets.Features({**features, **self.new_features(as_lists)})

    def apply(self, dataset: Any, *, batch_size: int = BATCH_SIZE, **map_kwargs: Any) -> Any:
        """Measure a whole dataset, with types said up front, so that empty columns get them too.

        Args:
            dataset (`Dataset`, `DatasetDict`, `IterableDataset` or `IterableDatasetDict`):
                The dataset.
            batch_size (`int`, *optional*, defaults to 100):
                Rows that `map` hands over at a time.
            **map_kwargs:
                Passed to `map`, for example `num_proc`.

        Returns:
            A dataset of the same kind with the new columns.

        Raises:
            BatchTypeError: This is no dataset.
            ColumnError: A column that is needed is missing, or a new one exists already.
        """
        if not isinstance(dataset, DATASETS):
            raise BatchTypeError(
                f"Expected a Dataset, a DatasetDict or a stream of rows, received {type(dataset).__name__}. "
                f"{advise(dataset)}"
            )
        return map_with_features(dataset, self, self.features, [], [], batch_size, map_kwargs)
