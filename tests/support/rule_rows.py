"""Rows about rules, as many as a test asks for."""

from pathlib import Path

from datasets import Dataset


def write_rule_rows(path: Path, repeats: list[int]) -> str:
    """Write rows to a file of JSON lines: each has a document of so many sentences."""
    rows = [
        {
            "question": f"What of {i}?",
            "scenario": "",
            "text": f"Rule {i} says that a part is counted once. " * count,
            "hard_negatives": [f"Rule {i + 1} is other."],
        }
        for i, count in enumerate(repeats)
    ]
    Dataset.from_list(rows).to_json(path)
    return str(path)


def make_plain_rows(count: int) -> Dataset:
    """Make short rows, each with a number in its question."""
    return Dataset.from_list(
        [
            {"text": f"Rule {i} says so.", "question": f"What of {i}?", "scenario": "", "hard_negatives": ["a", "b"]}
            for i in range(count)
        ]
    )
