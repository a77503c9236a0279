"""What do waits cost? 20,000 rows of very different lengths, on a generator that keeps virtual time.

    python -m benchmarks.scheduling [--rows 20000] [--memory-rows 100000 1000000]

Rows, source, completer, journal and claims are the real ones. The generator has 256 places, for all processes
together, and computes nothing: a step in which `n` rows are written takes `STEP + ROW * n` of its own seconds. Lengths
are log-normal with a median of 2,000 tokens, sigma 0.9, at most 16,384, drawn from the seed of each job. The ideal is
every token at the price that it has with all places taken. Processes are real ones under torchrun: they sleep, so that
real time goes on as virtual time does, and no process claims rows before it has room for them.
"""

import argparse
import heapq
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from benchmarks.machine import write_result
from benchmarks.skew import TextEncoder
from hf_rare import Completion, Generator, ReasonDistiller
from hf_rare.generation.protocol import Job, JobSource

PLACES = 256
STEP, ROW = 0.020, 0.00005
"""Seconds of a step, and of each row in it: an 8-billion model on one H100 is near it."""

MEDIAN, SIGMA, LONGEST = 2000, 0.9, 16384
RIGHT = 0.4
"""Share of attempts whose answer is right."""

LOG = "HF_RARE_SCHEDULING_LOG"
PACE = "HF_RARE_SCHEDULING_PACE"


class VirtualGenerator(Generator):
    """Writes as many tokens as the seed of a job says, in virtual time."""

    encoder = TextEncoder()
    is_sampling = True

    def __init__(self, longest: int = LONGEST) -> None:
        self.longest = longest

    def identity(self) -> dict[str, Any]:
        return {"model_id": "virtual", "longest": self.longest}

    def generate(self, source: JobSource, observer: Any = None) -> Iterator[list[tuple[Job, Completion]]]:
        places = PLACES // int(os.environ.get("WORLD_SIZE", 1))
        clock, step, tokens, writing = 0.0, 0, 0, list[tuple[int, int, Job, Completion]]()
        start, pace = time.monotonic(), float(os.environ.get(PACE, 0))
        while True:
            if len(writing) < places:
                for job in source.take(places - len(writing)):
                    completion = self.write(job)
                    tokens += completion.completion_tokens
                    heapq.heappush(writing, (step + completion.completion_tokens, tokens, job, completion))
            if not writing:
                break
            clock += (writing[0][0] - step) * (STEP + ROW * len(writing))
            time.sleep(max(0.0, start + clock * pace - time.monotonic()))
            step, done = writing[0][0], []
            while writing and writing[0][0] == step:
                _, _, job, completion = heapq.heappop(writing)
                done.append((job, completion))
            yield done
        if LOG in os.environ and tokens:
            with Path(os.environ[LOG]).open("a") as file:
                file.write(f"{clock} {tokens}\n")

    def write(self, job: Job) -> Completion:
        draw = random.Random(job.seed)
        length = min(self.longest, max(1, round(MEDIAN * draw.lognormvariate(0, SIGMA))))
        answer = 7 if draw.random() < RIGHT else 8
        return Completion(f"<think>So.</think><answer>{answer}</answer>", "stop", 100, length)


def make_rows(count: int) -> datasets.Dataset:
    """Make rows, on the disk."""
    columns = {"scenario": "", "text": "A text.", "hard_negatives": [], "gold": "7"}
    return datasets.Dataset.from_generator(
        lambda count: ({"question": f"Question {i}?", **columns} for i in range(count)),
        gen_kwargs={"count": count},
        features=datasets.Features(
            {name: datasets.Value("string") for name in ("question", "scenario", "text", "gold")}
            | {"hard_negatives": datasets.List(datasets.Value("string"))}
        ),
    )


