"""Teachers for Ray actors: what they do in a process of its own is seen in a log, whose name is in the environment."""

import json
import os
import signal
from pathlib import Path

import torch

from tests.support.plain import PlainGenerator
from tests.support.waiting import hold


def read_log() -> list[dict]:
    """Read what the actors have written, one entry per micro-batch."""
    return [json.loads(line) for line in Path(os.environ["HF_RARE_TEST_LOG"]).read_text().splitlines()]


class Logging(PlainGenerator):
    def write_batch(self, write, jobs, observer):
        entry = {
            "pid": os.getpid(),
            "rows": len(jobs),
            "threads": torch.get_num_threads(),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "niceness": os.nice(0),
            "ranks": [name for name in os.environ if name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")],
        }
        with Path(os.environ["HF_RARE_TEST_LOG"]).open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return write(jobs, observer)


class KilledOnce(Logging):
    """Its process is killed before its second micro-batch, the first time that any process gets there."""

    written = 0

    def write_batch(self, write, jobs, observer):
        killed = Path(os.environ["HF_RARE_TEST_LOG"]).with_name("killed")
        if self.written == 1 and not killed.exists():
            killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        self.written += 1
        return super().write_batch(write, jobs, observer)


class KilledByPrompts(PlainGenerator):
    """Its process is killed whenever it is to write for one of the questions that the environment names."""

    def write_batch(self, write, jobs, observer):
        killers = os.environ["HF_RARE_TEST_KILLERS"].split("|")
        if any(question in job.prompt.text for job in jobs for question in killers):
            kill_actor()
        return write(jobs, observer)


class KilledAsItLoads(PlainGenerator):
    def load(self):
        kill_actor()


class Held(Logging):
    """Writes nothing before a file is there."""

    def write_batch(self, write, jobs, observer):
        hold(observer, Path(os.environ["HF_RARE_TEST_LOG"]).with_name("go").exists)
        return super().write_batch(write, jobs, observer)


def kill_actor() -> None:
    """End this process, and note that it has ended so."""
    with Path(os.environ["HF_RARE_TEST_LOG"]).with_name("deaths").open("a") as file:
        file.write(f"{os.getpid()}\n")
    os.kill(os.getpid(), signal.SIGKILL)


def count_deaths() -> int:
    return len(Path(os.environ["HF_RARE_TEST_LOG"]).with_name("deaths").read_text().splitlines())


class Failing(PlainGenerator):
    def write_batch(self, write, jobs, observer):
        raise ValueError("nothing should be generated")
