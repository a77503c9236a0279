"""Datasets from files, from folders, and from the Hub, by what a name says.

A path is a path, whatever characters it has. A file goes through an Arrow file in the cache of `datasets` that is
known by its content: what was changed is read anew, whatever its time says.
"""

import codecs
import dataclasses
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from datasets.table import MemoryMappedTable, table_cast

from hf_rare.errors import ConfigError, DatasetFileError
from hf_rare.paths import is_folder, is_there
from hf_rare.pipeline.files import is_pattern, list_shards, match_files, suggest
from hf_rare.pipeline.readers.cells import CellFile, Kind
from hf_rare.pipeline.readers.csv_rows import CsvFile
from hf_rare.pipeline.readers.json_rows import read_json_rows
from hf_rare.pipeline.readers.packing import OPENERS, unpack
from hf_rare.pipeline.readers.sheets import SheetFile
from hf_rare.pipeline.readers.table import ROWS_AT_ONCE, RowError, write_rows
from hf_rare.prompts.prompt import input_columns
from hf_rare.rows.column_types import describe
from hf_rare.settings.writers import DistillConfig
from hf_rare.text import in_one_line
from hf_rare.writers.base import ColumnWriter

READ_REVISION = 1
"""Bumped by hand whenever the same file is read in another way: what is in the cache goes by it."""

INPUT_KINDS = (
    "a .json, .jsonl, .csv, .tsv, .xlsx or .parquet file (or one of these packed as .gz, .bz2, .xz or .zst), a "
    "pattern such as 'data/*.jsonl', a folder of such files or from `save_to_disk`, or a dataset on the Hub"
)
SAVED = ("state.json", "dataset_dict.json")
"""Files by which a folder from `save_to_disk` is known."""
HARD_NEGATIVES: Mapping[str, Kind] = {"hard_negatives": "texts"}
_SPOILT = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError),
    pa.ArrowException,
)
"""What readers of other libraries raise on files that are spoilt, or of another kind."""


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


def expect_columns(writer: ColumnWriter[Any, Any]) -> dict[str, Kind]:
    """Say which of the columns that a writer reads are meant as lists or as options."""
    return _expect(writer.config, [*writer.input_columns, *writer.optional_columns])


def expect_inputs(config: DistillConfig) -> dict[str, Kind]:
    """Say which of the columns that a student's prompt is made of are meant as lists or as options."""
    return _expect(config, input_columns(config))


def expect_settings(config: object) -> dict[str, Kind]:
    """Say which of the columns that settings name are meant as lists or as options."""
    settings: dict[str, Kind] = {"hard_negatives_column": "texts", "options_column": "options"}
    return {
        name: kind
        for setting, kind in settings.items()
        if isinstance(name := getattr(config, setting, None), str)  # several columns hold texts
    }


def _expect(config: object, read: Collection[str]) -> dict[str, Kind]:
    return {name: kind for name, kind in expect_settings(config).items() if name in read}


def load_input(
    name: str, config_name: str | None = None, split: str | None = None, form: TextForm | None = None
) -> datasets.Dataset:
    """Load a dataset.

    Args:
        name (`str`):
            A .json, .jsonl, .csv, .tsv, .xlsx or .parquet file, or one of these packed as .gz, .bz2, .xz or .zst; a
            pattern such as `data/*.jsonl`; a folder of such files, or one from `save_to_disk`; or a name on the Hub.
            The cells of a CSV file and of a spreadsheet are texts; a column of lists of texts is known by its cells.
        config_name (`str`, *optional*):
            Config of a dataset on the Hub, or sheet of a spreadsheet.
        split (`str`, *optional*):
            Split, or a part of it such as `train[:100]`. By default `train`; of a saved `Dataset` all.
        form ([`TextForm`], *optional*):
            How a text file is written.

    Raises:
        ConfigError: `split`, `config_name` or `form` is not for what it is.
        DatasetFileError: It is none of these, or cannot be read; or it has no such split.
    """
    path = Path(name)
    if not is_there(path) and not is_pattern(name):
        if not ending_of(path) and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
            return _load_from_hub(name, config_name, split, form)
        raise DatasetFileError(f"{name!r} is no input: there is nothing there.{suggest(path)} Expected {INPUT_KINDS}.")
    if config_name is not None and READERS.get(ending_of(path)) is _write_sheet:
        form, config_name = dataclasses.replace(form or TextForm(), sheet=config_name), None
    loaded = load_local(name, form)
    if config_name is not None:
        raise ConfigError(f"{name!r} is a file or folder, and has no config {config_name!r}. Leave out config_name.")
    if not sum(map(len, loaded.values() if isinstance(loaded, datasets.DatasetDict) else [loaded])):
        raise DatasetFileError(f"{name!r} holds no rows.")
    return _select(loaded, split, name)


