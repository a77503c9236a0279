"""The real launchers: one unmodified script under `torchrun` and `accelerate launch`, also as two machines."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets import Dataset

from tests.runs.test_ranks import ROWS, SCRIPT, free_port, rows, whole
from tests.support import rank_job

__all__ = ["rows", "whole"]  # fixtures

pytestmark = pytest.mark.timeout(180)


class Launch:
    """Starts of a script, with a journal and a log that they share."""

    def __init__(self, folder: Path, rows: str, tiny: str) -> None:
        self.folder = folder
        self.script = [str(SCRIPT), rows, tiny, str(folder / "journal"), str(folder / "out")]
        self.environment = {
            **os.environ,
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
            "RANK_JOB_LOG": str(folder / "log"),
            "HF_DATASETS_CACHE": str(folder / "datasets"),
        }

    def torchrun(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
        command += ["--master_port", str(free_port()), *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=90)

    def accelerate(self, *arguments: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", *arguments]
        return subprocess.Popen(
            command, env={**self.environment, **environment}, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

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

    def generated(self) -> int:
        path = self.folder / "log"
        return sum(int(line.split()[1]) for line in path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def launch(tmp_path, rows, tiny) -> Launch:
    return Launch(tmp_path, rows, tiny)


def test_a_rank_that_is_killed_is_started_again_and_the_job_ends_on_its_own(launch, whole):
    done = launch.torchrun("--max-restarts", "1", *launch.script, "--die", "1")
    assert done.returncode == 0, done.stderr
    assert launch.outputs() == [whole, whole]
    assert len(list((launch.folder / "journal").rglob("*.jsonl"))) > 2  # one for each process of both attempts
    assert ROWS <= launch.generated() <= ROWS + 2 * 8


def test_without_restarts_a_rank_that_is_killed_ends_the_job_at_once(launch, whole):
    start = time.monotonic()
    done = launch.torchrun(*launch.script, "--die", "0")
    assert done.returncode != 0
    assert time.monotonic() - start < 30
    assert 0 < launch.generated() < ROWS


def test_the_command_line_under_accelerate_launch_writes_one_output(launch, whole, tmp_path):
    _, rows, tiny, journal, _ = launch.script
    output = tmp_path / "out.parquet"
    sizes = [text for name, size in rank_job.SETTINGS.items() for text in (f"--{name.replace('_', '-')}", str(size))]
    arguments = ["--num_processes", "2", "--main_process_port", str(free_port()), "-m", "hf_rare", "distill", rows]
    process = launch.accelerate(
        *arguments, "--model", tiny, "--output", str(output), "--journal-dir", journal, "--batch-size", "40", *sizes
    )
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert "waitForInput" not in errors
    Dataset.from_parquet(str(output)).to_json(tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == whole
    writers = [path for path in (tmp_path / "journal").rglob("*.jsonl") if path.read_text().count('{"key"')]
    assert len(writers) == 2
    assert sum(path.read_text().count('{"key"') for path in writers) == ROWS


def test_machines_share_the_rows_and_end_when_one_of_them_is_lost(launch, whole):
    safe = 0
    for victim in (1, 0):
        machines = launch.machines(RANK_JOB_SLEEP="0.3")
        deadline = time.monotonic() + 60
        while launch.generated() < safe + 24 and time.monotonic() < deadline:
            time.sleep(0.05)
        killed = time.monotonic()
        os.kill(machines[victim].pid, signal.SIGKILL)
        _, errors = machines[1 - victim].communicate(timeout=60)
        assert machines[1 - victim].returncode != 0, errors
        assert time.monotonic() - killed < 30
        assert "gone" in errors
        machines[victim].communicate(timeout=30)  # the workers it has left behind end too
        safe = launch.generated()
        assert 0 < safe < ROWS + 2 * 16
    for machine in launch.machines():
        _, errors = machine.communicate(timeout=90)
        assert machine.returncode == 0, errors
    assert launch.outputs() == [whole, whole]
    assert launch.generated() <= ROWS + 2 * 2 * 8
