"""Real processes that are killed, and run out of disk and memory: what was generated is never lost."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from hf_rare.runs.journal import Journal
from tests.support import fault_job
from tests.support.rule_rows import write_rule_rows
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(240)

ROWS = 200
KILLS = 20


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    return write_rule_rows(path, [1 + i % 4 for i in range(ROWS)])


@pytest.fixture(scope="module")
def whole(context, rows, tiny, tmp_path_factory) -> str:
    """The dataset of a run that is never interrupted, as JSONL text."""
    folder = tmp_path_factory.mktemp("whole")
    run(context, fault_job.distill, arguments(folder, rows, tiny)).join()
    return (folder / "out.jsonl").read_text()


def arguments(folder: Path, rows: str, tiny: str) -> list[str]:
    return [rows, tiny, *(str(folder / name) for name in ("journal", "log", "out.jsonl"))]


def run(context, target, args):
    process = context.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def micro_batches(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "log").read_text().split()] if (folder / "log").exists() else []


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_ended_twenty_times_equals_one_that_is_not(context, rows, tiny, whole, tmp_path, ending):
    dice = random.Random(ending)
    kills = 0
    while kills < KILLS:
        before = len(micro_batches(tmp_path))
        more = dice.randint(1, 2)
        process = run(context, fault_job.distill, [*arguments(tmp_path, rows, tiny), more])
        wait_until(lambda wanted=before + more: len(micro_batches(tmp_path)) == wanted)
        time.sleep(dice.random() * 0.06)  # anywhere in the micro-batch, or where the next one would begin
        os.kill(process.pid, ending)
        process.join()
        assert process.exitcode not in (0, None)
        kills += 1
    process = run(context, fault_job.distill, arguments(tmp_path, rows, tiny))
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "out.jsonl").read_text() == whole
    sizes = micro_batches(tmp_path)
    assert ROWS <= sum(sizes) <= ROWS + KILLS * max(sizes)
    (folder,) = (tmp_path / "journal").iterdir()
    journal = Journal(folder, {})
    assert len(journal) == len(journal.read(journal.keys())) == ROWS


@pytest.mark.slow
def test_a_disk_that_is_full_ends_the_run_and_keeps_what_was_written(context, rows, tiny, whole, tmp_path):
    process = run(context, fault_job.distil_with_little_disk, arguments(tmp_path, rows, tiny))
    process.join()
    assert process.exitcode == 1
    (folder,) = (tmp_path / "journal").iterdir()
    safe = len(Journal(folder, {}))
    sizes = micro_batches(tmp_path)
    assert 0 < safe < ROWS
    assert sum(sizes) - safe <= max(sizes)  # it stopped before more tokens were spent
    process = run(context, fault_job.distill, arguments(tmp_path, rows, tiny))
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "out.jsonl").read_text() == whole
    assert sum(micro_batches(tmp_path)) == ROWS + sum(sizes) - safe


@pytest.mark.slow
def test_real_memory_that_runs_out_makes_micro_batches_smaller(context, tiny, tmp_path):
    process = run(context, fault_job.distil_with_little_memory, (tiny, str(tmp_path / "result.json")))
    process.join()
    assert process.exitcode == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["equal"]
    assert "failed" not in result["statuses"]
    assert result["together"] < 50  # it was 900 before
