"""A report of a distilled dataset: counted over all rows, with as many rows as a page can hold."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_rare.checks.evidence import MIN_QUOTE_TOKENS
from hf_rare.errors import ConfigError, DatasetFileError
from hf_rare.settings.transformers_names import reject_unknown_names
from hf_rare.settings.writers import SHOWN_COLUMNS, DistillConfig
from hf_rare.text import clean
from hf_rare.views.report.counting import CountedRow, choose_key, count_rows, draw_counted
from hf_rare.views.report.facets import label_of, sort_names
from hf_rare.views.report.packing import pack, pack_rows
from hf_rare.views.report.page import Side, fill_in
from hf_rare.views.report.provenance import describe_provenance
from hf_rare.views.report.rows import Embedded, embed_row, title_of
from hf_rare.views.report.speed import read_speed
from hf_rare.views.report.traces import Keys, Traces
from hf_rare.writers.known_settings import known_settings

MAX_ROWS = 10_000
MAX_BYTES = 12_000_000
MARKS = ("keep", "drop", "look again")


class Report:
    """A page about a dataset.

    Args:
        html (`str`): the page.
        rows (`int`): rows of the dataset, over which all is counted.
        embedded_rows (`int`): rows that the page holds.
    """

    def __init__(self, html: str, rows: int, embedded_rows: int) -> None:
        self.html = html
        self.rows = rows
        self.embedded_rows = embedded_rows

    def __repr__(self) -> str:
        return f"Report(rows={self.rows}, embedded_rows={self.embedded_rows})"

    def save(self, path: str | Path) -> None:
        """Write the page to a file.

        Raises:
            DatasetFileError: It cannot be written.
        """
        try:
            Path(path).write_text(self.html, encoding="utf-8")
        except OSError as err:
            raise DatasetFileError(f"{path} cannot be written: {err}. Choose another place for the report.") from err


def report(
    dataset: Any,
    *,
    compare: Any = None,
    names: Sequence[str] = ("here", "other"),
    key_column: str | None = None,
    journal: str | Path | None = None,
    recipe: Any = None,
    title: str = "Distilled rows",
    marks: Sequence[str] = MARKS,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    seed: int = 0,
    **columns: Any,
) -> Report:
    """Make a page about a distilled dataset, to find out what to worry about and to look at the rows.

    The page is one file that asks nothing of any server. Its numbers are exact over all rows, and each is a link to
    the rows it counts. It holds all rows up to `max_rows` and `max_bytes`, and beyond them a sample in which rows of
    every outcome are, as many of each as there is room for; the page says so.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.DatasetDict`]):
            The dataset.
        compare ([`~datasets.Dataset`] or [`~datasets.DatasetDict`], *optional*):
            Another one, such as the same rows by another teacher, which is shown beside it row by row.
        names (pair of `str`, *optional*, defaults to `("here", "other")`):
            What the two are called on the page.
        key_column (`str`, *optional*):
            Column that rows are known by, on the page and for `compare`. By default `id` where there is one, else the
            question, the scenario and the positive together.
        journal (`str` or `Path`, *optional*):
            Folder of the journal that the rows were written through, for tokens a second over time.
        recipe ([`ReasonDistiller`], [`DistillConfig`], `str`, `Path` or `dict`, *optional*):
            How the rows were made, for the page and for the names of columns: the distiller, its settings, its recipe,
            or a file or dataset that has one.
        title (`str`, *optional*, defaults to `"Distilled rows"`):
            Title of the page.
        marks (`Sequence[str]`, *optional*, defaults to `("keep", "drop", "look again")`):
            What rows can be marked as, by the keys 1 to 9.
        max_rows (`int`, *optional*, defaults to 10,000):
            Most rows that the page holds.
        max_bytes (`int`, *optional*, defaults to 12,000,000):
            Most bytes that they take; it holds fewer rows where they are longer.
        seed (`int`, *optional*, defaults to 0):
            Seed of the sample, and of the queue of rows at random.
        **columns (`str`, or for hard negatives also `list[str]`):
            `output_column`, `text_column`, `question_column`, `scenario_column`, `hard_negatives_column` and
            `gold_column`, the right answer, by default those of the recipe.

    Returns:
        [`Report`]: the page. Equal arguments and versions give equal pages.

    Raises:
        BatchTypeError: `dataset` or `compare` is no dataset whose rows are there.
        ColumnError: One of them has no column with traces.
        ConfigError: An argument cannot be right.
        JournalError: The journal cannot be read.
        RecipeError: The recipe cannot be read.

    Example:
        >>> made = report(ds, recipe=distill_fn)
        >>> made.save("report.html")
        >>> made
        Report(rows=6, embedded_rows=6)
    """
    reject_unknown_names(columns, list(SHOWN_COLUMNS), "the columns of a report")
    _check(names, marks, max_rows, max_bytes)
    config = DistillConfig(**{**known_settings(recipe), **columns})
    mine = Traces(dataset, config)
    other = Traces(compare, config) if compare is not None else None
    key_column = choose_key(key_column, mine, other)
    speed = read_speed(journal) if journal is not None else None
    counted = count_rows(mine, other, Keys(key_column, config), seed)
    common: dict[str, Any] = {"marks": list(marks), "names": list(names), "title": title, "key_column": key_column}
    common |= {"rows_in_all": len(counted.rows), "min_quote_words": MIN_QUOTE_TOKENS}
    chosen = draw_counted(counted.rows, max_rows, seed)
    bodies = {row: _embed(row, mine, other, config) for row in chosen}
    index, parts = _pack(bodies, common)
    while (size := len(index) + sum(map(len, parts))) > max_bytes and len(chosen) > 1:
        chosen = draw_counted(chosen, max(1, int(len(chosen) * min(0.95, 0.97 * max_bytes / size))), seed)
        index, parts = _pack({row: bodies[row] for row in chosen}, common)
    sides = [Side(names[0], counted.tally)] + ([Side(names[1], counted.other_tally)] if other is not None else [])
    html = fill_in(
        title=title,
        sides=sides,
        index=index,
        parts=parts,
        speed=speed,
        embedded=len(chosen),
        only_there=counted.only_there,
        provenance=describe_provenance(recipe, mine),
    )
    return Report(html, len(counted.rows), len(chosen))


def _check(names: Sequence[str], marks: Sequence[str], max_rows: int, max_bytes: int) -> None:
    for name, value, least, most in (("names", names, 2, 2), ("marks", marks, 1, 9)):
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        if not is_list or not least <= len(value) <= most or not all(isinstance(text, str) for text in value):
            raise ConfigError(f"{name}={value!r} cannot be right: expected {least} to {most} texts.")
        if len(set(value)) < len(value):
            raise ConfigError(f"{name}={value!r} cannot be right: two of them are the same.")
    for name, number in (("max_rows", max_rows), ("max_bytes", max_bytes)):
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ConfigError(f"{name}={number!r} cannot be right: expected a number of at least 1.")


def _embed(row: CountedRow, mine: Traces, other: Traces | None, config: DistillConfig) -> Embedded:
    values, traces = mine.read(row.place)
    body = embed_row(values, traces, config) | {"title": title_of(values, config)}
    if other is not None and row.other is not None:
        theirs = embed_row(*other.read(row.other), config)
        body["others"] = theirs["traces"]
        body["others_places"] = [_place_in(body["documents"], text) for text in theirs["documents"]]
        body["others_numbered"] = theirs["numbered"]
    return body


def _place_in(documents: Sequence[str], text: str) -> int | None:
    return documents.index(text) if text in documents else None


def _pack(bodies: Mapping[CountedRow, Embedded], common: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Pack what the list of rows is drawn and filtered by, and the rows."""
    facets = sort_names({name for row in bodies for names in (*row.named, *row.other_named) for name in names})
    numbers = {name: number for number, name in enumerate(facets)}
    splits = list(dict.fromkeys(row.place.split for row in bodies))
    entries = [
        [
            row.place.row,
            splits.index(row.place.split),
            clean(row.key) if common["key_column"] is not None else None,
            body["title"],
            [[numbers[name] for name in names] for names in row.named],
            [[numbers[name] for name in names] for names in row.other_named],
        ]
        for row, body in bodies.items()
    ]
    index = {**common, "facets": [[name, label_of(name)] for name in facets], "splits": splits, "rows": entries}
    parts = pack_rows(list(bodies.values()))
    digest = hashlib.blake2b("".join([pack(index), *parts]).encode(), digest_size=8).hexdigest()
    return pack(index | {"digest": digest}), parts
