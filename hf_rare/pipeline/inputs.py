"""Datasets from files, from folders, and from the Hub, by what a name says. A path is a path, in any characters."""

import dataclasses
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from hf_rare.errors import ConfigError, DatasetFileError
from hf_rare.paths import is_folder, is_there
from hf_rare.pipeline.arrow_files import TextForm, check_texts, ending_of, kind_of, load_file
from hf_rare.pipeline.files import by_plain_name, is_pattern, list_shards, match_files, suggest
from hf_rare.pipeline.readers.cells import Kind
from hf_rare.pipeline.readers.table import RowError
from hf_rare.prompts.prompt import input_columns
from hf_rare.rows.column_types import describe
from hf_rare.settings.writers import DistillConfig
from hf_rare.text import in_one_line
from hf_rare.writers.base import ColumnWriter

INPUT_KINDS = (
    "a .json, .jsonl, .csv, .tsv, .xlsx or .parquet file (or one of these packed as .gz, .bz2, .xz or .zst), a "
    "pattern such as 'data/*.jsonl', a folder of such files or from `save_to_disk`, or a dataset on the Hub"
)
SAVED = ("state.json", "dataset_dict.json")
"""Files by which a folder from `save_to_disk` is known."""
_SPOILT = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError),
    pa.ArrowException,
)
"""What readers of other libraries raise on files that are spoilt, or of another kind."""


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
        if not kind_of(path) and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
            return _load_from_hub(name, config_name, split, form)
        raise DatasetFileError(f"{name!r} is no input: there is nothing there.{suggest(path)} Expected {INPUT_KINDS}.")
    if config_name is not None and kind_of(path) == "sheet":
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
    kind = kind_of(path)
    for setting, value, kinds in (
        ("delimiter", form.delimiter, ("CSV",)),
        ("encoding", form.encoding, ("CSV", "JSON")),
    ):
        if value is not None and kind.upper() not in kinds:
            raise ConfigError(f"{setting}={value!r} is for {' and '.join(kinds)} files; {name!r} is none.")
    try:
        if path.is_dir():
            return check_texts(datasets.load_from_disk(str(by_plain_name(path))))
        if kind:
            return load_file(path, form)
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
