"""Which files a name stands for: those that a pattern matches or a folder holds, or those near one that is missing.

And the names that other libraries find them by.
"""

import difflib
import glob
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import datasets

from hf_rare.errors import DatasetFileError
from hf_rare.paths import is_folder, is_there

_SPLIT = re.compile(r"(train|training|validation|valid|val|dev|test|eval)(?=[._-])", re.IGNORECASE)
"""How the name of a shard begins that says which split it is of."""


def is_pattern(name: str) -> bool:
    """Tell whether a name that no file has stands for several."""
    return glob.has_magic(name) and not is_there(name)


def match_files(name: str) -> list[Path]:
    """List the files that a pattern matches, by name.

    Raises:
        DatasetFileError: There are none, or it is no pattern.
    """
    pattern = Path(name)
    start = Path(pattern.anchor)
    try:
        found = sorted(path for path in start.glob(str(pattern.relative_to(start))) if path.is_file())
    except (ValueError, OSError, re.error) as err:
        raise DatasetFileError(f"{name!r} is no pattern of files: {err}.") from err
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        folder = pattern.parent
        is_missing = not glob.has_magic(str(folder)) and not is_folder(folder)
        hint = f" There is no folder {str(folder)!r}." if is_missing else ""
        raise DatasetFileError(f"{name!r} is no input: there is no such file, and as a pattern it matches none.{hint}")
    return found


def list_shards(folder: Path, ending_of: Callable[[Path], str]) -> list[Path]:
    """List the files of a folder that hold rows, all of one kind; of JSON only where there is nothing else.

    Args:
        folder (`Path`):
            The folder.
        ending_of (`Callable`):
            Gives the ending by which a file is read; nothing for one that is not.

    Raises:
        DatasetFileError: There are none, or those of several kinds or splits.
    """
    kinds: dict[str, list[Path]] = {}
    try:
        entries = sorted(folder.iterdir())
    except OSError as err:
        raise DatasetFileError(f"{str(folder)!r} cannot be read: {err}.") from err
    for path in entries:
        if path.is_file() and not path.name.startswith((".", "_")) and (ending := ending_of(path)):
            kinds.setdefault(ending, []).append(path)
    if len(kinds) > 1:
        kinds.pop(".json", None)  # which describe others, as dataset_info.json does
    if not kinds:
        inner = next((path for path in sorted(folder.glob("*/*")) if path.is_file() and ending_of(path)), None)
        hint = f" Did you mean {str(inner.parent)!r}?" if inner is not None else ""
        raise DatasetFileError(
            f"{str(folder)!r} is no input: it was not written by `save_to_disk`, and has no files of rows.{hint}"
        )
    if len(kinds) > 1:
        one, other, *_ = (paths[0].name for paths in kinds.values())
        raise DatasetFileError(
            f"{str(folder)!r} holds files of several kinds, such as {one!r} and {other!r}. Pass a pattern, in quotes: "
            f"{str(folder / f'*{next(iter(kinds))}')!r}."
        )
    (shards,) = kinds.values()
    _check_splits(folder, shards)
    return shards


def _check_splits(folder: Path, shards: list[Path]) -> None:
    """Raise where the names of shards say that they are of several splits."""
    splits: Mapping[str, str] = {match[0].lower(): path.name for path in shards if (match := _SPLIT.match(path.name))}
    if len(splits) > 1:
        (name, one), (_, other), *_ = splits.items()
        raise DatasetFileError(
            f"{str(folder)!r} holds several splits, such as {one!r} and {other!r}. Pass a pattern, in quotes: "
            f"{str(folder / f'{name}*')!r}."
        )


def suggest(path: Path) -> str:
    """Say which names are near one that is missing; nothing where none is."""
    parent = path.parent
    if not is_folder(parent):
        return f" There is no folder {str(parent)!r}."
    try:
        names = [other.name for other in parent.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(str(parent / name)) for name in near)}?" if near else ""


def by_plain_name(path: Path) -> Path:
    """Return a path to a folder under which other libraries find it: by a link, where its name means more to them.

    fsspec cuts `a::b` in two, and `Dataset.map` makes a regular expression of the path to a file.
    """
    path = path.absolute()
    if re.fullmatch(r"[\w /.~=,:@%#&-]*", str(path)) and "::" not in str(path):
        return path
    folder = cache_folder() / "links"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest()
    if not link.is_symlink():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            made = Path(temporary) / "link"
            made.symlink_to(path)
            made.replace(link)
    return link


def cache_folder() -> Path:
    """Return the folder for what is made of inputs, in the cache of `datasets`."""
    return Path(datasets.config.HF_DATASETS_CACHE) / "hf-rare"
