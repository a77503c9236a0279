"""Parents of workers that are killed: no worker stays, and a rerun repeats only what was in flight."""

import json
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.attack.conftest import IS_WHOLE
from tests.runs.test_num_proc import Run
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

KILLS = 10 if IS_WHOLE else 1
ROWS = 64 + 16 * KILLS
SECONDS = 60
"""From which on workers have outlived their parent."""


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and that nobody has asked for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_parent_that_is_killed_takes_its_workers_along(tiny, tmp_path, tmp_path_factory, count):
    whole = Run(tiny, tmp_path_factory.mktemp("whole"), ROWS).finish("out.jsonl")
    run, dice, in_flight = Run(tiny, tmp_path, ROWS), random.Random(0), 0
    for kill in range(KILLS):
        before = run.log()
        process = run.start("out.jsonl", ("fork", "spawn")[kill % 2], hold_after=1)
        wait_until(lambda before=before: len(run.log()) == len(before) + 2)  # both workers have begun
        time.sleep(dice.random() * 0.2)
        process.kill()
        count(tried=1, hung=0)
        try:
            process.communicate(timeout=SECONDS)  # which waits for the workers too: they have the same stderr
        except subprocess.TimeoutExpired:
            count(hung=1)
            raise
        begun = run.log()[len(before) :]
        in_flight += sum(size for _, size in begun)
        wait_until(lambda begun=begun: not any(is_alive(pid) for pid, _ in begun))  # a little after their streams
        assert process.returncode != 0
    assert run.finish("out.jsonl") == whole
    files = (tmp_path / "journal").rglob("*.jsonl")
    lines = [line for path in files for line in path.read_text().splitlines() if line.startswith('{"key"')]
    entries = [json.loads(line)["key"] for line in lines]
    lost, repeated = ROWS - len(set(entries)), sum(size for _, size in run.log()) - ROWS
    count(lost=lost, repeated=repeated)
    assert lost == 0
    assert repeated <= in_flight
    assert len(entries) == len(set(entries))  # what stands in the journal was never generated again
