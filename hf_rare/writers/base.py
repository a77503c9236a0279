"""The base of all callables for `Dataset.map` that let a model write new columns.

The way of one row: `rows.batches` reads it out of the batch, `preparing` makes a prompt of it, `runs.completer` gets
the completion from the journal or the generator, the subclass reads the completion and lays out the new columns, and
`rows.batches` puts them into the batch. A row whose completion will not do is tried again at once, with a seed of its
own for each attempt. `apply` notes the dataset and calls `map`; with the first batch that `map` hands over, the whole
dataset runs ahead in one stream. What is asked of the model, and what its completions mean, is the business of the
subclasses.
"""

import contextlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

import datasets

from hf_rare.errors import BatchTypeError, ConfigError
from hf_rare.generation.protocol import Completion, Generator
from hf_rare.prompts.prompt import PromptBuilder
from hf_rare.prompts.templates import keep_source
from hf_rare.rows.batches import add_columns, check_free, column_names, map_with_features, read_columns
from hf_rare.rows.column_types import check_types
from hf_rare.rows.gold import read_features
from hf_rare.rows.kinds_of_dataset import DATASETS, advise, check_dataset
from hf_rare.runs.completer import Completer
from hf_rare.runs.pickling import reduce_to_settings
from hf_rare.settings.base import split_settings
from hf_rare.settings.run import RunConfig
from hf_rare.settings.writers import WriterConfig
from hf_rare.writers.ahead import RowsAhead, can_be_read_ahead
from hf_rare.writers.attempt import WriterAttempts
from hf_rare.writers.callbacks import Callbacks
from hf_rare.writers.estimate import Estimate, estimate_run
from hf_rare.writers.made import MadeOfModel
from hf_rare.writers.preparing import PreparedRow, prepare_rows
from hf_rare.writers.reporter import RunReporter
from hf_rare.writers.result import Layout, Result, Sample
from hf_rare.writers.summary import Summary

logger = logging.getLogger(__name__)


C = TypeVar("C", bound=WriterConfig)
S = TypeVar("S", bound=Sample)


