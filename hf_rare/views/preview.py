"""Rows as HTML, for notebooks: question, documents with the positive marked, and the trace with its citations linked.

All text is text: tags, scripts, formulas and characters that reorder a line do nothing.
"""

import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

import datasets

from hf_rare.checks.citations import locate_citations
from hf_rare.errors import ColumnError
from hf_rare.rows.columns import (
    ANSWER,
    COMPLETION_TOKENS,
    DISTRACTED,
    DOCUMENT_ORDER,
    ERROR,
    EVIDENCE,
    EVIDENCE_DOCUMENT,
    GROUNDED_ON_POSITIVE,
    PROMPT_TOKENS,
    STATUS,
    VERDICT,
)
from hf_rare.rows.gold import label_names, list_golds, name_label
from hf_rare.rows.hard_negatives import gather, name_columns
from hf_rare.rows.kinds_of_dataset import check_dataset
from hf_rare.settings.kinds import AtLeastZero, check_value
from hf_rare.text import clean, shorten

MAX_CHARACTERS = 20_000

STYLE = """
.hf-rare { border: 1px solid #8886; border-radius: 8px; padding: 12px 16px; margin: 10px 0; max-width: 900px;
  font-family: system-ui, sans-serif; font-size: 14px; line-height: 1.5; color: inherit; overflow-wrap: anywhere; }
.hf-rare h4 { margin: 0 0 4px; font-size: 16px; white-space: pre-wrap; }
.hf-rare p { margin: 4px 0 8px; white-space: pre-wrap; }
.hf-rare p:last-child { margin-bottom: 0; }
.hf-rare .scenario, .hf-rare .numbers, .hf-rare .none { opacity: .75; }
.hf-rare .numbers { font-size: 13px; }
.hf-rare summary { cursor: pointer; padding: 1px 0; }
.hf-rare details > div { white-space: pre-wrap; border-left: 3px solid #8888; padding: 2px 12px; margin: 4px 0 8px; }
.hf-rare details > div:target { border-left-color: #3b82f6; background: #3b82f61a; }
.hf-rare .trace { white-space: pre-wrap; margin: 10px 0 6px; padding: 8px 12px; background: #8882; border-radius: 6px;
  max-height: 480px; overflow: auto; }
.hf-rare .trace a { color: #3b82f6; font-weight: 600; }
.hf-rare .mark { border-radius: 4px; padding: 1px 6px; font-weight: 600; background: #8884; }
.hf-rare .good { background: #2a9d4a55; }
.hf-rare .bad { background: #d9605a55; }
"""

SHOWN_ENDINGS = (
    ANSWER,
    STATUS,
    ERROR,
    DOCUMENT_ORDER,
    PROMPT_TOKENS,
    COMPLETION_TOKENS,
    EVIDENCE,
    EVIDENCE_DOCUMENT,
    GROUNDED_ON_POSITIVE,
    DISTRACTED,
    VERDICT,
)
MARKS = {"ok": "mark good", "right": "mark good", "wrong": "mark bad"}
"""How a status or a verdict is marked; others are grey."""


class Preview:
    """Rows that a notebook shows as HTML, and that print as text.

    Args:
        sections (`list[str]`): the HTML of each row.
        texts (`list[str]`): each row as text.
    """

    def __init__(self, sections: Sequence[str], texts: Sequence[str]) -> None:
        self._sections = sections
        self._texts = texts

    def to_html(self) -> str:
        """Return the rows as HTML, with its style."""
        return f"<style>{STYLE}</style>\n" + "\n".join(self._sections or ["<p>No rows.</p>"])

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return "\n\n".join(self._texts or ["No rows."])


