"""Rows of a CSV file: every cell is a text, but for columns of lists and what the row contract knows as numbers."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

import datasets

from hf_rare.pipeline.readers.encodings import describe_byte, describe_byte_in, find_encoding
from hf_rare.pipeline.readers.list_cells import read_list
from hf_rare.pipeline.readers.table import Row, RowError
from hf_rare.rows.columns import FEATURES, STATUS

Kind = Literal["texts", "options", "quoted", "numbers", "booleans"]
"""What the cells of a column hold that are no texts; `"quoted"`: lists of texts or objects."""

DELIMITERS = ",;\t|"
"""Delimiters that are found, the likeliest first."""
_LOOKED_AT = 1 << 16
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class CsvFile:
    """A CSV file, and how it is written.

    Args:
        path (`Path`): the file.
        delimiter (`str`, *optional*): what stands between cells; by default it is found.
        encoding (`str`, *optional*): what its bytes mean; by default UTF-8, or what its mark says.
        expected (`Mapping[str, Kind]`, *optional*): columns that are meant as lists of texts (`"texts"`) or as options
            (`"options"`: lists, or objects by letter): a cell of theirs that is none is an error. Other columns are
            lists where all their cells are lists of texts.
    """

    path: Path
    delimiter: str | None = None
    encoding: str | None = None
    expected: Mapping[str, Kind] = field(default_factory=dict)

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
        with self._open() as records:
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
        """Give the rows, with an empty cell as None; `kinds` is what [`read`] has found."""
        header: list[str] = []
        with self._open() as records:
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
                raise RowError(
                    f'{place}, column {name!r}: expected a list, such as ["one", "two"], and the cell {err}: {shown!r}'
                ) from err
            del kinds[name]
            return None

    @contextmanager
    def _open(self) -> Iterator[Iterator[tuple[str, list[str]]]]:
        """Open the file, and give each record with its place: the header, then the rows."""
        encoding = self.encoding or find_encoding(self.path)
        is_wide = encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32"))
        decoded = "utf-8-sig" if encoding == "utf-8" else encoding
        limit = csv.field_size_limit(2**31 - 1)
        try:
            errors = "strict" if is_wide else "surrogateescape"
            with self.path.open(encoding=decoded, errors=errors, newline="") as file:
                yield _check_records(file, self.delimiter or _find_delimiter(file), encoding)
        except UnicodeDecodeError as err:
            raise RowError(describe_byte(err)) from err
        finally:
            csv.field_size_limit(limit)


def _check_records(file: TextIO, delimiter: str, encoding: str) -> Iterator[tuple[str, list[str]]]:
    records = csv.reader(file, delimiter=delimiter, strict=True)
    header: list[str] = []
    number = -1
    while True:
        first_line = records.line_num + 1
        try:
            record = next(records, None)
        except csv.Error as err:
            raise RowError(f"row {number + 1:,} (line {first_line:,}) cannot be read: {_explain(err)}.") from err
        if record is None:
            return
        if not record or (number == -1 and records.line_num == 1 and re.fullmatch(r"sep=.?", "".join(record))):
            continue
        number += 1
        place = f"row {number:,}" if number else "the header"
        if number == 0:
            header = record = _name_columns(record)
        for name, cell in zip(header, record, strict=False):
            if not cell.isascii() and (escaped := re.search("[\udc80-\udcff]", cell)):
                raise RowError(
                    f"{place} (line {first_line:,}), column {name!r}: "
                    f"{describe_byte_in(ord(escaped[0]) - 0xDC00, encoding)}"
                )
        if len(record) != len(header):
            raise RowError(
                f"{place} (line {first_line:,}) has {len(record)} cells, and the header {len(header)}, with "
                f"{delimiter!r} between them."
            )
        yield place, record


def _name_columns(header: list[str]) -> list[str]:
    names = [name or f"Unnamed: {place}" for place, name in enumerate(header)]
    if any("\0" in name for name in names):
        raise RowError("the header has zeros between letters, as UTF-16 without its mark: pass --encoding utf-16-le.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise RowError(f"the header has the column {twice[0]!r} twice.")
    return names


def _explain(err: csv.Error) -> str:
    if "end of data" in str(err):
        return "a quotation mark is opened here and never closed"
    return f"a quotation mark stands inside a cell without being doubled ({err})"


def _find_delimiter(file: TextIO) -> str:
    """Find what stands between cells: what cuts all records into as many cells as the header."""
    start = file.read(_LOOKED_AT)
    is_whole = len(start) < _LOOKED_AT
    file.seek(0)
    if named := re.match(r"sep=(.)\r?\n", start):
        return named[1]
    best, delimiter = (False, 1), DELIMITERS[0]
    for candidate in DELIMITERS:
        records = [record for record in csv.reader(io.StringIO(start, newline=""), delimiter=candidate) if record]
        counts = [len(record) for record in (records if is_whole or len(records) < 2 else records[:-1])]
        if counts and counts[0] > 1 and (len(set(counts)) == 1, counts[0]) > best:
            best, delimiter = (len(set(counts)) == 1, counts[0]), candidate
    return delimiter


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
