"""The example script runs, and its rows are what the README says."""

import runpy

from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "examples" / "distill_postgres_docs.py"
load_rows = runpy.run_path(str(SCRIPT))["load_rows"]


def test_the_rows_are_real_and_complete():
    rows = load_rows()
    assert len(rows) == 48
    for row in rows:
        assert row["question"]
        assert row["scenario"]
        assert len(row["text"].split()) >= 64
        assert row["text"] not in row["hard_negatives"]
