"""What all but the model costs: rows a second, and memory, with a generator that answers at once.

    python -m benchmarks.own_cost --model MODEL [--rows 20000] [--many-rows 100000] [--repetitions 3]

Rows have prompts of about 1,000 tokens, in the words of the PostgreSQL documentation, each with a number of its own.
They go through `map` as always: rows checked, prompts assembled, rendered and tokenised by MODEL's own tokenizer,
completions into a journal, parsed and laid out as columns. MODEL's weights are not loaded. Each run is a process of
its own, with the package fastokens and without it. The baseline, in the same run, is MODEL's own tokenizer alone on
the same prompts. Memory is the most that is seen, once for every 1,000 rows, without the pages of memory-mapped files;
`--many-rows` are distilled once more to see that it does not grow with them, and by two processes (`num_proc=2`),
whose start and loading count, to see what two cores can do.
"""

import argparse
import importlib.metadata
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets

from benchmarks.machine import run_in_process, write_result
from benchmarks.real_rows import load_rows
from hf_rare import ReasonDistiller, TransformersGenerator
from hf_rare.generation.protocol import Completion, Job, JobSource, Observer

WORDS = 180
"""Words of each of the four documents of a row."""

MEMORY_EVERY = 125
"""Memory is read, which takes time itself, once for so many times eight completions."""

TRACE = "<think>" + "Document 1 says that a lock is held until the end of the transaction. " * 12 + "</think>\n\nYes."


class AtOnce(TransformersGenerator):
    """Has a completion for every prompt, and loads nothing but the tokenizer."""

    memory = 0
    """The most memory seen, in MB."""

    def load(self) -> None:
        """Load nothing."""

    @property
    def refills(self) -> bool:
        """Whether a row that has ended makes room for the next one at once."""
        return True

    def generate(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Return completions, eight at a time."""
        for number in itertools.count():
            if number % MEMORY_EVERY == 0:
                AtOnce.memory = max(AtOnce.memory, read_memory())
            if not (jobs := source.take(8)):
                return
            if observer is not None:
                observer.begin(jobs)
                observer.add_tokens(sum(len(job.prompt.token_ids) for job in jobs), 200 * len(jobs))
            yield [(job, Completion(TRACE, "stop", len(job.prompt.token_ids), 200)) for job in jobs]


def read_memory() -> int:
    """Return the memory of this process in MB, without the pages of files, such as those of the dataset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) // 1024


def make_rows(number: int) -> Iterator[dict[str, Any]]:
    """Make rows, all different."""
    words = " ".join(load_rows()["text"][:]).split()
    count = len(words)
    words += words[:WORDS]  # a document may run over the end
    for i in range(number):
        starts = [(i * 7 + k * 811) % count for k in range(4)]
        texts = [" ".join(words[start : start + WORDS]) for start in starts]
        yield {"question": f"What of row {i}?", "scenario": "", "text": texts[0], "hard_negatives": texts[1:]}


def run_child(arguments: argparse.Namespace) -> None:
    """Distill rows, and tokenise their prompts alone."""
    datasets.disable_progress_bars()
    if arguments.without_fastokens:
        sys.modules["fastokens"] = None  # type: ignore[assignment]  # as if it were not installed
    with tempfile.TemporaryDirectory() as folder:
        rows = datasets.Dataset.from_generator(make_rows, gen_kwargs={"number": arguments.rows}, cache_dir=folder)
        generator = AtOnce.from_pretrained(arguments.model)
        distill_fn = ReasonDistiller(generator, journal_dir=f"{folder}/journal")
        # loads the tokenizer, and fastokens too; processes that are forked do that by themselves
        distill_fn.prepare(rows[: 1000 if arguments.processes == 1 else 1])
        start = time.perf_counter()
        processes = arguments.processes if arguments.processes > 1 else None
        done = rows.map(distill_fn, batched=True, num_proc=processes, cache_file_name=f"{folder}/done.arrow")
        seconds = time.perf_counter() - start
        assert set(done["reasoning_status"]) == {"ok"}
        texts = [row.encoded.text for row in distill_fn.prepare(rows[:1000]) if row.encoded is not None]
        tokenizer = generator.teacher.tokenizer
        start = time.perf_counter()
        tokens = sum(map(len, tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]))
        alone = time.perf_counter() - start
    result = {
        "rows a second": round(arguments.rows / seconds),
        "rows a second, tokenizer alone": round(len(texts) / alone),
        "tokens of a prompt": round(tokens / len(texts)),
        "memory, MB": AtOnce.memory,
    }
    Path(arguments.output).write_text(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--many-rows", type=int, default=100_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--without-fastokens", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.output:
        run_child(arguments)
        return
    run = partial(run_in_process, "own_cost", "--model", arguments.model, "--rows")
    result: dict[str, Any] = {
        "fastokens": importlib.metadata.version("fastokens"),
        "rows": arguments.rows,
        "repetitions": arguments.repetitions,
    }
    runs: dict[str, list[dict[str, Any]]] = {"with fastokens": [], "without": [], "two processes": []}
    for _ in range(arguments.repetitions):
        runs["with fastokens"].append(run(arguments.rows))
        runs["without"].append(run(arguments.rows, "--without-fastokens"))
        runs["two processes"].append(run(arguments.many_rows, "--processes", 2))
    for way, done in runs.items():
        result[way] = {name: statistics.median(one[name] for one in done) for name in done[0]}
    for name in set(result["two processes"]) - {"rows a second"}:
        del result["two processes"][name]  # it is not that of the workers
    result["many rows"] = arguments.many_rows
    result["with fastokens"]["memory with many rows, MB"] = run(arguments.many_rows)["memory, MB"]
    write_result("own_cost", result)


if __name__ == "__main__":
    main()
