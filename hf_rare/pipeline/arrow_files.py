"""One file as a dataset, by the Arrow file in the cache of `datasets` that stands for its content.

What was changed is read anew, whatever its time says.
"""

import codecs
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from datasets.table import MemoryMappedTable, table_cast

from hf_rare.errors import ConfigError
from hf_rare.pipeline.files import cache_folder
from hf_rare.pipeline.readers.cells import CellFile, Kind
from hf_rare.pipeline.readers.csv_rows import CsvFile
from hf_rare.pipeline.readers.json_rows import read_json_rows
from hf_rare.pipeline.readers.packing import OPENERS, unpack
from hf_rare.pipeline.readers.sheets import SheetFile
from hf_rare.pipeline.readers.table import ROWS_AT_ONCE, RowError, write_rows
from hf_rare.text import in_one_line

READ_REVISION = 1
"""Bumped by hand whenever the same file is read in another way: what is in the cache goes by it."""

FILE_KINDS = {
    **dict.fromkeys((".json", ".jsonl"), "json"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"), "sheet"),
    ".parquet": "parquet",
}
"""What kind a file is, by its ending."""

HARD_NEGATIVES: Mapping[str, Kind] = {"hard_negatives": "texts"}


@dataclass(frozen=True)
class TextForm:
    """How a text file is written.

    Args:
        delimiter (`str`, *optional*): what stands between the cells of a CSV file; by default it is found.
        encoding (`str`, *optional*): what its bytes mean; by default UTF-8, or what the mark at its beginning says.
        expected (`Mapping[str, Kind]`, *optional*): columns of a CSV file that are meant as lists of texts or as
            options, where a cell that is none is an error; by default the hard negatives.
        sheet (`str`, *optional*): the sheet of a spreadsheet that is read; by default the first.
    """

    delimiter: str | None = None
    encoding: str | None = None
    expected: Mapping[str, Kind] = field(default_factory=lambda: HARD_NEGATIVES)
    sheet: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n\0'):
            raise ConfigError(f"delimiter={self.delimiter!r} cannot be right: expected one character, or \\t.")
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError as err:
            raise ConfigError(f"encoding={self.encoding!r} is unknown: expected such as cp1252.") from err


def ending_of(path: Path) -> str:
    """Return the ending that says how a file is read, not how it is packed; nothing for others."""
    plain = path.with_suffix("") if path.suffix.lower() in OPENERS else path
    ending = plain.suffix.lower()
    return ending if ending in FILE_KINDS else ""


def kind_of(path: Path) -> str:
    """Say what kind of file a path names: `json`, `csv`, `sheet` or `parquet`; nothing for others."""
    return FILE_KINDS.get(ending_of(path), "")


def load_file(path: Path, form: TextForm) -> datasets.Dataset:
    """Load a file by the Arrow file that stands for its content, which is written where it is not there yet.

    Args:
        path (`Path`): the file, of a kind that [`kind_of`] names.
        form ([`TextForm`]): how it is written, if it is a text file.

    Raises:
        RowError: A row cannot be read.
        Exception: Whatever the readers of other libraries raise on a file that is spoilt.
    """
    write = _WRITERS[kind_of(path)]
    how = [write.__name__, path.suffix.lower(), form.delimiter, form.encoding, dict(form.expected), form.sheet]
    digest = _digest(path, [ending_of(path), *how])
    made = cache_folder() / digest / "rows.arrow"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as folder:
            temporary, plain = Path(folder) / made.name, path
            if path.suffix.lower() in OPENERS:
                plain = Path(folder) / f"plain{ending_of(path)}"
                unpack(path, plain)
            write(plain, temporary, form)
            temporary.replace(made)
    table = MemoryMappedTable.from_file(str(made))
    info = datasets.DatasetInfo(features=datasets.Features.from_arrow_schema(table.schema))
    return datasets.Dataset(table, info=info, split=datasets.Split.TRAIN, fingerprint=digest)


def _digest(path: Path, how: list[object]) -> str:
    hasher = xxhash.xxh3_128(json.dumps([READ_REVISION, datasets.__version__, how], sort_keys=True).encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def _write_json(source: Path, target: Path, form: TextForm) -> None:
    read = partial(read_json_rows, source, form.encoding)
    if next(read(), None) is None:
        raise RowError("it holds no rows.")
    write_rows(read, target)


def _write_csv(source: Path, target: Path, form: TextForm) -> None:
    delimiter = "\t" if source.suffix.lower() == ".tsv" and form.delimiter is None else form.delimiter
    _write_cells(CsvFile(path=source, expected=form.expected, delimiter=delimiter, encoding=form.encoding), target)


def _write_sheet(source: Path, target: Path, form: TextForm) -> None:
    _write_cells(SheetFile(path=source, expected=form.expected, sheet=form.sheet), target)


def _write_cells(file: CellFile, target: Path) -> None:
    header, kinds = file.read()
    if not header:
        raise RowError("it holds no rows.")
    types = {name: pa.string() for name in header if name not in kinds}
    types |= {name: pa.list_(pa.string()) for name, kind in kinds.items() if kind == "texts"}
    write_rows(partial(file.rows, kinds), target, types, header)


def _write_parquet(source: Path, target: Path, form: TextForm) -> None:
    with pq.ParquetFile(source) as file:
        plain = pa.schema([field.with_type(_plain_type(field.type)) for field in file.schema_arrow])
        features = datasets.Features.from_arrow_schema(plain.with_metadata(file.schema_arrow.metadata))
        number = 0
        with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_stream(sink, features.arrow_schema) as writer:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                table = pa.Table.from_batches([batch])
                _check_table(table, number)
                writer.write_table(table_cast(table.cast(plain), features.arrow_schema))
                number += len(batch)


_WRITERS: Mapping[str, Callable[[Path, Path, TextForm], None]] = {
    "json": _write_json,
    "csv": _write_csv,
    "sheet": _write_sheet,
    "parquet": _write_parquet,
}
"""What writes the rows of a file into an Arrow file, by its kind."""


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return a type that `datasets` has for one that it has not: of dictionaries their values, of views lists."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(_plain_type(kind.value_type))
    return kind


def check_texts(loaded: datasets.Dataset | datasets.DatasetDict) -> datasets.Dataset | datasets.DatasetDict:
    """Raise [`RowError`] where a text of a saved dataset is no UTF-8."""
    for split in loaded.values() if isinstance(loaded, datasets.DatasetDict) else [loaded]:
        number = 0
        for batch in split.data.table.to_batches(ROWS_AT_ONCE):
            _check_table(pa.Table.from_batches([batch]), number)
            number += len(batch)
    return loaded


def _check_table(table: pa.Table, number: int) -> None:
    """Raise [`RowError`] where a text is no UTF-8: other libraries end the process by it, or read something else.

    Args:
        table (`pa.Table`): some rows.
        number (`int`): how many rows are before them.
    """
    for name in table.column_names:
        try:
            table[name].validate(full=True)
        except pa.ArrowInvalid as err:
            for place in range(len(table)):
                try:
                    table[name].slice(place, 1).validate(full=True)
                except pa.ArrowInvalid:
                    break
            raise RowError(
                f"row {number + place + 1:,}, column {name!r}: {in_one_line(err)}. A text there is no UTF-8."
            ) from err
