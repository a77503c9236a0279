"""The picture of a dataset card: statuses, lengths of traces, and places of the positive, where they say something."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import datasets

from hf_rare.errors import ColumnError, MissingPackageError
from hf_rare.rows.columns import COMPLETION_TOKENS, POSITIVE_POSITION, STATUS, STATUSES
from hf_rare.rows.statistics import DEFAULT_COLUMNS, Distribution, Statistics, measure, named_splits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 30
MOST_PLACES = 20
INK = "#7d8590"
"""A grey that can be read on white and on black alike, as the background is transparent."""
BLUE, GREEN, AMBER, RED = "#4493d8", "#3fa65a", "#c98a1b", "#d9605a"
COLOURS = {"ok": GREEN, "truncated": AMBER, "unparsed": AMBER, "empty": AMBER}


def plot_statistics(dataset: datasets.Dataset | datasets.DatasetDict, output_column: str = "reasoning") -> bytes:
    """Draw traces by status, tokens of a trace, and places of the positive among the documents.

    What is not known has no panel, and neither has the status where all traces have the same and there is another.

    Needs matplotlib (`pip install hf-rare[plots]`). Equal data and versions give equal bytes.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.DatasetDict`]):
            A dataset with columns of the row contract. What its columns do not say is left out.
        output_column (`str`, *optional*, defaults to `"reasoning"`):
            Prefix of these columns.

    Returns:
        `bytes`: a PNG, 1600 pixels wide, for half that width.

    Raises:
        MissingPackageError: matplotlib is not installed.
        ColumnError: The dataset has none of the columns, or they say nothing.
    """
    _import_matplotlib()  # or there is no need to read the rows
    parts = named_splits(dataset).values()
    names = [output_column + ending for ending in (STATUS, COMPLETION_TOKENS, POSITIVE_POSITION)]
    if not any(name in split.column_names for split in parts for name in names):
        raise ColumnError(
            f"There is nothing to plot: the dataset has none of the columns {', '.join(map(repr, names))}. Pass "
            "output_column=..."
        )
    statistics = sum((measure(split, _only(output_column)) for split in parts), Statistics())
    drawn = choose_panels(statistics)
    if not drawn:
        raise ColumnError(
            f"There is nothing to plot: the columns {', '.join(map(repr, names))} say nothing. Distill the rows first."
        )
    return draw_panels([partial(draw, statistics=statistics) for draw in drawn], 2.9)


def choose_panels(statistics: Statistics) -> "list[Callable[..., None]]":
    """Choose what is drawn: nothing that would be empty, and no bar of a single status where there is something else.

    Args:
        statistics ([`Statistics`]): counts over the rows.

    Returns:
        `list[Callable]`: draws a panel each, of axes and `statistics`.
    """
    told = {_draw_tokens: statistics.completion_tokens, _draw_places: statistics.positive_positions}
    others: list[Callable[..., None]] = [draw for draw, distribution in told.items() if distribution]
    has_statuses = len(statistics.statuses) > 1 or (statistics.traces > 0 and not others)
    return [_draw_statuses, *others] if has_statuses else others


def draw_panels(draws: "Sequence[Callable[[Axes], None]]", height: float) -> bytes:
    """Draw panels beside each other, in the style of the picture of a card.

    Args:
        draws (`Sequence[Callable]`): draws one panel into the axes that it is given.
        height (`float`): height in inches; the width is 8, of 200 pixels each.

    Returns:
        `bytes`: a PNG. Equal panels and versions give equal bytes.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    return _draw(draws, (8, height), {"format": "png", "metadata": {"Software": None}})


def draw_svg(draw: "Callable[[Axes], None]", width: float, height: float) -> str:
    """Draw one panel in the style of the picture of a card, for a page that holds it: its texts are texts.

    Args:
        draw (`Callable`): draws the panel into the axes that it is given.
        width (`float`): width in inches.
        height (`float`): height in inches.

    Returns:
        `str`: an `svg` element. Equal panels and versions give equal texts.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    picture = _draw([draw], (width, height), {"format": "svg", "metadata": nothing}).decode()
    return picture[picture.index("<svg") :].replace(' target="_blank"', "")  # links lead on in the same page


def _draw(draws: "Sequence[Callable[[Axes], None]]", size: tuple[float, float], saved: dict[str, Any]) -> bytes:
    style, canvas, make_figure = _import_matplotlib()
    with style.context(["default", {"svg.hashsalt": "hf-rare", "svg.fonttype": "none"}]):
        figure = make_figure(figsize=size, dpi=200, layout="constrained")
        canvas(figure)
        for place, draw in enumerate(draws, start=1):
            axes = figure.add_subplot(1, len(draws), place)
            draw(axes)
            _make_plain(axes)
        picture = io.BytesIO()
        figure.savefig(picture, transparent=True, **saved)
    return picture.getvalue()


def _import_matplotlib() -> tuple[Any, Any, Any]:
    """Return what draws, without its interface for windows. Raises `MissingPackageError`."""
    try:
        import matplotlib.style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as err:
        raise MissingPackageError("Plots need matplotlib: `pip install 'hf-rare[plots]'`.") from err
    return matplotlib.style, FigureCanvasAgg, Figure


def _only(output_column: str) -> Mapping[str, str]:
    """Name the columns of the row contract and no input columns: their texts need not be read."""
    return {**dict.fromkeys(DEFAULT_COLUMNS, ""), "output_column": output_column}


def _draw_statuses(axes: "Axes", statistics: Statistics) -> None:
    counts = statistics.statuses
    names = [status for status in STATUSES if counts[status]]
    others = counts.total() - sum(counts[name] for name in names)
    values = [counts[name] for name in names] + ([others] if others else [])
    labels = [*names, *(["other"] if others else [])]
    bars = axes.barh(labels, values, color=[COLOURS.get(name, RED) for name in labels], height=0.62)
    axes.bar_label(bars, [f"{value:,}" for value in values], padding=3, color=INK, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, max(values, default=1) * 1.3)
    axes.set_ylim(max(len(labels), 3) - 0.4, -0.6)
    axes.set_xticks([])
    axes.spines["bottom"].set_alpha(0)
    axes.set_title("traces by status")


def _draw_tokens(axes: "Axes", statistics: Statistics) -> None:
    tokens = statistics.completion_tokens
    _draw_histogram(axes, tokens)
    axes.set_title("tokens of a trace")
    if tokens:
        median = tokens.quantile(0.5)
        axes.axvline(median, color=AMBER, linewidth=1.4)
        axes.set_xlabel(f"median {median:,}")


def _draw_histogram(axes: "Axes", distribution: Distribution) -> None:
    from matplotlib.ticker import MaxNLocator

    numbers, counts = list(distribution.counts), list(distribution.counts.values())
    if not numbers:
        return
    lowest, span = min(numbers), max(numbers) - min(numbers) + 1
    width = -(-span // min(BINS, 4 + math.isqrt(distribution.count)))  # whole tokens: else some bars hold more of them
    edges = [lowest - 0.5 + width * i for i in range(-(-span // width) + 1)]
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axes.hist(numbers, bins=edges, weights=counts, color=BLUE, rwidth=0.94)


def _draw_places(axes: "Axes", statistics: Statistics) -> None:
    positions = statistics.positive_positions
    places = range(1, min(max(positions.counts, default=1), MOST_PLACES) + 1)
    shares = [positions.counts[place] / max(positions.count, 1) for place in places]
    axes.bar(list(places), shares, color=BLUE, width=0.7)
    if documents := statistics.documents:
        even = [sum(c / n for n, c in documents.counts.items() if n >= place) / documents.count for place in places]
        axes.plot(list(places), even, color=AMBER, linewidth=1.4, linestyle=(0, (3, 2)), marker=".")
        axes.set_xlabel("dashed: by chance")
        shares += even
    axes.set_ylim(0, max(shares, default=0) * 1.2 or 1)
    axes.set_xticks(list(places)[:: max(1, len(places) // 8)])
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_title("place of the positive")


def _make_plain(axes: Any) -> None:
    axes.title.set(color=INK, fontsize=10.5)
    axes.xaxis.label.set(color=INK, fontsize=9)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.locator_params(axis="x", nbins=5) if axes.get_xticks().size > 8 else None
    axes.patch.set_alpha(0)
    for side, spine in axes.spines.items():
        spine.set(visible=side == "bottom", color=INK, linewidth=0.8)
