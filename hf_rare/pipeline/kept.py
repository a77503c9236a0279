"""What the stages of a pipeline have left: rows, and beside them a note of what they were made with.

Whether that is what they would be made with now decides whether a stage is skipped.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

from hf_rare.compat.datasets import fingerprint_of
from hf_rare.generation.revisions import digest_folder, is_local
from hf_rare.pipeline.files import by_plain_name
from hf_rare.pipeline.outputs import save_output, write_text
from hf_rare.pipeline.settings import CHANGE_NO_ROW, Settings
from hf_rare.text import shorten

logger = logging.getLogger(__name__)

MOST_OF_A_REASON = 300
"""Characters of why a stage is made again."""

NOTE = "stage.json"
"""The file beside the rows of a stage that says what they were made with."""


def read_note(path: Path) -> Settings:
    """Read what a stage has noted of itself; nothing where it has not ended, or where that is damaged."""
    try:
        note = json.loads((path / NOTE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as err:
        logger.warning("%s is damaged, and is made again: %s: %s", path, type(err).__name__, err)
        return {}
    return note if isinstance(note, dict) else {}


def say_what_differs(existing: Settings, note: Settings) -> str:
    """Say why the rows that a stage has left are not those that it would make now."""
    if not existing or existing.get("key") == note["key"]:
        return ""
    if existing.get("version") != note["version"]:
        return f"they were made by hf_rare {existing.get('version')}, and this is {note['version']}"
    before, now = existing.get("settings"), note["settings"]
    before = before if isinstance(before, dict) else {}
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    reasons = [f"{name} is {now.get(name)!r} and was {before.get(name)!r}" for name in changed]
    if existing.get("before") != note["before"]:
        reasons.insert(0, "the rows before them are others")
    return shorten("; ".join(reasons) or "what they depend on has changed", MOST_OF_A_REASON)


def load_rows(path: Path, note: Settings, key: str) -> datasets.Dataset | None:
    """Return the rows that a stage has left, where they have this key and are all there; else `None`."""
    if note.get("key") != key:
        return None
    try:
        rows = datasets.load_from_disk(str(by_plain_name(path / "rows")))
        is_whole = isinstance(rows, datasets.Dataset) and len(rows) == note.get("rows") and bool(rows[-1])
    except FileNotFoundError:
        return None
    except Exception as err:  # a damaged file can raise anything
        logger.warning("%s is damaged, and is made again: %s: %s", path, type(err).__name__, err)
        return None
    if not is_whole:
        logger.warning("%s is damaged, and is made again: it does not have the rows of which %s speaks.", path, NOTE)
    return rows if is_whole else None


def save_rows(rows: datasets.Dataset, path: Path, note: Settings) -> datasets.Dataset:
    """Keep the rows of a stage in the place of those that are there; give them as they are read again."""
    shutil.rmtree(path, ignore_errors=True)
    save_output(rows, path / "rows")
    text = json.dumps({**note, "rows": len(rows)}, indent=2)
    write_text(text + "\n", path / NOTE)  # last, so that half a stage has none
    return datasets.load_from_disk(str(by_plain_name(path / "rows")))


def describe_stage(settings: Settings) -> str:
    """Return all that a stage depends on which runs no writer: datasets by fingerprint, model folders by digest."""
    dense = settings.get("dense")
    named = [settings.get(name) for name in ("model", "student", "distractor_model", "adapter")]
    models = [*named, dense.get("cross_encoder") if isinstance(dense, Mapping) else None]
    digests = [_digest_model(Path(name)) for name in models if isinstance(name, str) and is_local(name)]
    changing = {name: value for name, value in settings.items() if name not in CHANGE_NO_ROW}
    return json.dumps([changing, digests], sort_keys=True, default=identify)


def _digest_model(folder: Path) -> list[str]:
    """Digest a folder of sentence-transformers, whose modules lie in folders of their own."""
    return [digest_folder(path) for path in (folder, *sorted(path for path in folder.rglob("*") if path.is_dir()))]


def identify(value: Any) -> str:
    """Write a value for a note that JSON cannot hold: a dataset by its fingerprint."""
    return fingerprint_of(value) if isinstance(value, datasets.Dataset) else str(value)
