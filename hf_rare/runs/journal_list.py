"""What lies in a folder of journals, one for each model and its settings: for people who look or clear up."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from hf_rare.errors import JournalError
from hf_rare.runs.completions import rank_value, read_completion
from hf_rare.runs.journal import Journal, Value, iterate_lines
from hf_rare.runs.journal_file import list_files

READ_AT_A_TIME = 1000


@dataclass(frozen=True)
class JournalInfo:
    """A journal in short.

    Args:
        name (`str`): name of its folder, made from the model and the settings.
        folder (`Path`): its folder.
        header (`dict[str, Any]`): model and settings, as its first line has them.
        files (`int`): files, one for each process that wrote.
        size (`int`): bytes.
        last_used (`float`): when it was last written, in seconds since 1970.
    """

    name: str
    folder: Path
    header: dict[str, Any]
    files: int
    size: int
    last_used: float


def list_journals(folder: Path) -> list[JournalInfo]:
    """List the journals in a folder, the one that was written last at the end."""
    infos = []
    for path in folder.iterdir() if folder.is_dir() else ():
        stats = [file.stat() for file in list_files(path)]
        if stats:
            last_used = max(stat.st_mtime for stat in stats)
            size = sum(stat.st_size for stat in stats)
            infos.append(JournalInfo(path.name, path, _read_header(path), len(stats), size, last_used))
    return sorted(infos, key=lambda info: info.last_used)


def find_journal(folder: Path, name: str) -> JournalInfo:
    """Find a journal by its name or by how its name begins.

    Raises:
        JournalError: There is none, or more than one.
    """
    found = [info for info in list_journals(folder) if info.name.startswith(name)]
    if len(found) != 1:
        names = ", ".join(info.name for info in list_journals(folder)) or "none"
        raise JournalError(f"{len(found)} journals in {folder} begin with {name!r}; expected one of: {names}.")
    return found[0]


def iterate_entries(info: JournalInfo) -> Iterator[tuple[str, Value]]:
    """Iterate over key and latest value of all entries, in the order in which they were written."""
    journal = Journal(info.folder, {}, rank_value)
    keys = journal.keys()
    for start in range(0, len(keys), READ_AT_A_TIME):
        for key, value in journal.read(keys[start : start + READ_AT_A_TIME]).items():
            if read_completion(value.get("completion")):  # else it is a note on a job that is under way
                yield key, value


def export_journal(info: JournalInfo) -> datasets.Dataset:
    """Turn a journal into a dataset.

    Returns:
        [`~datasets.Dataset`]: a row for each entry, with `key`, `prompt` (the messages), `completion`,
        `finish_reason`, `error`, `prompt_tokens`, `completion_tokens`, `served_by`, `attempts`, and the teacher's
        `model_id` and `revision`.
    """
    message = {"role": datasets.Value("string"), "content": datasets.Value("string")}
    texts = ("key", "completion", "finish_reason", "error", "served_by", "model_id", "revision")
    numbers = ("prompt_tokens", "completion_tokens", "attempts")
    features = datasets.Features(
        {
            **{name: datasets.Value("string") for name in texts},
            **{name: datasets.Value("int64") for name in numbers},
            "prompt": datasets.List(message),
        }
    )
    return datasets.Dataset.from_list(list(_rows(info)), features=features)


OF_COMPLETIONS = ("finish_reason", "error", "prompt_tokens", "completion_tokens", "served_by")
"""What an export says of a completion besides its text."""


def delete_journal(info: JournalInfo) -> None:
    """Delete a journal with all its completions."""
    shutil.rmtree(info.folder)


def _rows(info: JournalInfo) -> Iterator[dict[str, Any]]:
    for key, value in iterate_entries(info):
        completion = value["completion"]
        yield {
            "key": key,
            "completion": completion["text"],
            **{name: completion.get(name) for name in OF_COMPLETIONS},
            "prompt": value.get("messages", []),
            "attempts": value.get("attempts"),
            "model_id": info.header.get("model_id"),
            "revision": info.header.get("revision"),
        }


def _read_header(folder: Path) -> dict[str, Any]:
    for path in list_files(folder):
        for _, line in iterate_lines(path):
            try:
                header = json.loads(line)
            except ValueError:
                break
            return header if isinstance(header, dict) and "journal" in header else {}
    return {}
