"""What the traces of a dataset rest on: columns that say which documents each one cites and quotes.

`evidence` judges one trace, `grounding_rates` makes rates of the columns.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import datasets
from annotated_types import MinLen

from hf_rare.checks.citation_forms import DOCUMENT_WORDS
from hf_rare.checks.evidence import MIN_QUOTE_TOKENS, Grounding, assess_grounding
from hf_rare.errors import BatchTypeError, ColumnError
from hf_rare.rows.batches import add_columns, column_names, fill_lists, map_with_features, read_columns
from hf_rare.rows.column_types import check_types, is_list, kinds_of_negatives
from hf_rare.rows.columns import DOCUMENT_ORDER, GROUNDING_COLUMNS, name_features
from hf_rare.rows.hard_negatives import gather, name_columns
from hf_rare.settings.base import Config
from hf_rare.settings.kinds import AtLeastOne, ColumnName, ColumnNames, Texts
from hf_rare.settings.transformers_names import reject_unknown_names

GROUNDING_REVISION = 2
"""Bumped by hand whenever the same row gets other values."""

BATCH_SIZE = 1000


@dataclass(frozen=True, kw_only=True)
class GroundingAudit(Config):
    """The audit as a callable for `Dataset.map(..., batched=True)`; [`audit_grounding`] is the short way.

    Added are, behind the name of the output column:

    - `_cited_documents`, `_quoted_documents`: documents of the row, 0 for the positive, i for the i-th hard negative.
    - `_unknown_citations`: cited numbers that no document had, such as those of a document that the teacher made up.
    - `_longest_quotes`: tokens of the longest quote from each document, the positive first; 0 where there is none.
    - `_grounded_on_positive`: whether the trace cites or quotes the positive.
    - `_distracted`: whether it cites or quotes hard negatives and not the positive.

    Where the trace column holds lists, so do these. A row without a trace has empty lists and `False`, and one without
    a list of traces empty lists alone; a trace that was cut off is judged by what there is. The answer is not part of
    the trace. The audit sees forms, not reasons: a trace that dismisses a document cites it, one that says the same in
    other words does not quote, and a document that was shortened for the prompt is compared in full.

    Args:
        output_column (`str`, *optional*, defaults to `"reasoning"`):
            Column with the trace, and prefix of the distiller's columns and of the new ones.
        text_column (`str`, *optional*, defaults to `"text"`):
            Column with the positive.
        question_column (`str`, *optional*, defaults to `"question"`):
            Column with the question, where there is one.
        scenario_column (`str`, *optional*, defaults to `"scenario"`):
            Column with the situation, where there is one.
        hard_negatives_column (`str` or `list[str]`, *optional*, defaults to `"hard_negatives"`):
            Column with the hard negatives, or several columns of texts; `None` where there are none.
        min_quote_tokens (`int`, *optional*, defaults to 8):
            Words in a row that make a quote; see [`longest_quotes`].
        document_words (`tuple[str, ...]`, *optional*):
            Words that a number stands behind when it means a document. By default "document", "passage", "source" and
            others, in several languages; see [`find_citations`].

    Raises:
        ConfigError: A setting cannot be right.
    """

    output_column: ColumnName = "reasoning"
    text_column: ColumnName = "text"
    question_column: ColumnName = "question"
    scenario_column: ColumnName | None = "scenario"
    hard_negatives_column: ColumnNames | None = "hard_negatives"
    min_quote_tokens: AtLeastOne = MIN_QUOTE_TOKENS
    document_words: Annotated[Texts, MinLen(1), "a list of words"] = DOCUMENT_WORDS

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (GROUNDING_REVISION, self.to_json())  # the same bytes in every process, for the cache

    def __call__(self, batch: Any) -> Any:
        """Audit the rows of a batch.

        Raises:
            ColumnError: A column that is needed is missing, or a new one exists already.
        """
        existing = column_names(batch)
        self.check_names(existing)
        asked = [name for name in (self.question_column, self.scenario_column) if name is not None]
        rows = read_columns(batch, [*self._needed(), *(name for name in asked if name in existing)])
        as_lists = fill_lists(batch, rows, self.output_column)
        columns: dict[str, list[Any]] = {self.output_column + ending: [] for ending in GROUNDING_COLUMNS}
        for row in rows:
            trace = row[self.output_column]
            audited = [self._assess(row, text) for text in (trace if isinstance(trace, list) else [trace])]
            for ending in GROUNDING_COLUMNS:
                values = [getattr(grounding, ending[1:]) for grounding in audited]
                columns[self.output_column + ending].append(values if isinstance(trace, list) else values[0])
        return add_columns(batch, columns, self.features(as_lists))

    def features(self, as_lists: bool = False) -> datasets.Features:
        """Name the new columns and their types; `as_lists` where the trace column holds lists."""
        lists = GROUNDING_COLUMNS if as_lists else ()
        return datasets.Features(name_features(self.output_column, GROUNDING_COLUMNS, as_lists=lists))

    def check_names(self, names: Collection[str]) -> None:
        """Raise [`ColumnError`] where a column that is needed is missing, or a new one exists already."""
        if missing := [name for name in self._needed() if name not in names]:
            raise ColumnError(
                f"The audit needs the column {', '.join(map(repr, missing))}; the rows have "
                f"{', '.join(map(repr, names))}. Pass output_column, text_column or hard_negatives_column; the "
                "document order, without which numbers mean nothing, comes with the distiller's columns='full'."
            )
        if existing := [name for name in self.features() if name in names]:
            raise ColumnError(
                f"The column {existing[0]!r} exists already: the rows have been audited. Audit the "
                f"rows without it and its like, or remove them first (`ds.remove_columns([{existing[0]!r}, ...])`)."
            )

    def _needed(self) -> list[str]:
        order = self.output_column + DOCUMENT_ORDER
        return [self.output_column, order, self.text_column, *name_columns(self.hard_negatives_column)]

    def _assess(self, row: Mapping[str, Any], trace: Any) -> Grounding:
        negatives = gather(row, self.hard_negatives_column)
        documents = [row[self.text_column], *(negatives if isinstance(negatives, list) else [])]
        return assess_grounding(
            _as_text(trace),
            [_as_text(document) for document in documents],
            row[self.output_column + DOCUMENT_ORDER] or [],
            [_as_text(row.get(name)) for name in (self.question_column, self.scenario_column) if name],
            min_quote_tokens=self.min_quote_tokens,
            document_words=self.document_words,
        )


def audit_grounding(
    dataset: datasets.Dataset | datasets.DatasetDict,
    output_column: str = "reasoning",
    *,
    num_proc: AtLeastOne | None = None,
    **settings: Any,
) -> Any:
    """Add columns that say which documents each trace cites and quotes.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.DatasetDict`]):
            Distilled rows.
        output_column (`str`, *optional*, defaults to `"reasoning"`):
            Column with the trace.
        num_proc (`int`, *optional*):
            Processes to use, as in `Dataset.map`.
        **settings:
            The other settings of [`GroundingAudit`], which also says what the columns hold.

    Returns:
        The dataset with the new columns.

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        ColumnError: A column that is needed is missing or of another type, or a new one exists already.
        BatchTypeError: `dataset` is neither a `Dataset` nor a `DatasetDict`.

    Example:
        >>> ds = audit_grounding(ds)
        >>> print(summarize_grounding(ds))
        all: ... traces; ... cites positive, ... quotes positive, ... grounded on positive, ...
    """
    if isinstance(dataset, datasets.DatasetDict):
        audited = {
            name: audit_grounding(split, output_column, num_proc=num_proc, **settings)
            for name, split in dataset.items()
        }
        return datasets.DatasetDict(audited)
    if not isinstance(dataset, datasets.Dataset):
        raise BatchTypeError(
            f"audit_grounding takes a Dataset or a DatasetDict, and this is a {type(dataset).__name__}. For a stream, "
            "use stream.map(GroundingAudit(), batched=True)."
        )
    reject_unknown_names(settings, GroundingAudit.names(), "settings")
    audit = GroundingAudit(output_column=output_column, **settings)
    audit.check_names(dataset.column_names)
    check_types(dataset.features, kinds_of_negatives(audit.hard_negatives_column))
    new = audit.features(is_list(dataset.features[output_column]))
    map_kwargs = {"num_proc": num_proc, "desc": "Auditing"}
    return map_with_features(
        dataset, audit, lambda features: datasets.Features({**features, **new}), [], [], BATCH_SIZE, map_kwargs
    )


def _rebuild(revision: int, settings: str) -> GroundingAudit:
    return GroundingAudit.from_json(settings)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else ""