def run(rows: int, folder: str, how: str, attempts: int) -> None:
    """Be one process of a run."""
    datasets.disable_progress_bars()
    os.environ[LOG] = f"{folder}/log"
    settings: dict[str, Any] = {"journal_dir": f"{folder}/journal", "columns": "minimal"}
    if attempts > 1:
        settings |= {"gold_column": "gold", "max_attempts": attempts}
    distill_fn = ReasonDistiller(VirtualGenerator(), **settings)
    dataset = make_rows(rows)
    if how == "apply":
        distill_fn.apply(dataset)
    else:
        dataset.map(distill_fn, batched=True, batch_size=int(how))


def measure(rows: int, how: str, attempts: int = 1, processes: int = 1, pace: float = 0.0) -> dict[str, Any]:
    """Return the share of the ideal that a run reaches."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
        command = [sys.executable, "-m", *(launcher if processes > 1 else []), "benchmarks.scheduling"]
        command += ["--rows", str(rows), "--process", folder, how, str(attempts)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", PACE: str(pace), "HF_HOME": f"{folder}/home"}
        start = time.perf_counter()
        subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        logged = [tuple(map(float, line.split())) for line in Path(folder, "log").read_text().splitlines()]
    tokens = sum(tokens for _, tokens in logged)
    ideal = tokens / PLACES * (STEP + ROW * PLACES / processes)
    # batches follow each other in one process; processes work beside each other
    taken = sum(clock for clock, _ in logged) if processes == 1 else max(clock for clock, _ in logged)
    result = {"share of the ideal": round(ideal / taken, 3), "virtual hours": round(taken / 3600, 2)}
    print(how, attempts, processes, result, flush=True)
    return {**result, "real seconds": round(seconds)}


def run_for_memory(rows: int, folder: str) -> None:
    """Let a whole dataset run ahead, with completions of one token, and say what memory it took."""
    datasets.disable_progress_bars()
    dataset = make_rows(rows)
    distill_fn = ReasonDistiller(VirtualGenerator(longest=1), journal_dir=f"{folder}/journal", max_rows=rows - 1)
    before = read_memory()
    try:
        distill_fn.apply(dataset)
    except Exception as err:
        assert "max_rows" in str(err), err
    journal = sum(path.stat().st_size for path in Path(folder).rglob("*.jsonl"))
    Path(folder, "memory.json").write_text(json.dumps([before, read_memory(), journal]))


def read_memory() -> int:
    """Return the memory of this process that is no file's, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def measure_memory(rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.scheduling", "--rows", str(rows)]
        command += ["--process", folder, "memory", "1"]
        start = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "HF_HOME": f"{folder}/home"})
        seconds = time.perf_counter() - start
        before, after, journal = json.loads(Path(folder, "memory.json").read_text())
    result = {
        "megabytes more at the end": round((after - before) / 1e6),
        "bytes a row": round((after - before) / rows),
        "megabytes of journal": round(journal / 1e6),
        "microseconds a row": round(1e6 * seconds / rows),
    }
    print(rows, result, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--memory-rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--pace", type=float, default=0.03, help="Real seconds of a virtual one, for 8 processes.")
    parser.add_argument("--process", nargs=3, metavar=("FOLDER", "HOW", "ATTEMPTS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.process:
        folder, how, attempts = arguments.process
        if how == "memory":
            run_for_memory(arguments.rows, folder)
        else:
            run(arguments.rows, folder, how, int(attempts))
        return
    rows = arguments.rows
    result: dict[str, Any] = {
        "rows": rows,
        "places": PLACES,
        "apply": measure(rows, "apply"),
        "map, batch_size=1000": measure(rows, "1000"),
        "map, batch_size=100": measure(rows, "100"),
        "apply, up to 8 attempts": measure(rows, "apply", attempts=8),
        "map, batch_size=1000, up to 8 attempts": measure(rows, "1000", attempts=8),
        "apply, 8 processes": measure(rows, "apply", processes=8, pace=arguments.pace),
        "memory": {f"{count} rows": measure_memory(count) for count in arguments.memory_rows},
    }
    write_result("scheduling", result)


if __name__ == "__main__":
    main()
