"""Counts what came of attacks, for the table at the end of `make attack` and its result in `benchmarks/results/`."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import save_result

IS_WHOLE = os.environ.get("HF_RARE_ATTACK") == "whole"
"""Whether every attack is made as often as `make attack` makes it; else a few of each."""

KINDS = len(list(Path(__file__).parent.glob("test_*.py")))
COLUMNS = ("tried", "lost", "repeated", "hung", "let in", "foreign exceptions")


@pytest.fixture
def count(request, record_property) -> Callable[..., None]:
    """Count what came of tries, under the name of the test module: `count(tried=3, lost=0)`."""
    counts: Counter[str] = Counter()
    name = request.module.__doc__.splitlines()[0].rstrip(".").split(":")[0]

    def add(**more: int) -> None:
        counts.update({key.replace("_", " "): value for key, value in more.items()})
        record_property("attack", (name, dict(counts)))

    return add


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, and save that of whole attacks of every kind."""
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for reports in terminalreporter.stats.values():
        for report in reports:
            latest = dict(value for key, value in getattr(report, "user_properties", ()) if key == "attack")
            if getattr(report, "when", None) == "call":
                for name, counts in latest.items():
                    totals[name].update(counts)
    if not totals:
        return
    width = max(map(len, totals))
    terminalreporter.write_sep("=", "attacks")
    terminalreporter.write_line(" " * width + "".join(f"{column:>20}" for column in COLUMNS))
    for name, counts in sorted(totals.items()):
        shown = [str(counts.get(column, "-")) for column in COLUMNS]  # what is not counted is no zero
        terminalreporter.write_line(f"{name:<{width}}" + "".join(f"{text:>20}" for text in shown))
    stats = terminalreporter.stats
    is_clean = not any(stats.get(outcome) for outcome in ("failed", "error", "deselected"))
    if IS_WHOLE and is_clean and len(totals) == KINDS:
        counted = {name: {column: counts.get(column) for column in COLUMNS} for name, counts in totals.items()}
        save_result("attack", {"attacks": counted})
