"""The plots of a report: tokens of a trace, what traces rest on by the place of the positive, and speed over time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from hf_rare.text import clean
from hf_rare.views.plots import AMBER, BLUE, GREEN, INK, draw_svg
from hf_rare.views.report.facets import label_of, sort_names
from hf_rare.views.report.speed import Speed
from hf_rare.views.report.tally import OF_GROUNDS, Tally

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 5.2, 2.9
COLOURS = dict(zip(OF_GROUNDS, (AMBER, GREEN, BLUE), strict=True))
HOUR = 3600.0


def link_to(name: str, side: str = "here") -> str:
    """Return the link that lists the rows of which a trace has a name, here or in the other dataset."""
    return "#" + urlencode({"view": "rows", "f": f"{side}:{name}"})


def plot_tokens(tally: Tally) -> str:
    """Plot how many traces have how many tokens; each bar is a link to its rows."""
    names = [name for name in sort_names(tally.by_trace) if name.startswith("tokens/")]

    def draw(axes: "Axes") -> None:
        bars = axes.bar([label_of(name) for name in names], [tally.by_trace[name] for name in names], color=BLUE)
        for bar, name in zip(bars, names, strict=True):
            bar.set_url(link_to(name))
        axes.bar_label(bars, [f"{tally.by_trace[name]:,}" for name in names], padding=2, color=INK, fontsize=8)
        axes.set_xticks(range(len(names)), [label_of(name).replace(" to ", "\nto ") for name in names])
        axes.set_yticks([])
        axes.set_title("tokens of a trace")

    return draw_svg(draw, WIDTH, HEIGHT) if names else ""


def plot_places(tallies: Mapping[str, Tally]) -> str:
    """Plot what traces rest on by the place of the positive, with intervals of 95 %, for one dataset or two."""
    places = sorted({place for tally in tallies.values() for place in tally.at_place})

    def draw(axes: "Axes") -> None:
        lines = [
            (style, title, name, rates)
            for style, (title, tally) in zip(("-", "--"), tallies.items(), strict=False)
            for name in OF_GROUNDS
            if (rates := {place: rate for place in places if (rate := tally.rate_at(place, name)) is not None})
        ]
        for number, (style, title, name, rates) in enumerate(lines):
            shift = (number - (len(lines) - 1) / 2) * 0.1  # so that intervals stand side by side
            middle = [rate[0] for rate in rates.values()]
            below = [max(0.0, rate[0] - rate[1]) for rate in rates.values()]
            above = [max(0.0, rate[2] - rate[0]) for rate in rates.values()]
            axes.errorbar(
                [place + shift for place in rates],
                middle,
                (below, above),
                fmt="o" + style,
                color=COLOURS[name],
                markersize=3.5,
                linewidth=1.2,
                capsize=2.5,
                label=label_of(name) + (f" ({_plain(title)})" if len(tallies) > 1 else ""),
            )
        axes.set_ylim(-0.02, 1.02)
        axes.set_xticks(places[:: max(1, len(places) // 8)])
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.legend(fontsize=7.5, frameon=False, labelcolor=INK, loc="best")
        axes.set_title("what traces rest on, by the place of the positive")

    return draw_svg(draw, WIDTH, HEIGHT) if places else ""


def plot_speed(speed: Speed) -> str:
    """Plot tokens a second over the time of the runs."""
    unit, name = next(
        (one, name) for one, name in ((HOUR, "hours"), (60.0, "minutes"), (1.0, "seconds"))
        if len(speed.rates) * speed.width > 2 * one or one == 1.0
    )  # fmt: skip

    def draw(axes: "Axes") -> None:
        edges = [place * speed.width / unit for place in range(len(speed.rates) + 1)]
        axes.stairs(speed.rates, edges, fill=True, color=BLUE, alpha=0.45)
        axes.stairs(speed.rates, edges, color=BLUE, linewidth=1.2)
        axes.set_xlim(0, edges[-1])
        axes.set_ylim(0, max(speed.rates) * 1.15)
        axes.set_xlabel(f"{name} since the first run began")
        axes.set_title("tokens a second")

    return draw_svg(draw, WIDTH, HEIGHT)


def _plain(text: str) -> str:
    """Return a text in which matplotlib reads no formula."""
    return clean(text).replace("$", r"\$")
