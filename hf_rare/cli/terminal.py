"""What people and scripts see: texts and logs that cannot steer a terminal, JSON, and exit statuses."""

import argparse
import contextlib
import importlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_rare.errors import HfRareError
from hf_rare.text import clean, show_count


@dataclass(frozen=True)
class Outcome:
    """What a command has done.

    Args:
        text (`object`, *optional*): for people; it may hold words of documents, models and servers. `None` where
            another process of the job speaks.
        data (`Mapping[str, Any]`): the same for scripts, behind `--json`.
        status (`int`, *optional*, defaults to 0): the exit status.
    """

    text: object
    data: Mapping[str, Any]
    status: int = 0


def add_manner(parser: argparse.ArgumentParser) -> None:
    """Add how a command speaks."""
    manner = parser.add_argument_group("for scripts")
    manner.add_argument("--json", action="store_true", help="print one JSON object, and nothing else, on stdout")
    manner.add_argument("--quiet", action="store_true", help="no progress bars and no words but errors")


@contextlib.contextmanager
def speaking(arguments: argparse.Namespace) -> Iterator[None]:
    """Show warnings on `stderr`, where nothing else has been set up.

    Bars are for terminals: a log gets a line a minute, and a command that is to be quiet nothing.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(CleanFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.ERROR if arguments.quiet else logging.WARNING)
    if not arguments.quiet and sys.stderr.isatty():
        yield
        return
    import datasets

    hub: Any = importlib.import_module("huggingface_hub.utils.tqdm")  # `import` gives the class of that name
    progress = logging.getLogger("hf_rare.runs.progress")
    level, switches = progress.level, [one for one in (datasets, hub) if not one.are_progress_bars_disabled()]
    hub.disable_progress_bars()  # also those of transformers, which looks when it is imported
    datasets.disable_progress_bars()
    progress.setLevel(logging.WARNING if arguments.quiet else logging.INFO)
    try:
        yield
    finally:
        progress.setLevel(level)
        for switch in switches:
            switch.enable_progress_bars()


def tell(arguments: argparse.Namespace, text: object = "") -> None:
    """Say something on the way, which may hold words of documents, models and servers."""
    if not arguments.quiet and not arguments.json:
        print(clean(text), flush=True)


def say_where(number: int, noun: str, path: Path) -> str:
    """Say where things are, such as `2 rows are in traces.parquet`."""
    return f"{show_count(number, noun)} {'is' if number == 1 else 'are'} in {path}"


def finish(arguments: argparse.Namespace, outcome: Outcome) -> int:
    """Print what a command has done; give its exit status."""
    if outcome.text is not None and arguments.json:
        print(json.dumps(outcome.data, default=_as_json))
    elif outcome.text is not None:
        tell(arguments, outcome.text)
    return outcome.status


def fail(arguments: argparse.Namespace, error: BaseException, text: str, status: int) -> int:
    """Say why a command has failed; give its exit status.

    With `HF_RARE_TRACEBACK=1` in the environment, where it was raised is said too.
    """
    if os.environ.get("HF_RARE_TRACEBACK") == "1":
        print(clean("".join(traceback.format_exception(error))), file=sys.stderr)
    if arguments.json:
        print(json.dumps({"error": type(error).__name__, "message": clean(str(error)), "status": status}))
    flags = arguments.parser.flags_of(str(error)) if isinstance(error, HfRareError) else []
    as_flags = f" As flags: {', '.join(flags)}." if flags else ""
    print(clean(f"hf-rare: {text}{as_flags}"), file=sys.stderr)
    return status


def _as_json(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON.")


class CleanFormatter(logging.Formatter):
    """Formats records as ever, and cleans what comes out of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return clean(super().format(record))
