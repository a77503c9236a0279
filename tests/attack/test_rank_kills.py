"""Ranks of which one is killed: the other ends too, and a rerun repeats only what was in flight."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.attack.conftest import IS_WHOLE
from tests.runs.test_ranks import ROWS, Job, rows, whole
from tests.support import rank_job
from tests.support.waiting import wait_until

__all__ = ["rows", "whole"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

KILLS = 10 if IS_WHOLE else 1
SECONDS = 120
"""From which on a process has outlived the other one of its job."""


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_rank_that_is_killed_costs_what_was_in_flight(context, rows, tiny, whole, tmp_path, count, kill):
    job, dice, victim = Job(context, tmp_path, rows, tiny), random.Random(kill), kill % 2
    log = tmp_path / "report-log"
    job.begin(rank_job.share_until_one_is_killed, victim)
    begun = dice.randint(1, 3)
    wait_until(lambda: log.exists() and sum(line[0] == str(victim) for line in log.read_text().splitlines()) >= begun)
    time.sleep(dice.random() * 0.05)  # anywhere in the micro-batch, or where the next one would begin
    os.kill(job.processes[victim].pid, signal.SIGKILL)
    Path(tmp_path / "out-killed").touch()
    other = job.processes[1 - victim]
    other.join(SECONDS)
    count(tried=1, hung=int(other.exitcode is None))
    assert other.exitcode is not None
    endings = job.end()
    assert endings[victim] == "killed"
    assert endings[1 - victim] is not None  # it has not gone on as if nothing had been
    begun_before = sum(job.generated().values())
    safe = job.journalled()
    assert job.run(rank_job.share) == [None, None]
    files = job.journal.rglob("*.jsonl")
    lines = [line for path in files for line in path.read_text().splitlines() if line.startswith('{"key"')]
    lost = ROWS - len({json.loads(line)["key"] for line in lines})
    repeated = sum(job.generated().values()) - ROWS
    count(lost=lost, repeated=repeated)
    assert job.outputs() == [whole, whole]
    assert lost == 0
    assert repeated == begun_before - safe  # what was in the journal is not made again
