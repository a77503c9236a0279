"""The row contract: the new columns of a row, by what stands behind the output column, with their types and values.

Every name of a column that says how a row came about is made of a prefix (the output column) and an ending from here.
"""

from collections.abc import Collection, Sequence
from typing import Any, Literal

import datasets

from hf_rare.errors import ConfigError

Status = Literal["ok", "truncated", "empty", "unparsed", "invalid_input", "prompt_too_long", "failed"]
STATUSES: tuple[Status, ...] = ("ok", "truncated", "empty", "unparsed", "invalid_input", "prompt_too_long", "failed")

WITHOUT_TRACE: tuple[Status, ...] = ("invalid_input", "prompt_too_long", "failed", "empty")
"""Statuses of rows for which there is no trace to be right or wrong."""

Outcome = Literal["right", "wrong", "unchecked"]
OUTCOMES: tuple[Outcome, ...] = ("right", "wrong", "unchecked")

STRING, INTEGER, NUMBER = datasets.Value("string"), datasets.Value("int64"), datasets.Value("float64")

TRACE = ""
"""The output column itself."""
ANSWER = "_answer"
STATUS = "_status"
ERROR = "_error"
COMPLETION_TOKENS = "_completion_tokens"
PROMPT_TOKENS = "_prompt_tokens"
POSITIVE_POSITION = "_positive_position"
DOCUMENT_ORDER = "_document_order"
DOCUMENTS_TRUNCATED = "_documents_truncated"
VERDICT = "_verdict"
REASON = "_reason"
ATTEMPTS = "_attempts"
SAMPLE = "_sample"
CITED_DOCUMENTS = "_cited_documents"
UNKNOWN_CITATIONS = "_unknown_citations"
QUOTED_DOCUMENTS = "_quoted_documents"
LONGEST_QUOTES = "_longest_quotes"
GROUNDED_ON_POSITIVE = "_grounded_on_positive"
DISTRACTED = "_distracted"
ABSTAINS = "_abstains"
ORIGINAL_VERDICT = "_original_verdict"
RIGHT = "_right"
EVIDENCE = "_evidence"
EVIDENCE_PER_TOKEN = "_evidence_per_token"
EVIDENCE_DOCUMENT = "_evidence_document"
EVIDENCE_ON_POSITIVE = "_evidence_on_positive"
RANK_SURPRISAL = "_rank_surprisal"
LOCAL_NATURALNESS = "_local_naturalness"

FEATURES: dict[str, Any] = {
    TRACE: STRING,
    ANSWER: STRING,
    STATUS: STRING,
    ERROR: STRING,
    COMPLETION_TOKENS: INTEGER,
    PROMPT_TOKENS: INTEGER,
    POSITIVE_POSITION: INTEGER,
    DOCUMENT_ORDER: datasets.List(INTEGER),
    DOCUMENTS_TRUNCATED: INTEGER,
    VERDICT: STRING,
    REASON: STRING,
    ATTEMPTS: INTEGER,
    SAMPLE: INTEGER,
    CITED_DOCUMENTS: datasets.List(INTEGER),
    UNKNOWN_CITATIONS: datasets.List(INTEGER),
    QUOTED_DOCUMENTS: datasets.List(INTEGER),
    LONGEST_QUOTES: datasets.List(INTEGER),
    GROUNDED_ON_POSITIVE: datasets.Value("bool"),
    DISTRACTED: datasets.Value("bool"),
    ABSTAINS: datasets.Value("bool"),
    ORIGINAL_VERDICT: STRING,
    RIGHT: datasets.Value("bool"),
    EVIDENCE: datasets.List(NUMBER),
    EVIDENCE_PER_TOKEN: datasets.List(NUMBER),
    EVIDENCE_DOCUMENT: INTEGER,
    EVIDENCE_ON_POSITIVE: datasets.Value("bool"),
    RANK_SURPRISAL: NUMBER,
    LOCAL_NATURALNESS: NUMBER,
}
"""The type of each column, by its ending."""

TRACE_COLUMNS = (TRACE, ANSWER, STATUS, ERROR, COMPLETION_TOKENS)
"""Columns of a distiller that differ between the traces of a row."""

ROW_COLUMNS = (PROMPT_TOKENS, POSITIVE_POSITION, DOCUMENT_ORDER, DOCUMENTS_TRUNCATED)
"""Columns of a distiller that all traces of a row share."""

GROUNDING_COLUMNS = (
    CITED_DOCUMENTS,
    UNKNOWN_CITATIONS,
    QUOTED_DOCUMENTS,
    LONGEST_QUOTES,
    GROUNDED_ON_POSITIVE,
    DISTRACTED,
)
"""Columns that say what a trace rests on."""

EVALUATION_COLUMNS = (CITED_DOCUMENTS, ABSTAINS, ORIGINAL_VERDICT, RIGHT)
"""Columns that say what a student's answer does, beside being right or wrong."""

EVIDENCE_COLUMNS = (EVIDENCE, EVIDENCE_PER_TOKEN, EVIDENCE_DOCUMENT, EVIDENCE_ON_POSITIVE)
"""Columns that say how much each document carries of a trace."""

SUITABILITY_COLUMNS = (RANK_SURPRISAL, LOCAL_NATURALNESS)
"""Columns that say how well a trace suits a student."""

ITEM_COLUMNS = (STATUS, ERROR, COMPLETION_TOKENS, PROMPT_TOKENS, ATTEMPTS)
"""Columns that say how questions, hard negatives or verdicts came about."""


def name_features(prefix: str, endings: Collection[str], *, as_lists: Collection[str] = ()) -> dict[str, Any]:
    """Name columns and give their types.

    Args:
        prefix (`str`): the output column.
        endings (`Collection[str]`): what stands behind it, of each column.
        as_lists (`Collection[str]`, *optional*): endings of columns that hold a list of values for each row.

    Returns:
        `dict`: type by name, in order.
    """
    return {
        prefix + ending: datasets.List(FEATURES[ending]) if ending in as_lists else FEATURES[ending]
        for ending in endings
    }


def list_values(value: Any, has_lists: bool) -> list[Any]:
    """List what a column says of the traces of a row.

    Args:
        value: what the row has in it.
        has_lists (`bool`): whether the column holds lists, in which a row without one has no traces.
    """
    return list(value or ()) if has_lists else [value]


def per_trace(values: Sequence[Any] | None, count: int) -> list[Any]:
    """Return a value for each of the traces of a row, of a list that may be missing or too short.

    Args:
        values (`Sequence`, *optional*): the list.
        count (`int`): how many traces the row has.

    Returns:
        `list` of length `count`: `None` where nothing is said of a trace.
    """
    return [*(values or ()), *[None] * count][:count]


def check_statuses(statuses: Collection[str] | None) -> tuple[str, ...] | None:
    """Check the names of statuses.

    Raises:
        ConfigError: One is unknown.
    """
    if statuses is None:
        return None
    is_list = isinstance(statuses, Collection) and not isinstance(statuses, str)
    if not is_list or not all(status in STATUSES for status in statuses):
        raise ConfigError(
            f"statuses={statuses!r} cannot be right: expected a list of {', '.join(map(repr, STATUSES))}."
        )
    return tuple(statuses)
