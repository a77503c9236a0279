"""The base of what is measured of traces: the prompt as the teacher saw it, and the trace behind it as tokens."""

import logging
from abc import abstractmethod
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import datasets

from hf_rare.generation.scorer import ScoredPrompt
from hf_rare.prompts.completion import is_thought_open
from hf_rare.prompts.prompt import Prompt, PromptBuilder, build_messages, input_columns
from hf_rare.rows.columns import DOCUMENT_ORDER, STATUS, VERDICT, name_features
from hf_rare.rows.row import InvalidRowError, Row, read_row
from hf_rare.runs.pickling import reduce_to_settings
from hf_rare.scoring.base import ScoredRow, TextMeasure
from hf_rare.scoring.candidates import Candidates
from hf_rare.settings.writers import DistillConfig
from hf_rare.writers.known_settings import read_distill_config
from hf_rare.writers.preparing import PreparedRow, fit_prompt

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OrderedPrompt(Prompt):
    """A prompt, with the texts of its documents at their places.

    Args:
        documents (`tuple[str, ...]`): the documents, perhaps shortened, in the order in which they are numbered.
    """

    documents: tuple[str, ...] = ()


class OrderedPrompts(PromptBuilder[Row]):
    """The prompts of rows whose documents have their order already.

    Args:
        config ([`DistillConfig`]): columns and template.
        order (`Sequence[int]`): the document at each place; 0 is the positive.
    """

    def __init__(self, config: DistillConfig, order: Sequence[int]) -> None:
        self._config = config
        self._order = order

    def read(self, values: Mapping[str, Any]) -> Row:
        """Check the values of a row, by column name."""
        return read_row(values, self._config)

    def build(self, row: Row, shortened: Mapping[int, str]) -> OrderedPrompt:
        """Make the prompt of a row, with texts that stand in for some of its documents."""
        documents = tuple(shortened.get(i, row.documents[i]) for i in self._order)
        messages = build_messages(row, documents, self._config)
        return OrderedPrompt(messages, list(self._order), len(shortened), documents)


@dataclass(frozen=True)
class TracesOfRow:
    """What is measured of a row: its traces, and what its prompts are made of.

    Args:
        row ([`Row`]): the row.
        order (`list[int]`): the document at each place; 0 is the positive.
        texts (`Mapping[int, str]`): its traces, by their number.
        tokens (`Mapping[int, Sequence[int]]`): the tokens of each.
        left_out (`list[str]`): why some are not measured, for the log.
    """

    row: Row
    order: list[int]
    texts: Mapping[int, str]
    tokens: Mapping[int, Sequence[int]]
    left_out: list[str] = field(default_factory=list)


