"""Worker processes of `map(num_proc=...)`: devices, threads, start methods, and workers that die."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import multiprocess
import pytest
import torch

from hf_rare.errors import ConfigError
from hf_rare.generation import devices
from tests.conftest import REPOSITORY
from tests.support.rule_rows import write_rule_rows
from tests.support.waiting import wait_until

SCRIPT = """
import os, sys
from pathlib import Path
import datasets, multiprocess, torch
from hf_rare import ReasonDistiller
from tests.support.plain import PlainGenerator
from tests.support.waiting import hold

class Logging(PlainGenerator):
    begun = 0

    def write_batch(self, write, jobs, observer):
        if self.begun == int(hold_after):
            hold(observer)
        self.begun += 1
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()} {len(jobs)}\\n")
        return write(jobs, observer)

rows, teacher, journal, log, output, method, hold_after = sys.argv[1:]
if __name__ == "__main__":
    multiprocess.set_start_method(method)
    torch.ones(300, 300) @ torch.ones(300, 300)  # OpenMP has been used in the parent
    datasets.disable_progress_bars()
    ds = datasets.load_dataset("json", data_files=rows, split="train")
    generator = Logging.from_pretrained(teacher, max_new_tokens=12, max_batch_tokens=1200)
    distill_fn = ReasonDistiller(generator, journal_dir=journal)
    ds = ds.map(distill_fn, batched=True, with_rank=True, batch_size=16, num_proc=2, load_from_cache_file=False)
    ds.to_json(output)
"""
ROWS = 64


class Run:
    """A script with two workers, each of which may stay in a micro-batch."""

    def __init__(self, tiny, folder: Path, count: int = ROWS) -> None:
        self.folder = folder
        rows = write_rule_rows(folder / "rows.jsonl", [1 + i % 3 for i in range(count)])
        (folder / "script.py").write_text(SCRIPT)
        self.arguments = [rows, tiny, folder / "journal", folder / "log"]

    def start(self, output: str, method: str = "fork", hold_after: int = -1) -> subprocess.Popen:
        command = [sys.executable, self.folder / "script.py", *self.arguments, self.folder / output, method]
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "2",
        }  # with one thread nothing could hang in a fork
        command = [*map(str, command), str(hold_after)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def finish(self, output: str, method: str = "fork") -> str:
        _, errors = (process := self.start(output, method)).communicate()
        assert process.returncode == 0, errors
        return (self.folder / output).read_text()

    def log(self) -> list[tuple[int, int]]:
        """Process and size of every micro-batch that was begun."""
        path = self.folder / "log"
        return [tuple(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory) -> str:
    """The output of workers that are spawned, and not ended."""
    return Run(tiny, tmp_path_factory.mktemp("whole")).finish("whole.jsonl", "spawn")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "method"),
    [("kill a worker", "fork"), ("Ctrl-C", "fork"), ("kill the parent", "fork"), ("kill the parent", "spawn")],
)
def test_workers_that_are_ended_cost_what_was_in_flight(tiny, tmp_path, whole, ending, method):
    run = Run(tiny, tmp_path)
    process = run.start("out.jsonl", method, hold_after=2)
    wait_until(lambda: len(run.log()) == 4)
    if ending == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    elif ending == "kill the parent":
        process.kill()
    else:
        os.kill(run.log()[0][0], signal.SIGKILL)
    _, errors = process.communicate()  # which waits for the workers too: they have the same stderr
    assert process.returncode != 0
    if ending == "kill a worker":
        assert "One of the subprocesses has abruptly died" in errors
    before = run.log()
    assert len({pid for pid, _ in before}) == 2
    assert sum(size for _, size in before) < ROWS
    assert run.finish("out.jsonl") == whole
    assert sum(size for _, size in run.log()) <= ROWS + 2 * max(size for _, size in before)


def test_workers_take_the_devices_in_turn(monkeypatch):
    with multiprocess.Pool(2) as pool:  # an earlier pool, so that numbers do not begin at 1
        pool.map(abs, range(4))
    with multiprocess.Pool(4, _wait_at, [multiprocess.Barrier(4)]) as pool:
        numbers = set(pool.map(_number_of_worker, range(4), chunksize=1))
    assert len(numbers) == 4
    assert sorted(number % 2 for number in numbers) == [0, 0, 1, 1]
    monkeypatch.setattr(multiprocess, "parent_process", lambda: object())
    monkeypatch.setattr(multiprocess, "current_process", lambda: SimpleNamespace(_identity=(6,)))
    assert devices.pick_device() == torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    current = []
    monkeypatch.setattr(torch.accelerator, "set_device_index", current.append)
    assert devices.pick_device() == torch.device("cuda", 1)
    assert current == [1]


def test_a_build_for_cuda_on_a_machine_without_it_takes_the_cpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert torch.accelerator.device_count() == 0
    assert devices.pick_device() == torch.device("cpu")


def _wait_at(barrier):
    global all_are_here
    all_are_here = barrier


def _number_of_worker(_):
    all_are_here.wait()  # so that each worker gets one task
    return devices.worker_number()


def test_a_fork_of_a_process_that_has_used_cuda_is_explained(rows, distill_fn, monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: multiprocess.parent_process() is not None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="set_start_method"):
        rows.map(distill_fn, batched=True, num_proc=2, load_from_cache_file=False)


def test_workers_under_a_launcher_are_refused(rows, distill_fn, monkeypatch):
    monkeypatch.setattr("hf_rare.runs.team.Team.note_map", lambda self: None)
    launcher = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    os.environ |= launcher
    try:
        with pytest.raises(ConfigError, match="Leave num_proc out"):
            rows.map(distill_fn, batched=True, num_proc=2, load_from_cache_file=False)
    finally:
        for name in launcher:  # `map` has put a copy in the place of os.environ, which monkeypatch would not mend
            del os.environ[name]
