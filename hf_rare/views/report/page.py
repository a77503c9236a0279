"""The page of a report: what was counted as tables and links, and the rows packed, in one file that asks for no other.

A policy in the page lets the browser run the script that stands here, and load nothing: whatever a row holds.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from hf_rare.errors import MissingPackageError
from hf_rare.text import clean
from hf_rare.views.report.facets import GROUPS, QUEUES, WORRIES, label_of, sort_names
from hf_rare.views.report.figures import link_to, plot_places, plot_speed, plot_tokens
from hf_rare.views.report.provenance import Provenance
from hf_rare.views.report.speed import Speed
from hf_rare.views.report.tally import Tally

SCRIPTS = ("unpack", "filters", "quotes", "list", "row", "marks", "page")
"""Files of the script, in the order in which they stand in the page."""
OF_ROWS = ("first", "place", "split", "change")
"""Kinds of names of which rows are counted; of the others traces are."""
TABLES = ("status", "completion", "verdict", "first", "grounding", "evidence", "place", "split", "change")


@dataclass(frozen=True)
class Side:
    """One of the datasets of a page.

    Args:
        name (`str`): what it is called.
        tally ([`Tally`]): what was counted.
    """

    name: str
    tally: Tally


@dataclass(frozen=True)
class Number:
    """A number of the page.

    Args:
        label (`str`): what it counts.
        link (`str`): leads to the rows that it counts.
        count (`int`): the number.
        share (`float`): its share of all.
    """

    label: str
    link: str
    count: int
    share: float


def fill_in(
    *,
    title: str,
    sides: Sequence[Side],
    index: str,
    parts: Sequence[str],
    speed: Speed | None,
    embedded: int,
    only_there: int,
    provenance: Provenance,
) -> str:
    """Fill in the page.

    Args:
        title (`str`): its title.
        sides (`Sequence[Side]`): the dataset, and where there is one, the other.
        index (`str`): packed, what the list of rows is drawn by.
        parts (`Sequence[str]`): packed, the rows.
        speed ([`Speed`], *optional*): how fast they were written.
        embedded (`int`): how many rows the page holds.
        only_there (`int`): rows of the other whose keys the dataset has not.
        provenance ([`Provenance`]): how the rows were made.

    Returns:
        `str`: the HTML.
    """
    script = "'use strict';\n" + "\n".join(_read(f"{name}.js") for name in SCRIPTS)
    figures, note = _draw(sides, speed)
    tally = sides[0].tally
    return _environment().get_template("report.html.jinja").render(
        title=clean(title),
        style=Markup(_read("report.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        sides=[{"name": clean(side.name), "tally": side.tally, "cost": _cost(side.tally)} for side in sides],
        tally=tally,
        embedded=embedded,
        only_there=only_there,
        worries=_worries(tally),
        lost=link_to("completion/not_ok"),
        tables=[table for group in TABLES if (table := _table(group, sides))],
        grounds=_grounds(tally),
        figures=figures,
        figures_note=note,
        speed=speed,
        queues=[(label, name) for label, name in QUEUES.items() if tally.by_trace[name]],
        provenance=provenance,
        index=index,
        parts=parts,
    )  # fmt: skip


def _number(side: Side, place: int, name: str) -> Number:
    tally, is_of_rows = side.tally, name.partition("/")[0] in OF_ROWS
    count = (tally.by_row if is_of_rows else tally.by_trace)[name]
    return Number(
        label_of(name), link_to(name, "other" if place else "here"), count, count / max(1, _whole(tally, name))
    )


def _whole(tally: Tally, name: str) -> int:
    """Return what a number is a share of: the rows, the traces, or those that were looked at."""
    group = name.partition("/")[0]
    if group == "grounding":
        return tally.by_trace["grounding/grounded"] + tally.by_trace["grounding/ungrounded"]
    if group == "evidence":
        return tally.by_trace["evidence/on_positive"] + tally.by_trace["evidence/elsewhere"]
    return tally.rows if group in OF_ROWS else tally.traces


def _worries(tally: Tally) -> list[Number]:
    """Return what is wrong with traces, the worst first: statuses that nobody knows before all others."""
    unknown = [name for name in sorted(tally.by_trace) if name.startswith("status/") and name != "status/ok"]
    names = [*(name for name in unknown if name not in WORRIES), *WORRIES]
    return [_number(Side("", tally), 0, name) for name in names if tally.by_trace[name]]


def _cost(tally: Tally) -> list[tuple[str, str]]:
    """Return what the rows have cost in tokens."""
    cost = [("tokens read", f"{tally.tokens_read:,}"), ("tokens written", f"{tally.tokens_written:,}")]
    if lengths := tally.lengths:
        cost += [
            ("median of a trace", f"{lengths.quantile(0.5):,}"),
            ("one in ten is longer than", f"{lengths.quantile(0.9):,}"),
            ("the longest", f"{max(lengths.counts):,}"),
        ]
    return cost if tally.tokens_read or tally.tokens_written else []


def _table(group: str, sides: Sequence[Side]) -> dict[str, Any] | None:
    names = sort_names({name for side in sides for name in side.tally.by_trace})
    own = [name for name in names if name.partition("/")[0] == group]
    rows = [(label_of(name), [_number(side, place, name) for place, side in enumerate(sides)]) for name in own]
    if group == "change":
        rows = sorted(((label, cells[:1]) for label, cells in rows), key=lambda row: -row[1][0].count)
    return {"title": GROUPS[group], "unit": "rows" if group in OF_ROWS else "traces", "rows": rows} if rows else None


def _grounds(tally: Tally) -> dict[str, Any] | None:
    """Return what traces rest on by the place of the positive, with intervals, as a table."""
    heads = {
        "grounding/cites": "cites it",
        "grounding/grounded": "cites or quotes it",
        "evidence/on_positive": "rests on it by evidence",
    }
    there = [name for name in heads if any(tally.rate_at(place, name) for place in tally.at_place)]
    rows = []
    for place, counts in sorted(tally.at_place.items()):
        rates = [tally.rate_at(place, name) for name in there]
        cells = [f"{rate[0]:.0%} ({rate[1]:.0%} to {rate[2]:.0%})" if rate else "-" for rate in rates]
        traces = max(counts["grounding/traces"], counts["evidence/traces"])
        rows.append((place, link_to(f"place/{place}"), traces, cells))
    return {"heads": [heads[name] for name in there], "rows": rows} if rows else None


def _draw(sides: Sequence[Side], speed: Speed | None) -> tuple[list[Any], str]:
    """Draw the plots, or say why there are none."""
    try:
        drawn = [plot_tokens(sides[0].tally), plot_places({side.name: side.tally for side in sides})]
        drawn += [plot_speed(speed)] if speed is not None else []
    except MissingPackageError as err:
        return [], str(err)
    return [Markup(figure) for figure in drawn if figure], ""


@cache
def _read(name: str) -> str:
    return resources.files("hf_rare.views.report").joinpath("assets", name).read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
