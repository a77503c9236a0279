"""A table of cells: every cell is a text, but for columns of lists and what the row contract knows as numbers."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import datasets

from hf_rare.pipeline.readers.list_cells import read_list
from hf_rare.pipeline.readers.table import Row, RowError
from hf_rare.rows.columns import FEATURES, STATUS

Kind = Literal["texts", "options", "quoted", "numbers", "booleans"]
"""What the cells of a column hold that are no texts; `"quoted"`: lists of texts or objects."""

_BOOLEANS = {"true": True, "false": False}

Records = Iterator[tuple[str, list[str]]]
"""Records with their places: the header, then the rows, each with as many cells as the header."""


@dataclass(frozen=True, kw_only=True)
class CellFile(ABC):
    """A file of cells.

    Args:
        path (`Path`): the file.
        expected (`Mapping[str, Kind]`, *optional*): columns that are meant as lists of texts (`"texts"`) or as options
            (`"options"`: lists, or objects by letter): a cell of theirs that is none is an error. Other columns are
            lists where all their cells are lists of texts.
    """

    path: Path
    expected: Mapping[str, Kind] = field(default_factory=dict)

    @abstractmethod
    def open(self) -> AbstractContextManager[Records]:
        """Open the file, and give each record with its place. Raises [`RowError`] where it cannot be read."""

    def read(self) -> tuple[list[str], dict[str, Kind]]:
        """Read all cells once.

        Returns:
            `tuple`: the names of the columns, and those that are no texts with what they hold.

        Raises:
            RowError: A row has more or fewer cells than the header, or a cell cannot be read.
        """
        header: list[str] = []
        kinds: dict[str, Kind] = {}
        has_items: set[str] = set()
        with self.open() as records:
            for place, record in records:
                if not header:
                    header = record
                    kinds = {name: kind for name in header if (kind := self._kind_of(name, header))}
                    continue
                for name, cell in zip(header, record, strict=True):
                    if name in kinds and cell:
                        value = self._try(name, cell, kinds, place)
                        has_items |= {name} if value not in (None, []) else set()
        return header, {name: kind for name, kind in kinds.items() if name in has_items or name in self.expected}

    def rows(self, kinds: dict[str, Kind]) -> Iterator[Row]:
        """Return the rows, with an empty cell as None; `kinds` is what [`read`] has found."""
        header: list[str] = []
        with self.open() as records:
            for place, record in records:
                if not header:
                    header = record
                    continue
                values = {
                    name: (_read_cell(cell, kinds[name]) if name in kinds else cell) if cell else None
                    for name, cell in zip(header, record, strict=True)
                }
                yield place, values

    def _kind_of(self, name: str, header: list[str]) -> Kind:
        """Say what a column may hold beside texts."""
        if name in self.expected:
            return self.expected[name]
        for prefix in header:
            if not name.startswith(prefix) or prefix + STATUS not in header:
                continue
            feature = FEATURES.get(name.removeprefix(prefix))
            dtype = getattr(feature.feature if isinstance(feature, datasets.List) else feature, "dtype", "string")
            if dtype != "string":
                return "booleans" if dtype == "bool" else "numbers"
        return "quoted"

    def _try(self, name: str, cell: str, kinds: dict[str, Kind], place: str) -> Any:
        """Read a cell of a column that may be no text, which it is where this fails."""
        try:
            return _read_cell(cell, kinds[name])
        except ValueError as err:
            if name in self.expected:
                shown = cell if len(cell) <= 60 else f"{cell[:60]}..."
                hint = f". One text in each cell? Name such columns in a list: '[\"{name}\"]', or several names."
                hint = hint if kinds[name] == "texts" else ""
                raise RowError(
                    f'{place}, column {name!r}: expected a list, such as ["one", "two"], and the cell {err}: '
                    f"{shown!r}{hint}"
                ) from err
            del kinds[name]
            return None


def name_columns(header: Sequence[str]) -> list[str]:
    """Name the columns that have no name in the header. Raises [`RowError`] where two have the same."""
    names = [name or f"Unnamed: {place}" for place, name in enumerate(header)]
    if any("\0" in name for name in names):
        raise RowError("the header has zeros between letters, as UTF-16 without its mark: pass encoding='utf-16-le'.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise RowError(f"the header has the column {twice[0]!r} twice.")
    return names


def _read_cell(cell: str, kind: Kind) -> Any:
    """Read a cell that is no text.

    Raises:
        ValueError: It is one; the message says why, to follow "the cell".
    """
    if kind == "numbers" and re.fullmatch(r"[+-]?\d+(\.0*)?", cell):
        return int(float(cell)) if "." in cell else int(cell)
    if kind == "booleans" and cell.lower() in _BOOLEANS:
        return _BOOLEANS[cell.lower()]
    value = read_list(cell)
    if kind == "options":
        return value
    if not isinstance(value, list):
        raise ValueError("holds an object")
    if kind == "texts" and (others := [item for item in value if not isinstance(item, str | None)]):
        raise ValueError(f"holds a {type(others[0]).__name__} among the texts")
    if kind == "quoted" and not _is_quoted(value):
        raise ValueError("holds more than texts")
    return value


def _is_quoted(value: Any) -> bool:
    """Tell whether a list holds texts or objects alone: numbers in brackets may be an interval, or a citation."""
    if isinstance(value, list):
        return all(_is_quoted(item) for item in value)
    return isinstance(value, str | dict | None)
