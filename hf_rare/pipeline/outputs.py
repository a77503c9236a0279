"""Datasets to files, by the ending of the path, and the cards and recipes beside them."""

import hashlib
import json
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import datasets
import psutil
import pyarrow as pa

from hf_rare.compat.datasets import by_size_alone
from hf_rare.errors import ConfigError, DatasetFileError, OutputExistsError
from hf_rare.hub.card.header import read_header, split_header
from hf_rare.hub.card.merge import find_blocks, merge_cards
from hf_rare.pipeline.arrow_files import ending_of
from hf_rare.pipeline.files import by_plain_name, is_pattern, match_files
from hf_rare.pipeline.holding import find_what_no_file_holds, without_lost_files, write_json_lines
from hf_rare.pipeline.inputs import SAVED
from hf_rare.rows.parquet import write_parquet
from hf_rare.writers.recipe import recipe_beside
from hf_rare.writers.recipe_checks import Recipe

logger = logging.getLogger(__name__)

CARD_SETTINGS = ("pretty_name", "license", "language")
"""What a card's header says that the one that was there before may say otherwise."""
LEFT_SECONDS = 86_400.0
REPLACED = "replaced"
"""What an output is called that is being replaced, until the new one is in its place."""


def _write_parquet(dataset: datasets.Dataset, path: Path) -> None:
    write_parquet(by_size_alone(dataset), path)


def _save_to_disk(dataset: datasets.Dataset, path: Path) -> None:
    by_size_alone(without_lost_files(dataset)).save_to_disk(
        str(by_plain_name(path.parent.parent) / path.parent.name / path.name)
    )


SAVERS: dict[str, Callable[[datasets.Dataset, Path], object]] = {
    ".parquet": _write_parquet,
    ".jsonl": write_json_lines,
    "": _save_to_disk,
}
"""What writes the rows of a dataset, by the ending of the path."""


def check_output(path: Path, overwrite: bool, inputs: Iterable[str] = ()) -> None:
    """Find out before a run whether its output can be written.

    Args:
        path (`Path`): the output.
        overwrite (`bool`): whether it may be replaced.
        inputs (`Iterable[str]`, *optional*): what the run reads, of which it may replace nothing.

    Raises:
        OutputExistsError: It exists and `overwrite` is false, or it is something that no overwriting should destroy.
        ConfigError: Its ending is unknown.
        DatasetFileError: Its folder cannot be written to.
    """
    if path.suffix not in SAVERS:
        raise ConfigError(f"{path} has an unknown ending. Expected .parquet, .jsonl, or none for a folder.")
    restore_output(path)
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path} exists already. Let it be replaced (`--overwrite`), or choose another output."
        )
    check_apart(path, inputs)
    is_saved_dataset = any((path / name).exists() for name in SAVED)
    if path.is_dir() and any(path.iterdir()) and (path.suffix or not is_saved_dataset):
        raise OutputExistsError(f"{path} is a folder with other things in it. Choose another output.")
    if path.is_file() and not path.suffix:
        raise OutputExistsError(f"{path} is a file, and a saved dataset would be a folder. Choose another output.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise DatasetFileError(f"{folder} cannot be written to. Choose another output.")


def check_apart(path: Path, inputs: Iterable[str]) -> None:
    """Raise [`OutputExistsError`] where an output would replace an input, or a part of one."""
    if not path.exists():
        return
    for name in inputs:
        sources = match_files(name) if is_pattern(name) else [Path(name)]
        if any(_would_replace(path, source) for source in sources if source.exists()):
            raise OutputExistsError(f"{path} is read as {name}, and its rows would be lost. Choose another output.")


def _would_replace(path: Path, source: Path) -> bool:
    """Tell whether what is written in a place that is taken replaces rows of a source, which may be a folder."""
    path, source = path.resolve(), source.resolve()
    if path == source or (path.is_dir() and path in source.parents):
        return True
    is_saved = any((source / name).exists() for name in SAVED)
    is_part = source in path.parents if is_saved else source == path.parent
    return is_part and ((is_saved and path.is_dir()) or path.suffix == ".arrow" or bool(ending_of(path)))


def check_recipe(output: Path, recipe: Recipe) -> None:
    """Find out before a run whether its recipe can lie beside its output.

    Raises:
        OutputExistsError: Another recipe lies there, of a dataset of the same name with another ending.
        DatasetFileError: What lies there cannot be read.
    """
    path, other = recipe_beside(output), _find_namesake(output)
    if output.exists() or other is None or not path.exists():
        return
    try:
        existing = json.loads(path.read_text(encoding="utf-8")) | {"command": None}
    except (OSError, ValueError, TypeError) as err:
        raise DatasetFileError(f"{path}, the recipe of {other}, cannot be read: {err}") from err
    if existing != json.loads(json.dumps(recipe)) | {"command": None}:
        raise OutputExistsError(
            f"{path} is the recipe of {other}, and that of {output} would replace it. Choose another output."
        )


def drop_stale_recipe(output: Path) -> None:
    """Remove the recipe beside an output that rows without one have replaced.

    It stays where there is a dataset of the same name with another ending, which it may belong to.
    """
    if _find_namesake(output) is None:
        recipe_beside(output).unlink(missing_ok=True)


def _find_namesake(output: Path) -> Path | None:
    """Find a dataset that has its recipe in the same place."""
    others = [output.with_suffix(ending) for ending in SAVERS if ending != output.suffix]
    return next((path for path in others if path.exists()), None)


def check_holds(path: Path, dataset: datasets.Dataset) -> None:
    """Find out before a run whether its output can hold the columns that it gets from its input.

    Raises:
        DatasetFileError: It cannot; the message names the column and what can.
    """
    for name, why in find_what_no_file_holds(path.suffix, dataset):
        others = ".parquet, or none for a folder" if path.suffix == ".jsonl" else "none for a folder, or .jsonl"
        raise DatasetFileError(
            f"{path} cannot hold the column {name!r}: {why}. Choose an output with another ending ({others}), or drop "
            "the column first."
        )


def save_output(dataset: datasets.Dataset, path: Path) -> None:
    """Write a dataset beside its place and then move it there, so that no half-written output is ever seen.

    Raises:
        DatasetFileError: It cannot hold the columns, or cannot be written.
    """
    check_holds(path, dataset)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        restore_output(path)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=_prefix(path, os.getpid())) as folder:
            temporary = Path(folder) / "rows"
            SAVERS[path.suffix](dataset, temporary)
            if path.is_dir():  # cannot be replaced at once: until the new one is there, the old one can come back
                path.replace(Path(folder) / REPLACED)
            try:
                temporary.replace(path)
            except BaseException:
                if (Path(folder) / REPLACED).exists():
                    (Path(folder) / REPLACED).replace(path)
                raise
    except (OSError, ValueError, TypeError, pa.ArrowException) as err:
        raise DatasetFileError(f"{path} cannot be written: {type(err).__name__}: {err}") from err


