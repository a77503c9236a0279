"""How many tokens a second were written, over the time of the runs that a journal holds."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hf_rare.errors import JournalError
from hf_rare.runs.journal import iterate_lines
from hf_rare.runs.journal_file import list_files

BINS = 60
"""Most stretches of time."""
COMPLETIONS = 8
"""Completions that a stretch has on average, or more: tokens count when their completion ends, and a few that end
together would look like much in shorter stretches."""


@dataclass(frozen=True)
class Speed:
    """What was written when.

    Args:
        begun (`float`): when the first run began, in seconds since 1970.
        width (`float`): seconds of each stretch of time.
        rates (`list[float]`): tokens a second in each stretch, from `begun` on.
        completions (`int`): how many completions that were.
        tokens (`int`): their tokens.
    """

    begun: float
    width: float
    rates: list[float]
    completions: int
    tokens: int


def read_speed(folder: str | Path) -> Speed | None:
    """Read a journal for how fast it was written.

    An entry counts when it was written. One that does not say when counts evenly over the time in which its file was
    written, from the first line to the last change of the file.

    Args:
        folder (`str` or `Path`): the folder of one journal.

    Returns:
        [`Speed`]: tokens a second over time; `None` where nothing was written.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    folder = Path(folder)
    try:
        spans = [span for path in list_files(folder) for span in _read_spans(path)]
    except OSError as err:
        raise JournalError(f"The journal {folder} cannot be read: {err}.") from err
    if not spans and not list_files(folder):
        raise JournalError(
            f"{folder} holds no journal: no .jsonl file is in it. Pass the folder of one journal, which "
            "`hf-rare journal ls` names."
        )
    written = [span for span in spans if span[2]]
    if not written:
        return None
    begun, ended = min(start for start, _, _ in spans), max(end for _, end, _ in spans)
    bins = min(BINS, max(1, len(written) // COMPLETIONS))
    width = max((ended - begun) / bins, 1.0)
    tokens = [0.0] * bins
    for start, end, count in written:
        first, last = (min(int((time - begun) / width), bins - 1) for time in (start, end))
        for place in range(first, last + 1):
            low, high = begun + place * width, begun + (place + 1) * width
            share = (min(end, high) - max(start, low)) / (end - start) if end > start else 1
            tokens[place] += count * share
    rates = [count / width for count in tokens]
    while len(rates) > 1 and not rates[-1]:
        rates.pop()
    return Speed(begun, width, rates, len(written), sum(count for _, _, count in written))


def _read_spans(path: Path) -> Iterator[tuple[float, float, int]]:
    """Iterate over when entries were written, and their tokens: first that of the file's beginning, without tokens."""
    changed = path.stat().st_mtime
    created = changed
    for _, line in iterate_lines(path):
        try:
            entry = json.loads(line)
        except ValueError:  # a crash has torn it
            continue
        if not isinstance(entry, dict):
            continue
        if isinstance(began := entry.get("created"), int | float):
            created = float(began)
            yield created, created, 0
        value = entry.get("value")
        completion = value.get("completion") if isinstance(value, dict) else None
        tokens = completion.get("completion_tokens") if isinstance(completion, dict) else None
        if isinstance(value, dict) and isinstance(tokens, int):
            written = value.get("written")
            if isinstance(written, int | float):
                yield float(written), float(written), tokens
            else:
                yield created, max(created, changed), tokens