def load_local(name: str, form: TextForm | None = None) -> datasets.Dataset | datasets.DatasetDict:
    """Load a file, several files or a saved folder as they are: of a saved `DatasetDict` all splits.

    Raises:
        ConfigError: `form` is not for what it is.
        DatasetFileError: It is none of these, cannot be read, or the files have different columns.
    """
    path, form = Path(name), form or TextForm()
    if not name:  # which would be the folder that one is in
        raise DatasetFileError(f"The name of an input is empty. Expected {INPUT_KINDS}.")
    if is_pattern(name):
        return _load_files(match_files(name), form)
    if path.is_dir() and not any((path / saved).exists() for saved in SAVED):
        return _load_files(list_shards(path, ending_of), form)
    reader = READERS.get(ending_of(path))
    is_text = reader in (_write_csv, _write_json)
    for setting, value in (("delimiter", form.delimiter), ("encoding", form.encoding)):
        if value is not None and (not is_text or (setting == "delimiter" and reader is _write_json)):
            kinds = "CSV and JSON" if setting == "encoding" else "CSV"
            raise ConfigError(f"{setting}={value!r} is for {kinds} files; {name!r} is none.")
    try:
        if path.is_dir():
            return _check_texts(datasets.load_from_disk(str(by_plain_name(path))))
        if reader is not None:
            return _load_file(path, reader, form)
    except RowError as err:
        raise DatasetFileError(f"{name!r} cannot be read: {err}") from err
    except _SPOILT as err:
        raise DatasetFileError(f"{name!r} cannot be read: {type(err).__name__}: {in_one_line(err)}") from err
    raise DatasetFileError(f"{name!r} is no input. Expected {INPUT_KINDS}.")


def _load_files(paths: Sequence[Path], form: TextForm) -> datasets.Dataset:
    """Load several files, one after the other, as one dataset.

    Raises:
        DatasetFileError: One cannot be read, or two have different columns.
    """
    parts: list[datasets.Dataset] = []
    for path in paths:
        part = load_local(str(path), form)
        if isinstance(part, datasets.DatasetDict):
            raise DatasetFileError(f"{str(path)!r} has several splits, and cannot be read beside other files.")
        first = parts[0] if parts else part
        if lacking := set(part.column_names) ^ set(first.column_names):
            raise DatasetFileError(
                f"{str(paths[0])!r} and {str(path)!r} have different columns: only one of them has "
                f"{', '.join(map(repr, sorted(lacking)))}. Pass files with the same columns."
            )
        parts.append(part.select_columns(first.column_names))
    known = parts[0].select(range(min(1, len(parts[0]))))
    for path, part in zip(paths[1:], parts[1:], strict=True):
        try:  # of one row each: which files do not go together is found out without joining all of them each time
            joined = datasets.concatenate_datasets([known, part.select(range(min(1, len(part))))])
        except (ValueError, pa.ArrowException) as err:
            pairs = {name: (feature, part.features[name]) for name, feature in known.features.items()}
            differing = [
                f"{name!r} holds {describe(one)}, and {describe(other)}"
                for name, (one, other) in pairs.items()
                if one != other
            ]
            raise DatasetFileError(
                f"{str(path)!r} has columns of other types than {str(paths[0])!r} and those between: "
                f"{'; '.join(differing)}. Write them with the same types."
            ) from err
        known = joined
    return datasets.concatenate_datasets(parts) if len(parts) > 1 else parts[0]


def load_splits(
    name: str, split: str | None = None, form: TextForm | None = None
) -> datasets.Dataset | datasets.DatasetDict:
    """Load a dataset as [`load_input`] does; without `split`, a saved `DatasetDict` as a whole.

    What is no `DatasetDict` has no split of its own: a name is then that of the one that it is to become.

    Raises:
        ConfigError: `split` or `form` is not for what it is.
        DatasetFileError: It cannot be read.
    """
    if not is_there(name) and not is_pattern(name):
        return load_input(name, None, split, form)
    loaded = load_local(name, form)
    if split is None or (split.isidentifier() and isinstance(loaded, datasets.Dataset)):
        return loaded
    if not sum(map(len, loaded.values() if isinstance(loaded, datasets.DatasetDict) else [loaded])):
        raise DatasetFileError(f"{name!r} holds no rows.")
    return _select(loaded, split, name)


