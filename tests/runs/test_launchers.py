"""The real launchers: one unmodified script under `torchrun` and `accelerate launch`, also as two machines."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset

from tests.runs.test_ranks import ROWS, SCRIPT, free_port, rows, whole
from tests.support import rank_job
from tests.support.waiting import wait_until

__all__ = ["rows", "whole"]  # fixtures

pytestmark = pytest.mark.timeout(180)


class Launch:
    """Starts of a script, with a journal and a log that they share."""

    def __init__(self, folder: Path, rows: str, tiny: str) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        self.script = [str(SCRIPT), rows, tiny, str(folder / "journal"), str(folder / "out")]
        self.environment = {
            **os.environ,
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
            "RANK_JOB_LOG": str(folder / "log"),
            "HF_DATASETS_CACHE": str(folder / "datasets"),
        }

    def torchrun(self, *arguments: str) -> subprocess.Popen:
        return self.start("torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port(), *arguments)

    def accelerate(self, *arguments: str, **environment: str) -> subprocess.Popen:
        return self.start("accelerate.commands.launch", "--multi_gpu", *arguments, **environment)

    def start(self, module: str, *arguments, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            env={**self.environment, **environment},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def kill_what_is_left(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stderr.close()

    def machines(self, **environment: str) -> list[subprocess.Popen]:
        port = str(free_port())
        rendezvous = ("--num_machines", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", port)
        return [
            self.accelerate(
                *rendezvous, "--num_processes", "2", "--machine_rank", str(machine), *self.script, **environment
            )
            for machine in range(2)
        ]

    def outputs(self) -> list[str]:
        return [(self.folder / f"out-{rank}.jsonl").read_text() for rank in range(2)]

    def micro_batches(self) -> list[int]:
        """Sizes of the micro-batches that were begun."""
        path = self.folder / "log"
        return [int(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []

    def generated(self) -> int:
        return sum(self.micro_batches())


@pytest.fixture
def launch(tmp_path, rows, tiny):
    launch = Launch(tmp_path, rows, tiny)
    yield launch
    launch.kill_what_is_left()


@pytest.mark.slow
def test_a_rank_that_is_killed_is_started_again_and_the_job_ends_on_its_own(launch, whole):
    process = launch.torchrun("--max-restarts", "1", *launch.script, "--die", "1")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert launch.outputs() == [whole, whole]
    assert len(list((launch.folder / "journal").rglob("*.jsonl"))) > 2  # one for each process of both attempts
    assert ROWS <= launch.generated() <= ROWS + 2 * 8


@pytest.mark.slow
def test_without_restarts_a_rank_that_is_killed_ends_the_job_at_once(launch, whole):
    process = launch.torchrun(*launch.script, "--die", "0")
    _, errors = process.communicate()
    assert process.returncode != 0
    assert "SIGKILL" in errors
    assert "seems to be dead" not in errors  # nobody waited until its silence was noticed
    assert 0 < launch.generated() < ROWS


@pytest.mark.slow
def test_the_command_line_under_accelerate_launch_writes_one_output(launch, whole, tmp_path):
    _, rows, tiny, journal, _ = launch.script
    output = tmp_path / "out.parquet"
    sizes = [text for name, size in rank_job.SETTINGS.items() for text in (f"--{name.replace('_', '-')}", str(size))]
    arguments = ["--num_processes", "2", "--main_process_port", str(free_port()), "-m", "hf_rare", "distill", rows]
    process = launch.accelerate(
        *arguments, "--model", tiny, "--output", str(output), "--journal-dir", journal, "--batch-size", "40", *sizes
    )
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "waitForInput" not in errors
    Dataset.from_parquet(str(output)).to_json(tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == whole
    writers = [path for path in (tmp_path / "journal").rglob("*.jsonl") if path.read_text().count('{"key"')]
    assert len(writers) == 2
    assert sum(path.read_text().count('{"key"') for path in writers) == ROWS


@pytest.mark.slow
def test_machines_share_the_rows_and_end_when_one_of_them_is_lost(launch, whole):
    for begun, victim in ((4, 1), (8, 0)):
        machines = launch.machines(RANK_JOB_HOLD="2")
        wait_until(lambda begun=begun: len(launch.micro_batches()) == begun)
        os.kill(machines[victim].pid, signal.SIGKILL)
        _, errors = machines[1 - victim].communicate()
        assert machines[1 - victim].returncode != 0, errors
        assert "gone" in errors
        assert "seems to be dead" not in errors  # nobody waited until its silence was noticed
        machines[victim].communicate()  # the workers it has left behind end too
        assert len(launch.micro_batches()) == begun
    for machine in launch.machines():
        _, errors = machine.communicate()
        assert machine.returncode == 0, errors
    assert launch.outputs() == [whole, whole]
    assert launch.generated() <= ROWS + 2 * 2 * 8
