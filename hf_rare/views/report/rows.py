"""What a page holds of a row: its documents as the teacher saw them, and its traces with the places of citations."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hf_rare.checks.citations import locate_citations
from hf_rare.rows.columns import (
    ANSWER,
    COMPLETION_TOKENS,
    DOCUMENT_ORDER,
    ERROR,
    EVIDENCE,
    PROMPT_TOKENS,
    STATUS,
    TRACE,
    VERDICT,
)
from hf_rare.rows.hard_negatives import gather
from hf_rare.settings.writers import DistillConfig
from hf_rare.text import clean, shorten
from hf_rare.views.preview import MAX_CHARACTERS

TITLE_CHARACTERS = 160

Embedded = dict[str, Any]
"""JSON values, as the page reads them."""


def embed_row(row: Mapping[str, Any], traces: Sequence[Mapping[str, Any]], config: DistillConfig) -> Embedded:
    """Return what a page holds of a row.

    Documents stand in the order of the prompt, and have numbers, where the row says it; else the positive is first.

    Args:
        row (`Mapping[str, Any]`): the values of its columns.
        traces (`Sequence[Mapping[str, Any]]`): of each trace what its columns say, by ending.
        config ([`DistillConfig`]): the names of the columns.

    Returns:
        `dict`: question, scenario, right answer, documents, which of them is the positive, and the traces.
    """
    order = _order_of(traces)
    negatives = gather(row, config.hard_negatives_column)
    documents = [row.get(config.text_column), *(negatives if isinstance(negatives, list) else [])]
    shown = order or [place for place, text in enumerate(documents) if text is not None]
    texts = [documents[place] if 0 <= place < len(documents) else None for place in shown]
    return {
        "question": _text(row.get(config.question_column)),
        "scenario": _text(row.get(config.scenario_column)) if config.scenario_column else "",
        "gold": _text(row.get(config.gold_column)) if config.gold_column else "",
        "documents": [_text("(not in this dataset)" if text is None else text) for text in texts],
        "positive": shown.index(0) if 0 in shown else None,
        "numbered": bool(order),
        "prompt_tokens": traces[0][PROMPT_TOKENS] if traces else None,
        "traces": [embed_trace(trace, shown) for trace in traces],
    }


def embed_trace(trace: Mapping[str, Any], shown: Sequence[int]) -> Embedded:
    """Return what a page holds of a trace.

    Args:
        trace (`Mapping[str, Any]`): what its columns say, by ending.
        shown (`Sequence[int]`): the documents in the order in which they are shown.
    """
    text, evidence = _text(trace[TRACE]), trace[EVIDENCE]
    of_documents = evidence if isinstance(evidence, list) and len(evidence) > max(shown, default=-1) else []
    return {
        "text": text,
        "answer": _text(trace[ANSWER]),
        "status": _text(trace[STATUS]),
        "error": _text(trace[ERROR]),
        "tokens": trace[COMPLETION_TOKENS],
        "verdict": _text(trace[VERDICT]),
        "citations": locate_in_utf16(text),
        "evidence": [round(of_documents[place], 1) for place in shown] if of_documents else None,
    }


def title_of(row: Mapping[str, Any], config: DistillConfig) -> str:
    """Return the line that a row stands under in the list: how its question begins, or else its document."""
    texts = (_text(row.get(name)) for name in (config.question_column, config.text_column))
    words = " ".join(next((text for text in texts if text.strip()), "").split())
    return words if len(words) <= TITLE_CHARACTERS else words[:TITLE_CHARACTERS].rsplit(" ", 1)[0] + " …"


def locate_in_utf16(text: str) -> list[list[int]]:
    """Find the citations of a text: of each where it begins and ends in units of UTF-16, and the cited numbers."""
    is_plain = not text or max(text) <= "\uffff"

    def place(of: int) -> int:
        return of if is_plain else len(text[:of].encode("utf-16-le")) // 2

    found: list[list[int]] = []
    for citation in locate_citations(text):
        if not found or place(citation.start) >= found[-1][1]:
            found.append([place(citation.start), place(citation.end), *citation.numbers])
    return found


def _order_of(traces: Iterable[Mapping[str, Any]]) -> list[int]:
    order = next((trace[DOCUMENT_ORDER] for trace in traces), None)
    is_known = isinstance(order, list) and all(isinstance(place, int) for place in order)
    return list(order) if is_known and order else []


def _text(value: object) -> str:
    return "" if value is None else shorten(clean(value), MAX_CHARACTERS)