class TraceMeasure(TextMeasure[DistillConfig]):
    """Measures the traces of distilled rows, as a callable for `Dataset.map(..., batched=True)`.

    Args:
        model (`str` or [`TransformersGenerator`]):
            The model that reads.
        recipe (`dict`, `str`, `Path` or [`ReasonDistiller`], *optional*):
            Gives columns, template and tags.
        candidates ([`Candidates`], *optional*):
            Says which traces are measured. By default all.
        **settings:
            Settings of [`DistillConfig`] that stand in for the recipe's, and those of [`RunConfig`]; for a name or a
            folder also those of [`ModelConfig`] and [`DecodingConfig`].

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        ModelLoadError: The model does not exist, or cannot be found out about.
    """

    config_type = DistillConfig

    new_columns: ClassVar[tuple[str, ...]]
    """Endings of the new columns."""

    nothing: ClassVar[Mapping[str, Any]]
    """What they hold where there is no trace, or none that can be measured."""

    def __init__(
        self, model: Any, *, recipe: Any = None, candidates: Candidates | None = None, **settings: Any
    ) -> None:
        self._recipe = recipe
        self.candidates = candidates
        super().__init__(model, **settings)

    def __reduce__(self) -> tuple[Any, ...]:
        companions = {} if self.candidates is None else {"candidates": self.candidates}
        team = self.completer.team_of_launcher
        return reduce_to_settings(type(self), self.config, self.scorer, self.run, companions, team)

    @abstractmethod
    def make_prompts(self, traces: TracesOfRow) -> dict[tuple[int, ...], ScoredPrompt]:
        """Say what is measured of the traces of a row; see [`ScoredRow`]."""

    @abstractmethod
    def weigh(self, texts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the value of each new column from what the texts of a trace were measured to be."""

    def _make_config(self, settings: dict[str, Any]) -> DistillConfig:
        return read_distill_config(self._recipe, settings)

    def columns_to_read(self, existing: Collection[str]) -> list[str]:
        """List the columns that prompts and traces are made of; the scenario only where there is one."""
        config = self.config
        inputs = [name for name in input_columns(config) if name != config.scenario_column or name in existing]
        own = self.candidates.columns_to_read(config.output_column, existing) if self.candidates else []
        return [*inputs, config.output_column, config.output_column + DOCUMENT_ORDER, *own]

    def new_features(self, as_lists: bool) -> datasets.Features:
        """Name the new columns and their types; `as_lists` where a row has a list of traces."""
        lists = self.new_columns if as_lists else ()
        return datasets.Features(name_features(self.config.output_column, self.new_columns, as_lists=lists))

    @property
    def items_column(self) -> str | None:
        """The column with a trace or a list of them."""
        return self.config.output_column

    def ask(self, values: Mapping[str, Any]) -> ScoredRow:
        """Say which texts of a row are measured."""
        given = values[self.config.output_column]
        several = given if isinstance(given, list) else [given]
        texts = {number: trace for number, trace in enumerate(several) if isinstance(trace, str) and trace.strip()}
        if self.candidates is not None:
            output, is_listed = self.config.output_column, isinstance(given, list)
            said = {e: values.get(output + e) if is_listed else [values.get(output + e)] for e in (STATUS, VERDICT)}
            reasons = self.candidates.why_not(said, len(several))
            texts = {number: trace for number, trace in texts.items() if not reasons[number]}
        traces = self._read(values, texts) if texts else None
        prompts = self.make_prompts(traces) if traces is not None else {}
        left_out = traces.left_out if traces is not None else []
        return ScoredRow(prompts, len(several) if isinstance(given, list) else None, left_out=left_out)

    def _read(self, values: Mapping[str, Any], texts: Mapping[int, str]) -> TracesOfRow | None:
        """Read a row; none where no prompt was made of it."""
        order = list(values[self.config.output_column + DOCUMENT_ORDER] or [])
        try:
            row = OrderedPrompts(self.config, order).read(values)
        except InvalidRowError:
            return None
        if sorted(order) != list(range(len(row.documents))):
            return None  # no prompt was made, or these are not the documents that the teacher saw
        ids = self.scorer.encoder.text_tokenizer.go_on(list(texts.values()), split_special_tokens=True)
        tokens = {number: array("i", own) for number, own in zip(texts, ids, strict=True) if own}
        return TracesOfRow(row, order, texts, tokens)

    def fit(self, traces: TracesOfRow) -> dict[tuple[str, ...], list[int]]:
        """Shorten the documents of a row for each of its traces alone, where there is no room for it behind them.

        Args:
            traces ([`TracesOfRow`]): the row.

        Returns:
            `dict[tuple[str, ...], list[int]]`: the documents in their order, and the traces that are read behind them,
            by their number. Those that have no room behind any are in none.
        """
        prompts = OrderedPrompts(self.config, traces.order)
        prompt = prompts.build(traces.row, {})
        (encoded,) = self.scorer.encoder.encode([prompt.messages])
        if encoded.error:
            traces.left_out.extend([encoded.error] * len(traces.tokens))
            return {}
        limit, opening = self.scorer.max_tokens, len(self._opening())
        groups: dict[tuple[str, ...], list[int]] = {}
        for number, ids in traces.tokens.items():
            prepared = PreparedRow(traces.row, prompt, encoded)
            room = limit - opening - len(ids) if limit is not None else None
            if room is not None and len(encoded.token_ids) > room:
                fit_prompt(prepared, prompts, self.scorer.encoder, room)
            if prepared.is_ready and isinstance(prepared.prompt, OrderedPrompt):
                groups.setdefault(prepared.prompt.documents, []).append(number)
            else:
                traces.left_out.append(f"before a trace of {len(ids)} tokens, {prepared.error}")
        return groups

    def encode(self, row: Row, variants: Sequence[Sequence[str | None]]) -> list[Sequence[int]]:
        """Return the tokens before a trace, for each choice of documents; nothing where a prompt cannot be encoded."""
        encoded = self.scorer.encoder.encode([build_messages(row, some, self.config) for some in variants])
        if errors := [prompt.error for prompt in encoded if prompt.error]:
            logger.warning("A row cannot be measured: %s.", errors[0])
            return []
        return [array("i", [*prompt.token_ids, *self._opening()]) for prompt in encoded]

    def _opening(self) -> list[int]:
        """Return the tokens that open a thought, where the chat template has not opened one."""
        encoder, tags = self.scorer.encoder, self.config.thought_tags
        if is_thought_open(encoder.opening, tags):
            return []
        (ids,) = encoder.text_tokenizer.go_on([f"{tags[0]}\n"])
        return ids

    def lay_out(self, rows: Sequence[ScoredRow]) -> dict[str, list[Any]]:
        """Make the new columns of the numbers."""
        output = self.config.output_column
        columns: dict[str, list[Any]] = {output + ending: [] for ending in self.new_columns}
        for row in rows:
            measured = {number: self.weigh(texts) for number, texts in row.read().items()}
            for ending in self.new_columns:
                values = [measured.get(number, self.nothing)[ending] for number in range(row.items or 1)]
                columns[output + ending].append(values[0] if row.items is None else values[: row.items])
        return columns
