"""How long does a push take, and how much memory? 200,000 rows of 1.5 KB to a Hub on this machine.

python -m benchmarks.push [--rows 200000]
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.machine import write_result

REPO = "me/many-rows"


def make_rows(rows: int) -> Iterator[dict[str, Any]]:
    """Make rows of about 1.5 KB whose texts do not compress to nothing."""
    dice = random.Random(0)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 10))) for _ in range(20_000)]
    for i in range(rows):
        yield {
            "question": f"Question {i}?",
            "text": " ".join(dice.choices(words, k=90)),
            "hard_negatives": [" ".join(dice.choices(words, k=45))],
            "reasoning": " ".join(dice.choices(words, k=80)),
            "reasoning_status": "ok",
            "reasoning_completion_tokens": dice.randint(50, 500),
        }


def push(rows: int) -> None:
    """Be the process that pushes: print what it took."""
    import datasets

    from hf_rare import push_to_hub

    datasets.disable_progress_bars()
    dataset = datasets.Dataset.from_generator(make_rows, gen_kwargs={"rows": rows})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    push_to_hub(dataset, REPO, max_shard_size="100MB")
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    again = push_to_hub(dataset, REPO, max_shard_size="100MB")
    print(
        json.dumps(
            {
                "rows": rows,
                "MB of rows": round(dataset.data.nbytes / 1e6),
                "seconds": round(seconds, 1),
                "seconds of an identical push": round(time.perf_counter() - start, 1),
                "identical push made a commit": again is not None and again.has_changed,
                "MB of memory at most": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
                "MB of memory before": round(before / 1e3),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--push", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.push:
        push(arguments.rows)
        return
    from tests.support.loopback_hub import LoopbackHub

    with LoopbackHub() as hub:
        command = [sys.executable, "-m", "benchmarks.push", "--push", "--rows", str(arguments.rows)]
        environment = {**os.environ, **hub.environment(), "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        files = hub.commits(REPO)[0].files
        result = json.loads(done.stdout.splitlines()[-1])
    write_result("push", {**result, "shards": sum(path.endswith(".parquet") for path in files)})


if __name__ == "__main__":
    main()
