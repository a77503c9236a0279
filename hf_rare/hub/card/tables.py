"""The parts of a dataset card that are made from its rows: columns, statistics and a sample row, as Markdown."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import datasets
import pyarrow.compute as pc

from hf_rare.checks.grounding_rates import GroundingSummary, summarize_grounding
from hf_rare.errors import ColumnError
from hf_rare.hub.card.markdown import as_text, code, table, wrap
from hf_rare.rows.column_types import is_text
from hf_rare.rows.columns import (
    ANSWER,
    ATTEMPTS,
    CITED_DOCUMENTS,
    COMPLETION_TOKENS,
    DISTRACTED,
    DOCUMENT_ORDER,
    DOCUMENTS_TRUNCATED,
    ERROR,
    GROUNDED_ON_POSITIVE,
    OUTCOMES,
    POSITIVE_POSITION,
    PROMPT_TOKENS,
    QUOTED_DOCUMENTS,
    SAMPLE,
    STATUS,
    STATUSES,
    VERDICT,
)
from hf_rare.rows.hard_negatives import name_columns
from hf_rare.rows.statistics import BATCH_SIZE, Distribution, Statistics
from hf_rare.text import clean, shorten

MOST_COLUMNS = 100
MOST_POSITIONS = 12
INPUT_MEANINGS = {
    "text_column": "the document that helps (the positive)",
    "question_column": "the question",
    "scenario_column": "the situation the question is about",
    "hard_negatives_column": "documents that only look as if they helped",
    "options_column": "the choices of a multiple-choice question",
}
COLUMN_SETTINGS = (*INPUT_MEANINGS, "output_column")
OUTPUT_MEANINGS = {
    "": "the trace; empty where there is none",
    ANSWER: "the final answer, where the completion separates it from the trace",
    STATUS: f"what became of the row: {', '.join(code(status) for status in STATUSES)}",
    ERROR: f"why the status is not {code('ok')}, in words",
    COMPLETION_TOKENS: "tokens generated",
    PROMPT_TOKENS: "tokens of the prompt",
    POSITIVE_POSITION: "place of the positive among the documents of the prompt, from 1; 0 without a prompt",
    DOCUMENT_ORDER: "documents in the order of the prompt: 0 is the positive, i the i-th hard negative",
    DOCUMENTS_TRUNCATED: "how many documents were shortened to fit the context",
    SAMPLE: "number of the sample among those of its row, from 0",
    VERDICT: f"whether the answer is the gold one: {code('right')}, {code('wrong')} or {code('unchecked')}",
    ATTEMPTS: "how often the row was tried",
    CITED_DOCUMENTS: "documents that the trace cites: 0 is the positive, i the i-th hard negative",
    QUOTED_DOCUMENTS: "documents that the trace quotes, likewise",
    GROUNDED_ON_POSITIVE: "whether the trace cites or quotes the positive",
    DISTRACTED: "whether it cites or quotes hard negatives and not the positive",
}


def describe_columns(features: datasets.Features, config: Mapping[str, Any]) -> str:
    """Return the table of the columns: name, type, and meaning where it is known.

    Args:
        features ([`~datasets.Features`]): the columns.
        config (`Mapping[str, Any]`): names of the columns by setting (`text_column`, ..., `output_column`).
    """
    meanings = {name: meaning for setting, meaning in INPUT_MEANINGS.items() for name in name_columns(config[setting])}
    meanings |= {config["output_column"] + ending: meaning for ending, meaning in OUTPUT_MEANINGS.items()}
    shown = list(features.items())[:MOST_COLUMNS]
    rows = [(code(name), code(_type_name(feature)), meanings.get(name, "")) for name, feature in shown]
    if len(features) > len(shown):
        rows.append((f"{len(features) - len(shown)} more", "", ""))
    return table(("column", "type", "meaning"), rows)


def describe_counts(statistics: Mapping[str, Statistics]) -> str:
    """Return the table of what can be counted, a column for each split."""
    parts = list(statistics.values())
    known = [status for status in STATUSES if any(split.statuses[status] for split in parts)]
    others = sorted({status for split in parts for status in split.statuses} - set(STATUSES), key=str)
    rows = [("rows", [split.rows for split in parts])]
    if any(split.traces for split in parts):
        rows.append(("traces", [split.traces for split in parts]))
    rows += [(f"traces {code(status)}", [split.statuses[status] for split in parts]) for status in known]
    if others:
        rows.append(("traces of another status", [sum(split.statuses[name] for name in others) for split in parts]))
    for name, field in (("prompt tokens", "prompt_tokens"), ("generated tokens", "completion_tokens")):
        if any(getattr(split, field) for split in parts):
            rows.append((name, [getattr(split, field).total for split in parts]))
    if any(split.documents_truncated for split in parts):
        rows.append(("documents shortened to fit", [split.documents_truncated.total for split in parts]))
    cells = [(name, *(f"{number:,}" for number in numbers)) for name, numbers in rows]
    return table(("", *(code(name) for name in statistics)), cells, numbers=True)


def describe_lengths(statistics: Statistics) -> str:
    """Return the table of the lengths; empty where none is known."""
    lengths = {
        "tokens of a prompt": statistics.prompt_tokens,
        "tokens of a trace": statistics.completion_tokens,
        "characters of a trace": statistics.trace_characters,
        "characters of a question": statistics.question_characters,
        "characters of a document": statistics.document_characters,
        "documents in a prompt": statistics.documents,
    }
    rows = [(name, *_quantiles(lengths[name])) for name in lengths if lengths[name]]
    return table(("", "mean", "median", "95 %", "most"), rows, numbers=True) if rows else ""


def describe_positions(positions: Distribution) -> str:
    """Return the table of where the positive stands; empty where this is not known."""
    if not positions:
        return ""
    rows = []
    for place in sorted(positions.counts)[:MOST_POSITIONS]:
        rows.append((str(place), f"{positions.counts[place]:,}", f"{positions.counts[place] / positions.count:.1%}"))
    if rest := sum(positions.counts[place] for place in sorted(positions.counts)[MOST_POSITIONS:]):
        rows.append(("further back", f"{rest:,}", f"{rest / positions.count:.1%}"))
    return table(("place", "prompts", "share"), rows, numbers=True)


def describe_verdicts(verdicts: Mapping[str, int]) -> str:
    """Return the table of the verdicts on traces, with shares of the checked ones; empty where there are none."""
    rows, checked = list[tuple[str, str, str]](), verdicts.get("right", 0) + verdicts.get("wrong", 0)
    for outcome in OUTCOMES:
        if count := verdicts.get(outcome, 0):
            share = "" if outcome == "unchecked" else f"{count / checked:.1%}"
            rows.append((code(outcome), f"{count:,}", share))
    return table(("verdict", "traces", "share of the checked"), rows, numbers=True) if rows else ""


def describe_grounding(splits: Iterable[datasets.Dataset], output_column: str) -> str:
    """Return the table of what the traces rest on, by the place of the positive; empty where no audit has run."""
    parts: list[GroundingSummary] = []
    for split in splits:
        with contextlib.suppress(ColumnError):
            parts.append(summarize_grounding(split, output_column))
    total = sum(parts, GroundingSummary())
    if not total.overall.traces:
        return ""
    names = ("grounded_on_positive", "cites_positive", "quotes_positive", "distracted", "silent")
    named = [("anywhere", total.overall), *((str(place), rates) for place, rates in total.by_position.items())]
    rows = [
        (place, f"{r.traces:,}", *(f"{getattr(r, name):,} ({r.rates[name]:.1%})" for name in names))
        for place, r in named[:MOST_POSITIONS]
    ]
    header = ("positive at", "traces", *(name.replace("_", " ") for name in names))
    return table(header, rows, numbers=True)


def find_sample(dataset: datasets.Dataset, output_column: str) -> dict[str, Any] | None:
    """Return the first row whose status is `ok`, or else the first row, in the plain types of arrow."""
    if len(dataset) == 0:
        return None
    index, status = 0, output_column + STATUS
    if is_text(dataset.features.get(status)):
        for number, batch in enumerate(dataset.select_columns([status]).with_format("arrow").iter(BATCH_SIZE)):
            place = pc.index(batch[status].cast("large_string"), "ok").as_py()
            if place >= 0:
                index = number * BATCH_SIZE + place
                break
    row: dict[str, Any] = dataset.with_format("arrow")[index].to_pylist()[0]
    return row


def describe_sample(row: Mapping[str, Any]) -> str:
    """Lay a row out for reading: long texts wrapped and cut."""
    shown = list(row.items())[:MOST_COLUMNS]
    return "\n".join(f"{' '.join(clean(name).split())}:{_value(value)}" for name, value in shown)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value) if len(value) > 60 or "\n" in value else f" {clean(value)}".rstrip()
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        more = f"\n  - ... [{len(value) - 4} more]" if len(value) > 4 else ""
        return "".join("\n" + wrap(item, 240, indent="    ").replace("    ", "  - ", 1) for item in value[:4]) + more
    return " " + shorten(clean(as_text(value)), 200)


def _text(value: str) -> str:
    return "\n" + wrap(value, 1200)


def _quantiles(distribution: Distribution) -> Sequence[str]:
    numbers = (distribution.quantile(0.5), distribution.quantile(0.95), distribution.quantile(1))
    return [f"{distribution.mean:,.1f}", *(f"{number:,}" for number in numbers)]


def _type_name(feature: Any) -> str:
    if isinstance(feature, datasets.List | datasets.LargeList):
        return f"list of {_type_name(feature.feature)}"
    if isinstance(feature, datasets.Value):
        return str(feature.dtype)
    if isinstance(feature, dict):
        return f"struct of {', '.join(f'{name}: {_type_name(kind)}' for name, kind in feature.items())}"
    return type(feature).__name__
