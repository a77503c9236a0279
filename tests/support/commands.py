"""The command line on a file: bytes in, the rows or the message of an error out."""

import contextlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_rare.cli.main import main

RAN = (0, 3)
"""Exit codes of a run that has written its rows: the tiny teacher may end none of its traces, which is an error."""


@dataclass
class Outcome:
    """What a command has left: its exit code, what it said, and the rows of its output."""

    code: int
    said: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def column(self, name: str) -> list[Any]:
        return [row.get(name) for row in self.rows]


def command(*arguments: Any) -> Outcome:
    """Run a command; an exception that is not caught there is one here."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = int(exit.code or 0)
    return Outcome(code, said.getvalue())


def search_rows(path: Path, output: Path, *flags: Any) -> Outcome:
    """Add negatives to the rows of a file, which reads `question` and `text` alone, and give what is in the output."""
    columns = ("--query", "question", "--hard-negatives-column", "mined", "--num-negatives", 1)
    outcome = command("negatives", path, "--output", output, *columns, *flags)
    if outcome.code == 0 and output.suffix == ".jsonl":
        outcome.rows = [json.loads(line) for line in output.read_text(encoding="utf-8").split("\n") if line]
    return outcome
