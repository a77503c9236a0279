"""Tables of what models write, each input with its right value, and how many of them are read so.

`python -m tests.support.tables` prints the hit rates and every miss.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hf_rare.checks.citations import find_citations
from hf_rare.prompts.completion import parse_completion
from hf_rare.prompts.json_items import find_items
from hf_rare.writers.judge import parse_verdict
from hf_rare.writers.questions import parse_questions

DATA = Path(__file__).parents[1] / "data"

Row = dict[str, Any]


def read_json(row: Row) -> list[Any]:
    """Read the questions or hard negatives of a text."""
    text, is_cut = row["text"], row.get("is_cut", False)
    if row["kind"] == "questions":
        return [[question.scenario, question.question] for question in parse_questions(text, is_cut)]
    names = ("document", "hard_negative_document", "hard_negative", "text", "passage")
    items = find_items(text, names, is_cut)
    return [item if isinstance(item, str) else next(item[name] for name in names if name in item) for item in items]


def read_thought(row: Row) -> list[str]:
    """Read the reasoning, the answer and the status of a completion."""
    parsed = parse_completion(row["text"], is_cut=row.get("is_cut", False), opening=row.get("opening", ""))
    return [parsed.reasoning, parsed.answer, parsed.status]


READERS: dict[str, Callable[[Row], Any]] = {
    "model_json": read_json,
    "model_thoughts": read_thought,
    "model_citations": lambda row: find_citations(row["text"]),
    "model_verdicts": lambda row: parse_verdict(row["text"])[0],
}
"""How the rows of each table are read, by the name of its file."""


def read_table(name: str) -> list[Row]:
    """Read the rows of a table."""
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def find_misses(name: str) -> list[tuple[Row, Any]]:
    """Find the rows of a table that are read otherwise than they should be, and how they are read."""
    read = READERS[name]
    return [(row, value) for row in read_table(name) if (value := read(row)) != row["expected"]]


if __name__ == "__main__":
    for table in READERS:
        misses = find_misses(table)
        for row, value in misses:
            print(f"MISS {row['text']!r}\n  got      {value!r}\n  expected {row['expected']!r}")
        total = len(read_table(table))
        print(f"{table}: {total - len(misses)} of {total}")