def by_plain_name(path: Path) -> Path:
    """Return a path to a folder under which other libraries find it: by a link, where its name means more to them.

    fsspec cuts `a::b` in two, and `Dataset.map` makes a regular expression of the path to a file.
    """
    path = path.absolute()
    if re.fullmatch(r"[\w /.~=,:@%#&-]*", str(path)) and "::" not in str(path):
        return path
    folder = _cache_folder() / "links"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest()
    if not link.is_symlink():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            made = Path(temporary) / "link"
            made.symlink_to(path)
            made.replace(link)
    return link


def ending_of(path: Path) -> str:
    """Return the ending that says how a file is read, not how it is packed; nothing for others."""
    plain = path.with_suffix("") if path.suffix.lower() in OPENERS else path
    ending = plain.suffix.lower()
    return ending if ending in READERS else ""


def _cache_folder() -> Path:
    return Path(datasets.config.HF_DATASETS_CACHE) / "hf-rare"


def _load_from_hub(name: str, config_name: str | None, split: str | None, form: TextForm | None) -> datasets.Dataset:
    if form is not None and (form.delimiter or form.encoding):
        raise ConfigError(f"delimiter= and encoding= are for files; {name!r} is a name on the Hub.")
    try:
        return datasets.load_dataset(name, config_name, split=split or "train")
    except StopIteration as err:
        raise DatasetFileError(f"{name!r} holds no rows.") from err
    except (*_SPOILT, datasets.exceptions.DatasetsError) as err:
        near = suggest(Path(name)) if is_folder(Path(name).parent) else ""
        raise DatasetFileError(f"{name!r} cannot be read: {type(err).__name__}: {in_one_line(err)}{near}") from err


def _select(loaded: datasets.Dataset | datasets.DatasetDict, split: str | None, name: str) -> datasets.Dataset:
    """Select a split, or parts of splits, as `datasets` writes them."""
    if split is None and isinstance(loaded, datasets.Dataset):
        return loaded
    wanted = "train" if split is None else split
    splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded, str(loaded.split): loaded}
    try:
        lengths = {one: len(rows) for one, rows in splits.items()}
        parts = datasets.ReadInstruction.from_spec(wanted).to_absolute(lengths)
    except (ValueError, AssertionError, KeyError) as err:
        names = ", ".join(map(repr, loaded)) if isinstance(loaded, datasets.DatasetDict) else "'train' alone"
        if wanted.partition("[")[0] in splits:
            raise ConfigError(
                f"split={wanted!r} cannot be read ({err}). Expected a split or a part of it, such as 'train[:100]' "
                "or 'train[10%:20%]'."
            ) from err
        advice = "Pass the name of one" if isinstance(loaded, datasets.DatasetDict) else "Leave it out"
        raise DatasetFileError(f"split={wanted!r}: {name!r} has no such split; it has {names}. {advice}.") from err
    chosen = []
    for part in parts:
        rows = splits[part.splitname]
        start, stop = part.from_ or 0, len(rows) if part.to is None else part.to
        chosen.append(rows if stop - start == len(rows) else rows.select(range(start, max(start, stop))))
    return chosen[0] if len(chosen) == 1 else datasets.concatenate_datasets(chosen)


def _load_file(path: Path, write: Callable[[Path, Path, TextForm], None], form: TextForm) -> datasets.Dataset:
    """Load a file by the Arrow file that stands for its content, which is written where it is not there yet."""
    how = [write.__name__, path.suffix.lower(), form.delimiter, form.encoding, dict(form.expected), form.sheet]
    digest = _digest(path, [ending_of(path), *how])
    made = _cache_folder() / digest / "rows.arrow"
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


READERS: Mapping[str, Callable[[Path, Path, TextForm], None]] = {
    ".json": _write_json,
    ".jsonl": _write_json,
    ".csv": _write_csv,
    ".tsv": _write_csv,
    **dict.fromkeys((".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"), _write_sheet),
    ".parquet": _write_parquet,
}
"""What writes the rows of a file into an Arrow file, by its ending."""


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return a type that `datasets` has for one that it has not: of dictionaries their values, of views lists."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(_plain_type(kind.value_type))
    return kind


def _check_texts(loaded: datasets.Dataset | datasets.DatasetDict) -> datasets.Dataset | datasets.DatasetDict:
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
