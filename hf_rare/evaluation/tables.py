"""What an evaluation says, as tables for people: cells of text, of a report as JSON holds it."""

from collections.abc import Mapping
from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.evaluation.conditions import AT_PLACE
from hf_rare.evaluation.measures import MEASURES
from hf_rare.text import clean

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""What a table says, its heads, and its rows."""

HEADS = {
    "accuracy": "right",
    "read": "read",
    "abstains": "abstains",
    "cites_positive": "cites the positive",
    "original_answer": "original answer",
    "tokens": "tokens",
}
NONE = "-"


def make_tables(report: Mapping[str, Any]) -> list[Table]:
    """Make the tables of a report.

    Args:
        report (`Mapping[str, Any]`): what [`Evaluation.to_json`] gives.

    Returns:
        `list[tuple]`: of each table what it says, its heads and its rows: all measures by condition and student, the
        accuracy by the place of the positive, and what students differ by.

    Raises:
        ConfigError: This is no report of an evaluation.
    """
    try:
        return [table for table in (_overall(report), _by_place(report), *_differences(report)) if table[2]]
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise ConfigError(
            f"This is no report of an evaluation ({type(err).__name__}: {err}). Expected what Evaluation.to_json() "
            "gives."
        ) from err


def lay_out(table: Table) -> str:
    """Lay a table out in Markdown that can be read as it is."""
    title, heads, rows = table
    cells = [heads, *([_plain(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width for width in widths[:2]] + ["-" * (width - 1) + ":" for width in widths[2:]]
    lines = [
        [cell.ljust(width) if place < 2 else cell.rjust(width) for place, (cell, width) in enumerate(pairs)]
        for pairs in (zip(row, widths, strict=True) for row in cells)
    ]
    lines.insert(1, rule)
    return "\n".join([title, "", *(f"| {' | '.join(line)} |" for line in lines)])


def show_share(score: Mapping[str, Any] | None) -> str:
    """Write a share with its interval in percent."""
    if score is None:
        return NONE
    return f"{100 * score['value']:.1f} % [{100 * score['low']:.1f}, {100 * score['high']:.1f}]"


def show_points(score: Mapping[str, Any] | None) -> str:
    """Write a difference of shares with its interval in points."""
    if score is None:
        return NONE
    value, low, high = (round(100 * score[name], 1) + 0.0 for name in ("value", "low", "high"))  # no -0.0
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _show(measure: str, score: Mapping[str, Any] | None) -> str:
    if measure == "tokens":
        return NONE if score is None else f"{score['value']:,.1f}"
    return show_share(score)


def _overall(report: Mapping[str, Any]) -> Table:
    scores, answers = report["scores"], report["answers"]
    known = {measure for one in scores.values() for values in one.values() for measure in values}
    shown = [measure for measure in MEASURES if measure in known]
    rows = [
        (
            condition,
            student,
            f"{answers[condition]:,}",
            *(_show(name, scores[student][condition].get(name)) for name in shown),
        )
        for condition in answers
        if not condition.startswith(AT_PLACE)
        for student in scores
    ]
    confidence = f"{100 * report['confidence']:g} %"
    title = (
        f"Answers to {report['rows']:,} rows, with intervals of {confidence} from {report['num_resamples']:,} "
        "resamples of the rows:"
    )
    return title, ("condition", "student", "answers", *(HEADS[name] for name in shown)), rows


def _by_place(report: Mapping[str, Any]) -> Table:
    scores, answers = report["scores"], report["answers"]
    rows: list[tuple[str, ...]] = [
        (
            condition.removeprefix(AT_PLACE),
            student,
            f"{answers[condition]:,}",
            show_share(scores[student][condition].get("accuracy")),
        )
        for condition in answers
        if condition.startswith(AT_PLACE)
        for student in scores
        if "accuracy" in scores[student][condition]
    ]
    return "By the place of the positive among its hard negatives:", ("place", "student", "answers", "right"), rows


def _differences(report: Mapping[str, Any]) -> list[Table]:
    found: list[Table] = []
    for student, differences in report["differences"].items():
        known = {measure for values in differences.values() for measure in values}
        shown = [measure for measure in MEASURES if measure in known and measure != "tokens"]
        rows = [
            (condition, student, *(show_points(values.get(name)) for name in shown))
            for condition, values in differences.items()
            if not condition.startswith(AT_PLACE)
        ]
        title = f"{_plain(student)} less {_plain(report['baseline'])}, in points, on the same resamples:"
        found.append((title, ("condition", "student", *(HEADS[name] for name in shown)), rows))
    return found


def _plain(cell: str) -> str:
    """Return a text for a cell: a name may hold what would end it."""
    return " ".join(clean(cell).split()).replace("|", "/")
