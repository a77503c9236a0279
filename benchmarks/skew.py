"""How evenly is the work shared? 1000 rows, the last 100 of them 13 times as long, under torchrun and over Ray Data.

    python -m benchmarks.skew [--seconds 66]

The generator sleeps instead of computing, so that any number of processes fits any machine: `--seconds` in all, for
one process. All prompts are of one length, so that nothing knows beforehand which rows are long. The ideal is this
time divided by the number of processes; the wall time counts from when the last process has come to `map`, for Ray
from when the first actor begins to generate. What a process does for each row beside generation counts
against the ratio, the more so with more processes than cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from benchmarks.machine import write_result
from hf_rare import Completion, EncodedPrompt, Encoder, Generator, ReasonDistiller
from hf_rare.generation.protocol import Job, JobSource

ROWS, LONG_ROWS, RATIO = 1000, 100, 13
ROWS_TOGETHER = 2
LOG = "HF_RARE_SKEW_LOG"


class TextEncoder(Encoder):
    """A prompt is the text of its messages, and has 100 tokens."""

    def encode(self, conversations: Any) -> list[EncodedPrompt]:
        texts = ["\n".join(message["content"] for message in messages) for messages in conversations]
        return [EncodedPrompt(messages, text, [0] * 100) for messages, text in zip(conversations, texts, strict=True)]


class SleepingGenerator(Generator):
    """Takes the time that a row names, row after row, and writes nothing."""

    encoder = TextEncoder()
    is_sampling = False

    def identity(self) -> dict[str, Any]:
        return {"model_id": "sleeper"}

    def generate(self, source: JobSource, observer: Any = None) -> Iterator[list[tuple[Job, Completion]]]:
        start = time.time()
        while jobs := source.take(ROWS_TOGETHER):
            if observer is not None:
                observer.begin(jobs)
            time.sleep(sum(float(job.prompt.text.split("takes ")[1].split(" s")[0]) for job in jobs))
            if observer is not None:
                observer.add_tokens(100 * len(jobs), len(jobs))
            yield [(job, Completion("done", "stop", 100, 1)) for job in jobs]
        if LOG in os.environ:
            with Path(os.environ[LOG]).open("a") as file:
                file.write(f"{start} {time.time()}\n")


def make_rows(seconds: float) -> datasets.Dataset:
    """Make the rows: the long ones stand together at the end."""
    short = seconds / (ROWS - LONG_ROWS + LONG_ROWS * RATIO)
    times = [short] * (ROWS - LONG_ROWS) + [RATIO * short] * LONG_ROWS
    return datasets.Dataset.from_list(
        [
            {"question": f"Row {i:04} takes {seconds:.6f} s.", "scenario": "", "text": "A text.", "hard_negatives": []}
            for i, seconds in enumerate(times)
        ]
    )


def run_rank(seconds: float, batch_size: int, output: str) -> None:
    """Be one process of torchrun."""
    import torch.distributed  # noqa: F401 - a generator with a model has it

    datasets.disable_progress_bars()
    rows = make_rows(seconds)
    distill_fn = ReasonDistiller(SleepingGenerator(), journal_dir=f"{output}/journal")
    start = time.time()
    distilled = rows.map(distill_fn, batched=True, batch_size=batch_size)
    end = time.time()
    assert distilled["question"][:] == rows["question"][:]
    Path(output, f"rank-{os.environ['RANK']}").write_text(json.dumps([start, end]))


def time_torchrun(seconds: float, processes: int, batch_size: int) -> float:
    """Return the wall time of a job."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        command += ["-m", "benchmarks.skew", "--seconds", str(seconds), "--rank", str(batch_size), folder]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
        times = [json.loads(path.read_text()) for path in Path(folder).glob("rank-*")]
        assert len(times) == processes
        return max(end for _, end in times) - max(start for start, _ in times)


def time_ray(seconds: float, processes: int) -> float:
    """Return the wall time of a run over Ray Data, from the first actor's first row to the last one's end."""
    from hf_rare import distill_with_ray

    with tempfile.TemporaryDirectory() as folder:
        os.environ[LOG] = f"{folder}/log"
        distill_fn = ReasonDistiller(SleepingGenerator(), journal_dir=f"{folder}/journal")
        # processes that sleep need no core each
        distill_with_ray(make_rows(seconds), distill_fn, num_actors=processes, num_cpus=0.25)
        del os.environ[LOG]
        times = [list(map(float, line.split())) for line in Path(folder, "log").read_text().splitlines()]
        return max(end for _, end in times) - min(start for start, _ in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=66.0)
    parser.add_argument("--rank", nargs=2, metavar=("BATCH_SIZE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rank:
        run_rank(arguments.seconds, int(arguments.rank[0]), arguments.rank[1])
        return
    result: dict[str, Any] = {"rows": ROWS, "long rows": LONG_ROWS, "seconds for one process": arguments.seconds}
    for processes in (2, 4):
        ideal = arguments.seconds / processes
        runs = {
            f"torchrun, batch_size={size}": time_torchrun(arguments.seconds, processes, size) for size in (100, 1000)
        }
        runs["Ray Data"] = time_ray(arguments.seconds, processes)
        result[f"{processes} processes"] = {
            "ideal seconds": round(ideal, 2),
            **{name: {"seconds": round(wall, 2), "ratio": round(wall / ideal, 3)} for name, wall in runs.items()},
        }
        print(processes, runs, flush=True)
    write_result("skew", result)


if __name__ == "__main__":
    main()
