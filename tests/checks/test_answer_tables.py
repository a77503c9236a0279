"""How often a verdict is the right one, by kind of answer: `pytest -s` prints it."""

import json
from typing import Any

import pytest

from hf_rare import check_answer
from tests.conftest import REPOSITORY

TABLES = REPOSITORY / "tests" / "data" / "answers"
ASKED = 0.95
"""The share of a table that must be judged as it says."""


def judge(row: dict[str, Any]) -> str:
    return check_answer(
        row["gold"],
        row["answer"],
        row.get("reasoning", ""),
        check=row.get("check", "auto"),
        options=row.get("options"),
    ).outcome


@pytest.mark.parametrize("kind", sorted(path.stem for path in TABLES.glob("*.jsonl")))
def test_answers_of_a_kind_get_the_right_verdict(kind):
    rows = [json.loads(line) for line in (TABLES / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines()]
    misses = [(row, verdict) for row in rows if (verdict := judge(row)) != row["expected"]]
    print(f"\n{kind}: {len(rows) - len(misses)} of {len(rows)}")
    for row, verdict in misses:
        print(f"  {verdict} for {json.dumps(row, ensure_ascii=False)}")
    assert len(misses) <= (1 - ASKED) * len(rows)
