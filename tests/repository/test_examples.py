"""The example script runs, and its rows are what the README says."""

import runpy
import subprocess

from hf_rare.cli.main import build_parser
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "examples" / "distill_postgres_docs.py"
load_rows = runpy.run_path(str(SCRIPT))["load_rows"]


def test_the_slurm_script_is_bash_and_calls_what_exists():
    path = REPOSITORY / "examples" / "distill.slurm"
    subprocess.run(["bash", "-n", path], check=True)
    command = path.read_text().split("-m hf_rare ")[1].split("\n")[0]
    build_parser().parse_args(command.replace('"', "").split())


def test_the_rows_are_real_and_complete():
    rows = load_rows()
    assert len(rows) == 48
    for row in rows:
        assert row["question"]
        assert row["scenario"]
        assert len(row["text"].split()) >= 64
        assert row["text"] not in row["hard_negatives"]
