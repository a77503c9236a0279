"""Records of a spreadsheet: one sheet, whose cells become the texts that a CSV file would have."""

import datetime
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hf_rare.errors import MissingPackageError
from hf_rare.pipeline.readers.cells import CellFile, Records, name_columns
from hf_rare.pipeline.readers.table import RowError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SheetFile(CellFile):
    """A spreadsheet.

    Args:
        sheet (`str`, *optional*): the sheet that is read; by default the first that holds anything.
    """

    sheet: str | None = None

    @contextmanager
    def open(self) -> Iterator[Records]:
        """Open the file, and give each record with its place.

        Raises:
            MissingPackageError: python-calamine is not installed.
            RowError: It is no spreadsheet, or has no such sheet.
        """
        try:
            import python_calamine
        except ImportError as err:
            raise MissingPackageError(
                f"Spreadsheets need a package: {err}. Install it: `pip install hf-rare[excel]`. Or save the sheet as "
                "CSV."
            ) from err
        try:
            with python_calamine.load_workbook(str(self.path)) as workbook:
                yield _check_records(self._choose(workbook))
        except python_calamine.CalamineError as err:
            raise RowError(f"it is no spreadsheet, is damaged, or has a password: {err}.") from err

    def _choose(self, workbook: Any) -> Any:
        """Choose the sheet, and log where there are others."""
        names = list(workbook.sheet_names)
        if self.sheet is not None and self.sheet not in names:
            raise RowError(f"it has no sheet {self.sheet!r}; it has {', '.join(map(repr, names))}.")
        if self.sheet is not None:
            return workbook.get_sheet_by_name(self.sheet)
        filled = [sheet for sheet in map(workbook.get_sheet_by_name, names) if sheet.height]
        if not filled:
            raise RowError("it holds no rows.")
        if len(filled) > 1:
            others = ", ".join(repr(sheet.name) for sheet in filled[1:])
            _tell_others(self.path.name, filled[0].name, others)
        return filled[0]


@lru_cache(maxsize=64)  # a file is read more than once
def _tell_others(name: str, sheet: str, others: str) -> None:
    logger.warning(
        "Of %s the sheet %r is read; it also has %s. Pass config_name=... for another one.", name, sheet, others
    )


def _check_records(sheet: Any) -> Records:
    """Return the records of a sheet: rows of empty cells are none, and so are columns without a name and a value."""
    width = max((len(_drop_empty_end(cells)) for cells in map(_read_cells, sheet.iter_rows())), default=0)
    header: list[str] = []
    number = 0
    for cells in map(_read_cells, sheet.iter_rows()):
        if not any(cells):
            continue
        record = [*cells, *[""] * width][:width]
        if header:
            number += 1
            yield f"row {number:,}", record
        else:
            header = name_columns(record)
            yield "the header", header


def _drop_empty_end(cells: list[str]) -> list[str]:
    return cells[: max((place for place, cell in enumerate(cells, start=1) if cell), default=0)]


def _read_cells(values: list[Any]) -> list[str]:
    return [_write(value) for value in values]


def _write(value: Any) -> str:
    """Write the value of a cell as CSV files do: whole numbers without a point, dates as ISO 8601."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
