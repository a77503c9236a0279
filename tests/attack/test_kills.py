"""Runs that are ended anywhere: no row is lost, and none is written twice but those that were in flight."""

import os
import random
import signal
import time
from itertools import product

import pytest

from hf_rare.runs.journal import Journal
from tests.attack.conftest import IS_WHOLE
from tests.support import fault_job
from tests.support.rule_rows import write_rule_rows
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

KILLS = 40 if IS_WHOLE else 4
ROWS = 40 + 6 * KILLS
ENDINGS = {
    "KILL": (signal.SIGKILL,),
    "TERM": (signal.SIGTERM,),
    "INT": (signal.SIGINT,),
    "INT twice": (signal.SIGINT, signal.SIGINT),
    "HUP": (signal.SIGHUP,),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> str:
    return write_rule_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", [1 + i % 4 for i in range(ROWS)])


@pytest.fixture(scope="module")
def whole(context, rows, tiny, tmp_path_factory) -> str:
    """The rows of a run that is never ended, as JSONL text."""
    folder = tmp_path_factory.mktemp("whole")
    run(context, folder, rows, tiny, -1, 64).join()
    return (folder / "out.jsonl").read_text()


def run(context, folder, rows, tiny, hold_after, batch_size):
    paths = [str(folder / name) for name in ("journal", "log", "out.jsonl")]
    process = context.Process(target=fault_job.distill, args=(rows, tiny, *paths, hold_after, batch_size), daemon=True)
    process.start()
    return process


def micro_batches(folder) -> list[int]:
    return [int(line) for line in (folder / "log").read_text().split()] if (folder / "log").exists() else []


@pytest.mark.parametrize(
    ("ending", "batch_size"),
    list(product(ENDINGS, (7, 64, 1000))) if IS_WHOLE else [("INT twice", 7), ("HUP", 64), ("KILL", 1000)],
)
def test_whatever_ends_a_run_costs_what_was_in_flight(context, rows, tiny, whole, tmp_path, count, ending, batch_size):
    dice = random.Random(f"{ending} {batch_size}")
    in_flight = repeated = 0
    kills = KILLS if ending == "KILL" else max(1, KILLS // 2)
    for _ in range(kills):
        before = micro_batches(tmp_path)
        begun = len(before) + 1
        if sum(before) >= ROWS - 12:
            break
        process = run(context, tmp_path, rows, tiny, 1, batch_size)
        wait_until(lambda begun=begun: len(micro_batches(tmp_path)) == begun)
        time.sleep(dice.random() * 0.05)  # anywhere in the micro-batch, or where the next one would begin
        for number in ENDINGS[ending]:
            os.kill(process.pid, number)
        process.join(60)
        count(tried=1, hung=int(process.exitcode is None))
        assert process.exitcode not in (0, None)
        in_flight += max(micro_batches(tmp_path)[len(before) :])
    process = run(context, tmp_path, rows, tiny, -1, batch_size)
    process.join(300)
    assert process.exitcode == 0
    assert (tmp_path / "out.jsonl").read_text() == whole
    (folder,) = (tmp_path / "journal").iterdir()
    journal = Journal(folder, {})
    lost = ROWS - len(journal.read(journal.keys()))
    repeated = sum(micro_batches(tmp_path)) - ROWS
    count(lost=lost, repeated=repeated)
    assert lost == 0
    assert repeated <= in_flight