def preview(
    dataset: datasets.Dataset,
    rows: int = 5,
    *,
    output_column: str = "reasoning",
    text_column: str = "text",
    question_column: str = "question",
    scenario_column: str | None = "scenario",
    hard_negatives_column: str | Sequence[str] | None = "hard_negatives",
    gold_column: str | None = None,
) -> Preview:
    """Show the first rows of a distilled dataset, with verdict and grounding of each trace where there are any.

    Documents stand under the numbers that the teacher saw, which citations in the trace link to. Without the column
    `<output_column>_document_order` these numbers are not known, so documents have none and nothing is linked.

    Args:
        dataset ([`~datasets.Dataset`]):
            The dataset.
        rows (`int`, *optional*, defaults to 5):
            How many rows.
        output_column (`str`, *optional*, defaults to `"reasoning"`):
            Column with the trace, and prefix of the other columns of the distiller.
        text_column (`str`, *optional*, defaults to `"text"`):
            Column with the positive document. Columns that are missing are left out.
        question_column (`str`, *optional*, defaults to `"question"`):
            Column with the question.
        scenario_column (`str`, *optional*, defaults to `"scenario"`):
            Column with the situation; `None` where there is none.
        hard_negatives_column (`str` or `list[str]`, *optional*, defaults to `"hard_negatives"`):
            Column with the hard negatives, or several columns of texts; `None` where there are none.
        gold_column (`str`, *optional*):
            Column with the right answer, or a list of them.

    Returns:
        [`Preview`]: an object that a notebook shows.

    Raises:
        BatchTypeError: This is no [`~datasets.Dataset`].
        ColumnError: There is no column `output_column`.
        ConfigError: `rows` is no number of at least 0.

    Example:
        >>> preview(ds, rows=3)  # a notebook shows it as HTML
        question: ...
    """
    check_dataset(dataset, "preview")
    check_value("rows", rows, AtLeastZero)
    if output_column not in dataset.column_names:
        raise ColumnError(
            f"The dataset has no column {output_column!r}; it has {', '.join(map(repr, dataset.column_names))}. "
            "Distill it first, or pass output_column=..."
        )
    names: dict[str, str | None] = {
        "text": text_column,
        "question": question_column,
        "scenario": scenario_column,
        "gold": gold_column,
        "trace": output_column,
        **{ending[1:]: output_column + ending for ending in SHOWN_ENDINGS},
    }
    read = {*names.values(), *name_columns(hard_negatives_column)}
    shown = dataset.select_columns([column for column in dataset.column_names if column in read])
    labels = label_names(dataset.features, gold_column or "")
    views = [
        {name: row.get(column) for name, column in names.items()}
        | {"labels": labels, "hard_negatives": gather(row, hard_negatives_column)}
        for row in shown.with_format(None).select(range(max(0, min(rows, len(shown)))))
    ]
    return Preview([_section(view, number) for number, view in enumerate(views)], [_text(view) for view in views])


def _section(view: Mapping[str, Any], number: int) -> str:
    """Return the HTML of a row."""
    documents = _documents(view)
    is_numbered = bool(view["document_order"])
    row_id = "hf-rare-" + hashlib.blake2b(repr((number, view)).encode(), digest_size=6).hexdigest()
    parts = [f"<h4>{_escape(view['question'])}</h4>"] if view["question"] else []
    if view["scenario"]:
        parts.append(f'<p class="scenario">{_escape(view["scenario"])}</p>')
    if gold := show_gold(view["gold"], view["labels"]):
        parts.append(f'<p class="gold"><b>Right answer:</b> {_escape(gold)}</p>')
    for place, (text, is_positive) in enumerate(documents, 1):
        label = f"[{place}] " if is_numbered else ""
        mark = ' <span class="mark good">positive</span>' if is_positive else ""
        summary = f"<summary>{label}{_escape(_begin(text, 80))}{mark}</summary>"
        # the anchor is inside, since a link to what is inside opens it
        parts.append(f'<details>{summary}<div id="{row_id}-{place}">{_escape(text)}</div></details>')
    for sample in _samples(view):
        trace = '<span class="none">No trace.</span>'
        if sample["trace"]:
            trace = _link_citations(_clean(sample["trace"]), row_id, len(documents) if is_numbered else 0)
        parts.append(f'<div class="trace">{trace}</div>')
        if sample["answer"]:
            parts.append(f'<p class="answer"><b>Answer:</b> {_escape(sample["answer"])}</p>')
        parts.append(f'<p class="numbers">{_numbers(sample)}</p>')
    # by these two classes MathJax 2 and 3 know what is not for them: formulas can hold links that run scripts
    return f'<div class="hf-rare tex2jax_ignore mathjax_ignore">{"".join(parts)}</div>'


