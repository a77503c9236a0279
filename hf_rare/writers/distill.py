"""The reasoning distiller: a teacher's reasoning over the documents of each row."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import datasets

from hf_rare.checks.answers import check_answer
from hf_rare.errors import ConfigError
from hf_rare.generation.protocol import Completion, Generator
from hf_rare.prompts.prompt import DistillPrompts
from hf_rare.rows.batches import column_names, read_columns
from hf_rare.rows.columns import WITHOUT_TRACE, Outcome
from hf_rare.rows.gold import check_gold_feature, label_names, name_label, pair_options, read_features
from hf_rare.rows.row import Row
from hf_rare.settings.writers import DistillConfig
from hf_rare.writers.base import ColumnWriter
from hf_rare.writers.callbacks import Callbacks
from hf_rare.writers.judge import AnswerJudge
from hf_rare.writers.preparing import PreparedRow
from hf_rare.writers.result import Layout, Result
from hf_rare.writers.traces import Trace, lay_out_traces, output_features, read_trace


class ReasonDistiller(ColumnWriter[DistillConfig, Trace]):
    """Adds a teacher's reasoning over the documents of each row: pass it to `Dataset.map(distill_fn, batched=True)`.

    For each row the teacher gets the question, the scenario, and one positive document among hard negatives, in an
    order shuffled by the row's own content. New columns, by default all of them (see [`DistillConfig`] for names and
    shapes):

    - `reasoning` (`str`): the trace; empty where there is none, never null.
    - `reasoning_answer` (`str`): the final answer, where the completion separates it.
    - `reasoning_status` (`str`): `ok`, `truncated`, `empty`, `unparsed`, `invalid_input`, `prompt_too_long`, `failed`.
    - `reasoning_error` (`str`): why it is not `ok`, in words.
    - `reasoning_completion_tokens`, `reasoning_prompt_tokens` (`int64`): tokens.
    - `reasoning_positive_position` (`int64`): place of the positive among the documents, from 1; 0 without a prompt.
    - `reasoning_document_order` (`list[int64]`): the documents in their order; 0 is the positive, i the i-th negative.
    - `reasoning_documents_truncated` (`int64`): how many documents were shortened to fit the context.
    - `reasoning_verdict` (`str`, with `gold_column`): whether the answer is `right`, `wrong` or `unchecked`.
    - `reasoning_attempts` (`int64`, where a row may be tried more than once): how often it was tried.

    A row that cannot be used gets a status; it never stops the run and never changes another row. Prompt, order and
    draw of a row depend on its content, the settings and the seed alone, not on the batch.

    It pickles to its settings, so that `map` gives it the same fingerprint in every process, before and after the
    model is loaded, and a second run reads the cache of `datasets` without loading a model.

    Args:
        generator ([`Generator`]):
            What writes: a [`TransformersGenerator`], or another [`Generator`].
        judge ([`AnswerJudge`], *optional*):
            A model that compares answers with the gold ones, in the place of `check`.
        callbacks (`Sequence`, *optional*):
            Who is told how its runs go: [`Callback`] objects, and functions that are called with each
            [`RunProgress`]. They are not pickled: a copy has none.
        **settings:
            The settings of [`DistillConfig`] (columns, template, tags, samples,
            gold answers, seed) and [`RunConfig`] (journal, failures, limits).

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        TemplateError: The template cannot be used.

    Example:
        >>> distill_fn = ReasonDistiller.from_pretrained("Qwen/Qwen3-8B", max_new_tokens=4096)
        >>> ds = rows.map(distill_fn, batched=True, batch_size=1000)
    """

    config_type = DistillConfig
    companion_names = ("judge",)
    kind = "distill"
    noun = "trace"
    doing = "Distilling"

    def __init__(
        self,
        generator: Generator,
        *,
        judge: AnswerJudge | None = None,
        callbacks: Callbacks = (),
        **settings: Any,
    ) -> None:
        super().__init__(generator, callbacks=callbacks, **settings)
        if judge is not None and not self.config.gold_column:
            raise ConfigError("judge= needs gold_column=, the column with the answers that it compares with.")
        self.judge = judge

    @property
    def output_prefix(self) -> str:
        """How the names of the new columns begin."""
        return self.config.output_column

    @property
    def output_features(self) -> datasets.Features:
        """The new columns and their types, in order."""
        return output_features(self.config)

    def features(self, features: datasets.Features | None = None) -> datasets.Features:
        """Return the features of the dataset with its new columns, for `map(features=...)`.

        Args:
            features ([`datasets.Features`], *optional*):
                The features of the dataset. Without them, the new columns alone are given.

        Returns:
            [`datasets.Features`]: `features` and the new columns.

        Raises:
            ColumnError: An output column exists already, an input column is of another type, or the gold column cannot
                hold gold answers.
        """
        if self.config.gold_column:
            check_gold_feature(features, self.config.gold_column)
        return super().features(features)

    def prepare(self, batch: Any) -> list[PreparedRow]:
        """Make the prompts of a batch, without generating anything. Loads the tokenizer only.

        Args:
            batch:
                A batch of rows, as `map` passes it.

        Returns:
            `list[PreparedRow]`: for each row its prompt, or why it has none.

        Raises:
            BatchTypeError: This is one row, or not a batch at all.
            ColumnError: An input column is missing, or the gold column cannot hold gold answers.
        """
        return super().prepare(self._name_labels(batch) if self.config.gold_column else batch)

    def _name_labels(self, batch: Any) -> Any:
        """Put the names of class labels in the place of their numbers, where the batch brings them along."""
        gold, features = str(self.config.gold_column), read_features(batch)
        check_gold_feature(features, gold)
        labels = label_names(features, gold)
        if labels is None or gold not in column_names(batch):
            return batch
        existing = column_names(batch)
        names = [name for name in dict.fromkeys([*self.input_columns, *self.optional_columns]) if name in existing]
        rows = read_columns(batch, names, self.config)
        options = [pair_options(row.get(self.config.options_column)) for row in rows]
        named = [name_label(row[gold], labels, pairs) for row, pairs in zip(rows, options, strict=True)]
        return {name: [row[name] for row in rows] for name in names} | {gold: named}

    def _make_prompts(self) -> DistillPrompts:
        return DistillPrompts(self.config)

    def _read_completions(self, results: Sequence[Result[Trace]], completions: Sequence[Sequence[Completion]]) -> None:
        read = [
            [self._read(result, completion) for completion in written]
            for result, written in zip(results, completions, strict=True)
        ]
        checked = self._check(results, read) if self.config.gold_column else read
        for result, traces in zip(results, checked, strict=True):
            result.samples += traces
            result.is_complete = any(trace.will_do for trace in result.samples)

    def _read(self, result: Result[Trace], completion: Completion) -> Trace:
        """Read one completion of a row."""
        return read_trace(result, completion, self.config)

    def _check(self, results: Sequence[Result[Trace]], read: list[list[Trace]]) -> list[list[Trace]]:
        """Compare the answers of traces with the gold ones, where a row has any. What is not whole is wrong."""
        rows = [row if isinstance(row := result.prepared.row, Row) else None for result in results]
        answers = [
            (row.question, " or ".join(row.gold), trace.answer or trace.reasoning)
            for row, traces in zip(rows, read, strict=True)
            for trace in traces
            if row is not None and row.gold and trace.status == "ok"
        ]
        judged = iter(self.judge.compare(answers) if self.judge is not None else ())

        def check(row: Row | None, trace: Trace) -> Outcome:
            if row is None or not row.gold or trace.status in WITHOUT_TRACE:
                return "unchecked"
            if trace.status != "ok":
                return "wrong"
            if self.judge is not None:
                return next(judged)
            kind = self.config.check
            return check_answer(row.gold, trace.answer, trace.reasoning, check=kind, options=row.options).outcome

        return [
            [dataclasses.replace(trace, verdict=check(row, trace)) for trace in traces]
            for row, traces in zip(rows, read, strict=True)
        ]

    def _lay_out(self, results: Sequence[Result[Trace]]) -> Layout:
        return lay_out_traces(results, self.config)