class ColumnWriter(MadeOfModel, ABC, Generic[C, S]):
    """Lets a model write new columns: pass it to `Dataset.map(writer, batched=True)`.

    It pickles to its settings, so that `map` gives it the same fingerprint in every process, before and after the
    model is loaded, and a second run reads the cache of `datasets` without loading a model.

    Args:
        generator ([`Generator`]):
            What writes: a [`TransformersGenerator`], or another [`Generator`].
        callbacks (`Sequence`, *optional*):
            Who is told how its runs go: [`Callback`] objects, and functions that are called with each
            [`RunProgress`]. They are not pickled: a copy has none.
        **settings:
            The settings of `config_type` and of [`RunConfig`] (journal, failures, limits).

    Attributes:
        callbacks (`Sequence`): who is told how its runs go.
        config ([`WriterConfig`]): what becomes of a row.
        run ([`RunConfig`]): journal, failures, limits.
        prompts ([`PromptBuilder`]): what reads a row and makes its prompt.
        summary ([`Summary`]): counts over the rows so far, in this process.

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        TemplateError: The template cannot be used.
    """

    noun: ClassVar[str] = "text"
    """What it writes, in its summary."""

    doing: ClassVar[str] = "Writing"
    """What its progress bar says."""

    def __init__(self, generator: Generator, *, callbacks: Callbacks = (), **settings: Any) -> None:
        if not isinstance(generator, Generator):
            raise ConfigError(
                f"{type(self).__name__} takes a Generator, and this is a {type(generator).__name__}. Pass the name or "
                f"the folder of a model to {type(self).__name__}.from_pretrained, or make a loaded one "
                "TransformersGenerator(model, tokenizer, ...)."
            )
        own, run = split_settings(settings, self.config_type, RunConfig)
        self.generator = generator
        self.run = RunConfig(**run)
        self.reporter = RunReporter(callbacks)
        self.callbacks = tuple(callbacks)
        self.completer = Completer(generator, self.run, self.doing, self.reporter)
        config: Any = self.config_type(**own)
        self.config: C = keep_source(config)
        self.summary = Summary(noun=self.noun)
        self._has_warned = False
        self._ahead: RowsAhead | None = None
        self._has_run_ahead = False
        self.prompts = self._make_prompts()

    @property
    def companions(self) -> dict[str, "ColumnWriter[Any, Any]"]:
        """The other writers that it was given, by argument."""
        return {name: given for name in self.companion_names if (given := getattr(self, name)) is not None}

    @property
    def input_columns(self) -> list[str]:
        """The columns that are read and must be there."""
        return list(self.prompts.columns)

    @property
    def optional_columns(self) -> list[str]:
        """The columns that are read where they are there."""
        return list(self.prompts.optional_columns)

    @property
    @abstractmethod
    def output_prefix(self) -> str:
        """How the names of the columns that say how rows came about begin."""

    @property
    @abstractmethod
    def output_features(self) -> datasets.Features:
        """The new columns and their types, in order."""

    @abstractmethod
    def _make_prompts(self) -> PromptBuilder[Any]:
        """Make what reads a row and makes its prompt, of `config`. Raises `TemplateError`."""

    @abstractmethod
    def _read_completions(self, results: Sequence[Result[S]], completions: Sequence[Sequence[Completion]]) -> None:
        """Add what the latest completions of some rows say to their samples; mark the rows that need no others."""

    @abstractmethod
    def _lay_out(self, results: Sequence[Result[S]]) -> Layout:
        """Return the new columns of a batch."""

    def __reduce__(self) -> tuple[Any, ...]:
        team = self.completer.team_of_launcher
        made_of = (self.config, self.generator, self.run, self.companions)
        return reduce_to_settings(type(self), *made_of, team, bool(self.callbacks))

    def __call__(self, batch: Any, *context: Any) -> Any:
        """Write the new columns of a batch.

        Args:
            batch:
                A batch of rows, as `map` passes it in any format: a mapping of columns, a pyarrow Table, a pandas or
                polars DataFrame.
            *context:
                The indices and the rank that `map` passes with `with_indices` and `with_rank`. They change nothing.

        Returns:
            The new columns, in a container of the type of `batch`.

        Raises:
            BatchTypeError: This is one row, or not a batch at all.
            ColumnError: An input column is missing or of another type, or an output column exists already.
            ConfigError: Different samples of a row are asked for, and the model does not sample.
            JournalError: The journal cannot be read or written.
            GenerationError: A row failed and `on_error="raise"`.
            BudgetReachedError: `max_rows`, `max_tokens`, `max_hours` or `max_cost` ended the run.
            EndpointError: Nothing goes well any more with an endpoint.
            RankError: Another process of the job failed, died, ended, or has other rows or settings.
        """
        with self.reporter.writing_batch(self):
            return self._write(batch)

    def _write(self, batch: Any) -> Any:
        try:
            results = self._complete(batch)
        finally:  # also where a limit has ended the run
            self.summary.generated = self.completer.generated
            self.summary.generated_tokens = self.completer.tokens
            self.summary.seconds = self.completer.seconds
        layout = self._lay_out(results)
        counted = Summary.of_batch(results, layout.samples)
        self.summary += counted
        self.reporter.add_batch(counted)
        logger.info("%s: %d rows are done; so far %s", self.doing, len(results), self.summary)
        return add_columns(batch, layout.columns, self.output_features, layout.repeats)

    def _complete(self, batch: Any) -> Sequence[Result[S]]:
        """Let the model write what the rows of a batch need; where they are the first of a dataset, of all of it."""
        attempts = self.make_attempts()
        if self._ahead is not None:  # the first batch of `apply`: there is no result in the cache of `datasets`
            ahead, self._ahead = self._ahead, None
            is_kept = all(companion.completer.has_journal() for companion in self.companions.values())
            self._has_run_ahead = self.completer.run_ahead(
                len(ahead), lambda numbers: ahead.read(numbers, self.begin_rows), attempts, is_kept
            )

        def make_rows() -> list[Result[S]]:
            self._check_free(column_names(batch))
            return self.begin_rows(batch)

        return self.completer.complete(make_rows, attempts, self._has_run_ahead)

    def features(self, features: datasets.Features | None = None) -> datasets.Features:
        """Return the features of the dataset with its new columns, for `map(features=...)`.

        Args:
            features ([`datasets.Features`], *optional*):
                The features of the dataset. Without them, the new columns alone are given.

        Returns:
            [`datasets.Features`]: `features` and the new columns.

        Raises:
            ColumnError: An output column exists already, or an input column holds something else than it is read for.
        """
        check_types(features or {}, self.prompts.kinds)
        self._check_free(features or ())
        return datasets.Features({**(features or {}), **self.output_features})

    def apply(
        self, dataset: Any, *, batch_size: int = 1000, remove_columns: Sequence[str] | str = (), **map_kwargs: Any
    ) -> Any:
        """Write the columns of a whole dataset, in one stream: no row waits for the slowest one of a batch.

        All that the rows need is written into the journal first, across batches and splits; then `map` reads it, with
        types said up front, so that empty columns get them too. Rows go batch by batch, as with `map`, where that
        cannot be: without a journal, with `num_proc`, for an `IterableDataset`, where the processes of a launcher have
        different journals, and with `tp_plan`.

        Args:
            dataset (`Dataset`, `DatasetDict`, `IterableDataset` or `IterableDatasetDict`):
                The dataset.
            batch_size (`int`, *optional*, defaults to 1000):
                Rows that `map` hands over at a time. Bounds neither memory nor the rows that are written together,
                which `max_batch_tokens` does.
            remove_columns (`str` or `list[str]`, *optional*):
                Columns to drop: also those of an earlier run that would stand in the way, and with `expand` too.
            **map_kwargs:
                Passed to `map`, for example `num_proc`.

        Returns:
            A dataset of the same kind with the new columns.

        Raises:
            BatchTypeError: This is no dataset.
            ColumnError: An input column is missing or of another type, or an output column exists already.
            ConfigError: Different samples of a row are asked for, and the model does not sample.
            JournalError: The journal cannot be read or written.
            GenerationError: A row failed and `on_error="raise"`.
            BudgetReachedError: `max_rows`, `max_tokens`, `max_hours` or `max_cost` ended the run.
            EndpointError: Nothing goes well any more with an endpoint.
            RankError: Another process of the job failed, died, ended, or has other rows or settings.
        """
        if not isinstance(dataset, DATASETS):
            raise BatchTypeError(
                f"apply takes a Dataset, a DatasetDict or an iterable one of these, and this is a "
                f"{type(dataset).__name__}. {advise(dataset)}"
            )
        to_remove = [remove_columns] if isinstance(remove_columns, str) else list(remove_columns)
        inputs = [*self.input_columns, *self.optional_columns]
        first = [name for name in to_remove if name not in inputs]
        splits = _splits_of(dataset)
        is_alone = (map_kwargs.get("num_proc") or 1) == 1
        if is_alone and all(map(can_be_read_ahead, splits)):
            self._ahead = RowsAhead([self._select_inputs(split) for split in splits])
        is_lazy = not all(isinstance(split, datasets.Dataset) for split in splits)  # which is written when it is read
        rows = None if is_lazy else sum(map(len, splits))
        try:
            with contextlib.nullcontext() if is_lazy else self.running(rows):
                written = map_with_features(
                    dataset, self, self.features, self.input_columns, first, batch_size, map_kwargs
                )
                if not is_alone and self.reporter.is_open:
                    for split, rows_of_split in zip(_splits_of(written), map(len, splits), strict=True):
                        self.reporter.add_columns(split, rows_of_split)
        finally:
            self._ahead, self._has_run_ahead = None, False
        last = [name for name in to_remove if name in inputs]
        return written.remove_columns(last) if last else written

    @contextlib.contextmanager
    def running(self, rows: int | None = None) -> Iterator[None]:
        """Say what a run is, to the callbacks: all that is written in this block.

        `apply` does so by itself. Around `map` it says where the run ends, and around several calls that they are one.

        Args:
            rows (`int`, *optional*): rows of the run.

        Example:
            >>> with distill_fn.running(len(rows)):
            ...     ds = rows.map(distill_fn, batched=True)
        """
        with contextlib.ExitStack() as stack:
            for companion in self.companions.values():
                stack.enter_context(companion.running())
            stack.enter_context(self.reporter.running(self, rows))
            yield

    def count_rows(self, results: Sequence[Result[S]]) -> Summary:
        """Count rows that are finished, and what goes into their columns."""
        return Summary.of_batch(results, self._lay_out(results).samples)

    def with_run(self, **changes: Any) -> Self:
        """Make an equal one whose run settings differ; so do those of its companions.

        Args:
            **changes: settings of [`RunConfig`].

        Returns:
            The callable, with the same generator and a journal of its own.

        Raises:
            ConfigError: A setting is unknown or cannot be right.
        """
        return self.with_generator(lambda generator: generator, **changes)

    def with_generator(self, wrap: Callable[[Generator], Generator], **changes: Any) -> Self:
        """Make one with another generator, and maybe other run settings; so are its companions.

        Args:
            wrap (`Callable[[Generator], Generator]`): makes the other generator of this one's.
            **changes: settings of [`RunConfig`].

        Returns:
            The callable, with a journal of its own.

        Raises:
            ConfigError: A setting is unknown or cannot be right.
        """
        companions = {name: companion.with_generator(wrap, **changes) for name, companion in self.companions.items()}
        settings = json.loads(self.config.to_json()) | json.loads(self.run.to_json()) | changes
        return type(self)(wrap(self.generator), callbacks=self.callbacks, **settings, **companions)

    def select_finished(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Select the rows that need no generation any more: what a run has done that a limit or a crash has ended.

        Reads the journal and generates nothing, but for a judge, which is loaded and asked where an answer of the
        journal has not been judged yet. `apply` then gives these rows their columns at once.

        Args:
            dataset ([`~datasets.Dataset`]):
                The dataset of the run.

        Returns:
            [`~datasets.Dataset`]: rows of which everything is in the journal, and rows that cannot be generated.

        Raises:
            BatchTypeError: This is no `Dataset`.
            ColumnError: An input column is missing, or of another type.
            JournalError: The journal cannot be read.

        Example:
            >>> done = distill_fn.apply(distill_fn.select_finished(rows))
        """
        check_dataset(dataset, "select_finished")
        self.completer.join()
        ahead, attempts = RowsAhead([self._select_inputs(dataset)]), self.make_attempts()
        places: list[int] = []
        for start in range(0, len(dataset), 1000):
            numbers = range(start, min(len(dataset), start + 1000))
            results = ahead.read(numbers, self.begin_rows)
            left = {id(row) for row in self.completer.read_known(results, attempts)}
            places += [number for number, row in zip(numbers, results, strict=True) if id(row) not in left]
        return dataset.select(places)

    def estimate(self, dataset: datasets.Dataset, rows: int = 8) -> Estimate:
        """Estimate tokens and hours of a run from a few of its rows, spread over the lengths of their prompts.

        Loads the model and generates; nothing goes into the journal. One attempt of a row is counted.

        Args:
            dataset ([`~datasets.Dataset`]):
                The dataset.
            rows (`int`, *optional*, defaults to 8):
                Rows to generate, at least 2. More rows make a better estimate of how long completions are.

        Returns:
            [`Estimate`]: tokens, hours with their error, and how many rows are written together (`rows_together`).

        Raises:
            BatchTypeError: This is no `Dataset`.
            ColumnError: An input column is missing, or of another type.
            ConfigError: There are fewer than 2 rows that can be generated, or the model does not sample and must.
        """
        check_dataset(dataset, "estimate")
        self.check_sampling()
        self.completer.join()
        config = self.config
        dataset = self._select_inputs(dataset)
        return estimate_run(dataset, self.prepare, config.samples_per_attempt, config.seed, self.generator, rows)

    def prepare(self, batch: Any) -> list[PreparedRow]:
        """Make the prompts of a batch, without generating anything. Loads the tokenizer only.

        Args:
            batch:
                A batch of rows, as `map` passes it.

        Returns:
            `list[PreparedRow]`: for each row its prompt, or why it has none.

        Raises:
            BatchTypeError: This is one row, or not a batch at all.
            ColumnError: An input column is missing, or of another type.
        """
        existing = column_names(batch)
        check_types(read_features(batch) or {}, self.prompts.kinds)
        names = [*self.input_columns, *(name for name in self.optional_columns if name in existing)]
        rows = read_columns(batch, list(dict.fromkeys(names)), self.config)
        return prepare_rows(rows, self.prompts, self.generator)

    def _select_inputs(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Select the columns that prompts are made of: others need not be ones that can be decoded."""
        read = {*self.input_columns, *self.optional_columns}
        return dataset.select_columns([name for name in dataset.column_names if name in read])

    def _check_free(self, existing: Collection[str]) -> None:
        check_free(self.output_features, existing, self.config, {*self.input_columns, *self.optional_columns})

    def begin_rows(self, batch: Any) -> list[Result[S]]:
        """Make what becomes of the rows of a batch, before anything is generated; see [`ColumnWriter.prepare`]."""
        return [
            Result(prepared=prepared, is_complete=not prepared.is_ready, prompt_tokens=prepared.prompt_tokens)
            for prepared in self.prepare(batch)
        ]

    def check_sampling(self) -> None:
        """Find out whether the model samples, where that is needed. Loads no weights.

        Raises:
            ConfigError: Several completions of a row are asked for, and all of them would be the same text.
        """
        if (setting := self.config.needs_sampling) and not self.generator.is_sampling:
            name = setting.partition("=")[0]
            raise ConfigError(
                f"{setting} asks for different {self.noun}s of a row, and the model does not sample: all would be "
                "the same text. Pass generation_kwargs={'temperature': 0.7} or other settings of sampling, or leave "
                f"{name} out."
            )

    def make_attempts(self) -> WriterAttempts[S]:
        """Make what says how rows are tried, and reads their completions.

        Raises:
            ConfigError: As in [`ColumnWriter.check_sampling`].
        """
        self.check_sampling()
        is_sampling = self.generator.is_sampling
        if self.config.asks_for_more and not is_sampling and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "The model does not sample, so that another attempt at a row would be the same text: each row is "
                "tried once. Pass generation_kwargs={'temperature': ...} for up to %d attempts.",
                self.config.attempts,
            )
        companions = list(self.companions.values())
        return WriterAttempts(self.config, is_sampling, self._read_completions, companions, self.generator.cost)


def _splits_of(dataset: Any) -> list[Any]:
    return list(dataset.values()) if isinstance(dataset, dict) else [dataset]