def _documents(view: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Return the documents in the order of the prompt where it is known, and which of them is the positive."""
    negatives = view["hard_negatives"] or []
    texts = [view["text"], *([negatives] if isinstance(negatives, str) else negatives)]
    order = view["document_order"] or [i for i, text in enumerate(texts) if text is not None]
    known = {i: text for i, text in enumerate(texts) if text is not None}
    return [(str(known.get(i, "(not in this dataset)")), i == 0) for i in order]


def _samples(view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what differs between the samples of a row, of which there is one where the trace is no list."""
    of_trace = (ANSWER, STATUS, VERDICT, ERROR, COMPLETION_TOKENS, EVIDENCE_DOCUMENT, GROUNDED_ON_POSITIVE, DISTRACTED)
    names = ("trace", *(ending[1:] for ending in of_trace))
    lists = {name: view[name] if isinstance(view[name], list) else [view[name]] for name in names}
    lists["evidence"] = view["evidence"] or [] if isinstance(view["evidence_document"], list) else [view["evidence"]]
    count = len(lists["trace"])
    return [
        {"sample": i if count > 1 else None, "prompt_tokens": view["prompt_tokens"], "order": view["document_order"]}
        | {name: values[i] if i < len(values) else None for name, values in lists.items()}
        for i in range(count)
    ]


def _link_citations(text: str, row_id: str, documents: int) -> str:
    """Escape a trace, and let the numbers that it cites lead to the documents; words such as "the second" do not."""

    def link(match: re.Match[str]) -> str:
        place = int(match[0])
        return f'<a href="#{row_id}-{place}">{match[0]}</a>' if 1 <= place <= documents else match[0]

    parts, end = list[str](), 0
    for citation in locate_citations(text):
        if citation.start >= end:
            cited = html.escape(text[citation.start : citation.end])
            parts += [html.escape(text[end : citation.start]), re.sub(r"(?<![\w&#])[0-9]{1,3}(?!\w)", link, cited)]
            end = citation.end
    return "".join([*parts, html.escape(text[end:])])


def _numbers(sample: Mapping[str, Any]) -> str:
    """Return the line below a trace: status and verdict, why it is not ok, and tokens."""
    words = [f"sample {sample['sample']}"] if sample["sample"] is not None else []
    for said in filter(None, (sample["status"], sample["verdict"])):
        words.append(f'<span class="{MARKS.get(str(said), "mark")}">{_escape(said)}</span>')
    if sample["error"]:
        words.append(_escape(sample["error"]))
    for name, unit in (("prompt_tokens", "tokens read"), ("completion_tokens", "tokens written")):
        if sample[name] is not None:
            words.append(f"{_escape(sample[name])} {unit}")
    return " · ".join([*words, *_rests_on(sample)])


def _rests_on(sample: Mapping[str, Any]) -> list[str]:
    """Say what a trace rests on, by its own words and by evidence, where that was looked at."""
    words = []
    if (is_grounded := sample["grounded_on_positive"]) is not None:
        others = "names hard negatives alone" if sample["distracted"] else "does not name the positive"
        words.append("names the positive" if is_grounded else others)
    document, order = sample["evidence_document"], sample["order"] or []
    if document is not None and document in order:
        words.append(f"most evidence from [{order.index(document) + 1}]: {sample['evidence'][document]:.1f} nats")
    return words


def _text(view: Mapping[str, Any]) -> str:
    """Return a row as text."""
    lines = [f"{name}: {view[name]}" for name in ("question", "scenario") if view[name]]
    for place, (text, is_positive) in enumerate(_documents(view), 1):
        label = f"[{place}]" if view["document_order"] else "-"
        lines.append(f"{label}{' (positive)' if is_positive else ''} {_begin(text, 100)}")
    for sample in _samples(view):
        lines.append(f"{sample['status'] or 'trace'}: {sample['trace']}")
        lines += [f"{name}: {sample[name]}" for name in ("answer", "verdict", "error") if sample[name]]
        lines += _rests_on(sample)
    if gold := show_gold(view["gold"], view["labels"]):
        lines.append(f"right answer: {gold}")
    return "\n".join(shorten(clean(line), MAX_CHARACTERS) for line in lines)


def show_gold(value: Any, labels: Sequence[str] | None = None) -> str:
    """Write a right answer, or several, as a line: what a gold column holds, and the names where it holds labels."""
    golds = list_golds(name_label(value, labels))
    return ", ".join(map(_clean, golds[:1] if isinstance(value, bool) else golds))


def _begin(text: str, limit: int) -> str:
    words = " ".join(text.split())
    return words if len(words) <= limit else words[:limit].rsplit(" ", 1)[0] + " …"


def _escape(value: object) -> str:
    return html.escape(_clean(value))


def _clean(value: object) -> str:
    return shorten(clean(value), MAX_CHARACTERS)
