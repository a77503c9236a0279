"""Records of a CSV file: how it is written is found, or said."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from hf_rare.pipeline.readers.cells import CellFile, Records, name_columns
from hf_rare.pipeline.readers.encodings import describe_byte, describe_byte_in, find_encoding, find_spoilt, show_spoilt
from hf_rare.pipeline.readers.table import RowError

DELIMITERS = ",;\t|"
"""Delimiters that are found, the likeliest first."""
_LOOKED_AT = 1 << 16


@dataclass(frozen=True, kw_only=True)
class CsvFile(CellFile):
    """A CSV file, and how it is written.

    Args:
        delimiter (`str`, *optional*): what stands between cells; by default it is found.
        encoding (`str`, *optional*): what its bytes mean; by default UTF-8, or what its mark says.
    """

    delimiter: str | None = None
    encoding: str | None = None

    @contextmanager
    def open(self) -> Iterator[Records]:
        """Open the file, and give each record with its place."""
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


def _check_records(file: TextIO, delimiter: str, encoding: str) -> Records:
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
            header = record = name_columns(record)
        for name, cell in zip(header, record, strict=False):
            if (byte := find_spoilt(cell, encoding)) is not None:
                raise RowError(
                    f"{place} (line {first_line:,}), column {show_spoilt(name)!r}: {describe_byte_in(byte, encoding)}"
                )
        if len(record) != len(header):
            raise RowError(
                f"{place} (line {first_line:,}) has {len(record)} cells, and the header {len(header)}, with "
                f"{delimiter!r} between them."
            )
        yield place, record


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