def restore_output(path: Path) -> None:
    """Bring back what a process was replacing when it was killed, and clear up what such processes have left."""
    for folder in path.parent.glob(f"{_prefix(path)}*"):
        machine, _, rest = folder.name.removeprefix(_prefix(path)).partition("-")
        writer = rest.partition("-")[0] if machine == _name_machine() else ""
        if _is_alive(writer, folder):
            continue
        if (folder / REPLACED).exists() and not path.exists():
            (folder / REPLACED).replace(path)
            logger.warning("%s is that of an earlier run: the one that was replacing it was killed.", path)
        shutil.rmtree(folder, ignore_errors=True)


def _is_alive(writer: str, folder: Path) -> bool:
    """Tell whether the process that has made a folder is still there; a later one may have got its number.

    Of other machines nothing is known: what they have not touched for a day is taken for left.
    """
    try:
        if not writer.isdecimal():
            return time.time() - folder.stat().st_mtime < LEFT_SECONDS
        return psutil.Process(int(writer)).create_time() <= folder.stat().st_ctime
    except (psutil.Error, OSError):
        return False


def _prefix(path: Path, writer: int | None = None) -> str:
    """Return how the name of the folder begins in which a process writes an output."""
    name = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()  # fsspec reads more into some names
    return f".hf-rare-{name}-" + (f"{_name_machine()}-{writer}-" if writer is not None else "")


def _name_machine() -> str:
    """Name this machine, since it was started: others have processes of the same numbers."""
    words = f"{socket.gethostname()} {int(psutil.boot_time())}"
    return hashlib.blake2b(words.encode(), digest_size=4).hexdigest()


def write_text(text: str, path: Path) -> None:
    """Write a file beside its place and then move it there."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=_prefix(path, os.getpid())) as folder:
        temporary = Path(folder) / "text"
        temporary.write_bytes(text.encode())
        temporary.replace(path)


def check_results(rows: Path, card: Path, has_run: bool = False, inputs: Iterable[str] = ()) -> None:
    """Find out before a run whether its rows and their card can be written: only those of an earlier run are replaced.

    Args:
        rows (`Path`):
            File for the rows.
        card (`Path`):
            File for their card.
        has_run (`bool`, *optional*, defaults to `False`):
            Whether something else than the card shows that the rows are those of an earlier run.
        inputs (`Iterable[str]`, *optional*):
            What the run reads, of which it may replace nothing.

    Raises:
        OutputExistsError: The rows are an input, the card that is there is not of this library, or there are rows
            without a card.
        ConfigError: The card that is there is one that nothing can be merged into.
        DatasetFileError: The folder cannot be written to.
    """
    check_output(rows, True, inputs)
    try:
        existing = _read_card(card)
    except (OSError, UnicodeDecodeError) as err:
        raise OutputExistsError(f"{card} exists already and cannot be read. Choose another output folder.") from err
    try:
        has_own_part = bool(find_blocks(existing))
        merge_cards(existing, existing)
    except ConfigError as err:
        raise ConfigError(f"{card}: {err}") from err
    if existing.strip() and not has_own_part:
        raise OutputExistsError(
            f"{card} exists already and is no card that was generated here. Choose another output folder."
        )
    if rows.exists() and not has_own_part and not has_run:
        raise OutputExistsError(
            f"{rows} exists already, without the card of an earlier run. Delete it, or choose another output folder."
        )


def save_card(card: str, path: Path) -> None:
    """Write a card, merged into the one that is there: what people have written into that stays, and is logged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    merged = merge_cards(_read_card(path), card)
    write_text(merged, path)
    new, kept = (read_header(split_header(text)[0]) for text in (card, merged))
    if others := [f"{name}: {kept[name]}" for name in CARD_SETTINGS if name in new and kept[name] != new[name]]:
        logger.warning(
            "%s keeps %s. Change it there, or delete the file to have it written anew.", path, ", ".join(others)
        )


def _read_card(path: Path) -> str:
    return path.read_bytes().decode() if path.exists() else ""  # line ends as they are
