"""Datasets from and to files, for the command line: by the ending of the path."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import datasets

from hf_rare.errors import InputFileError, OutputExistsError

READERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}
WRITERS: dict[str, Callable[[datasets.Dataset, Path], object]] = {
    ".parquet": lambda dataset, path: dataset.to_parquet(path),
    ".jsonl": lambda dataset, path: dataset.to_json(path, force_ascii=False),
    "": lambda dataset, path: dataset.save_to_disk(path),
}


def load_input(name: str, config_name: str | None = None, split: str = "train") -> datasets.Dataset:
    """Load a dataset.

    Args:
        name (`str`):
            A .json, .jsonl, .csv or .parquet file, a folder from `save_to_disk`, or a name on the Hub.
        config_name (`str`, *optional*):
            Config of a dataset on the Hub.
        split (`str`, *optional*, defaults to `"train"`):
            Split of a dataset on the Hub, or of a saved `DatasetDict`.

    Raises:
        InputFileError: It is none of these, or cannot be read.
    """
    path = Path(name)
    try:
        if path.is_file() and path.suffix in READERS:
            return datasets.load_dataset(READERS[path.suffix], data_files=str(path), split="train")
        if path.is_dir():
            saved = datasets.load_from_disk(str(path))
            return saved[split] if isinstance(saved, datasets.DatasetDict) else saved
        if not path.suffix and not path.exists():
            return datasets.load_dataset(name, config_name, split=split)
    except (OSError, ValueError, KeyError, TypeError, ConnectionError, datasets.exceptions.DatasetsError) as err:
        raise InputFileError(f"{name!r} cannot be read: {type(err).__name__}: {err}") from err
    raise InputFileError(
        f"{name!r} is no input. Expected a .json, .jsonl, .csv or .parquet file, a folder from `save_to_disk`, or a "
        "dataset on the Hub."
    )


def check_output(path: Path, overwrite: bool) -> None:
    """Find out before a run whether its output can be written.

    Raises:
        OutputExistsError: It exists and `overwrite` is false.
        InputFileError: Its ending is unknown.
    """
    if path.suffix not in WRITERS:
        raise InputFileError(f"{path} has an unknown ending. Expected .parquet, .jsonl, or none for a saved dataset.")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists already. Pass --overwrite to replace it, or another --output.")
    path.parent.mkdir(parents=True, exist_ok=True)


def save_output(dataset: datasets.Dataset, path: Path) -> None:
    """Write a dataset beside its place and then move it there, so that no half-written output is ever seen."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        WRITERS[path.suffix](dataset, temporary)
        if temporary.is_dir() and path.exists():
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        temporary.replace(path)
