"""Rows that repeat themselves: what is saved by ending them, and whether any is cut that would have ended by itself.

    python -m benchmarks.loops --model MODEL [--rows 48] [--max-new-tokens 512] [--seeds 3] [--tokens FILE]

MODEL in float32 writes real rows, greedy once and sampled with several seeds, each to its own end or the limit. Their
tokens are then read with several settings of `repetition_detection`, as an engine would read them: what it ends is
written no further. FILE keeps the tokens of each run as soon as it is written, and a run that lies there is read.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from unittest.mock import patch

import datasets

from benchmarks.batch_invariance import SAMPLING
from benchmarks.machine import write_result
from benchmarks.real_rows import load_rows, make_parser
from hf_rare import Completion, ReasonDistiller
from hf_rare.generation.decoding import Decoding
from hf_rare.generation.repetition import find_repetition
from hf_rare.settings.generation import REPETITION_DETECTION

SETTINGS = [
    REPETITION_DETECTION,
    *(
        {"max_pattern_size": 1024, "min_pattern_size": size, "min_count": count}
        for size in (64, 32, 16, 1)
        for count in (10, 8, 6, 5, 4, 3)
    ),
]


@dataclass
class Written:
    """The tokens of a row, and why it ended."""

    tokens: list[int]
    finish_reason: str


def write(distill_fn: ReasonDistiller, rows: datasets.Dataset) -> list[Written]:
    """Write a completion for each row."""
    written: list[Written] = []
    read = Decoding.read

    def keep(self: Decoding, ids: list[int], prompt_tokens: int) -> Completion:
        completion = read(self, ids, prompt_tokens)
        written.append(Written(list(ids[: completion.completion_tokens]), completion.finish_reason))
        return completion

    with patch.object(Decoding, "read", keep):
        rows.map(distill_fn, batched=True, batch_size=len(rows), keep_in_memory=True)
    return written


def make_distiller(arguments: argparse.Namespace, sampling: str, seed: int) -> ReasonDistiller:
    """Make one that ends no loop."""
    return ReasonDistiller.from_pretrained(
        arguments.model,
        dtype="float32",
        max_new_tokens=arguments.max_new_tokens,
        generation_kwargs=SAMPLING[sampling],
        repetition_detection=None,
        seed=seed,
        journal_dir=None,
    )


def measure(written: list[Written], settings: dict[str, int]) -> dict[str, object]:
    """Count what the settings would have saved."""
    found = [(find_repetition(row.tokens, settings), row) for row in written]
    ended = [(loop, row) for loop, row in found if loop and loop.end < len(row.tokens)]
    return {
        "repetition_detection": settings,
        "rows ended": len(ended),
        "rows ended that had ended by themselves": sum(row.finish_reason == "stop" for _, row in ended),
        "tokens saved": sum(len(row.tokens) - loop.end for loop, row in ended),
        "tokens of a pattern, median": median(loop.pattern_size for loop, _ in ended) if ended else None,
    }


def read_or_write(arguments: argparse.Namespace, rows: datasets.Dataset, sampling: str, seed: int) -> list[Written]:
    """Read a run of the file, or write it and keep it there."""
    file = arguments.tokens
    kept = json.loads(file.read_text()) if file and file.exists() else {}
    run = f"{sampling}, seed {seed}"
    if run not in kept:
        written = write(make_distiller(arguments, sampling, seed), rows)
        kept[run] = [asdict(row) for row in written]
        if file:
            file.write_text(json.dumps(kept))
    return [Written(**row) for row in kept[run]]


def main() -> None:
    parser = make_parser(__doc__)
    parser.set_defaults(max_new_tokens=512)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=Path)
    arguments = parser.parse_args()
    datasets.disable_progress_bars()
    rows = load_rows().select(range(arguments.rows))
    result: dict[str, object] = {"max_new_tokens": arguments.max_new_tokens, "dtype": "float32"}
    for sampling, generation_kwargs in SAMPLING.items():
        seeds = range(1, arguments.seeds + 1 if generation_kwargs else 2)
        written = [row for seed in seeds for row in read_or_write(arguments, rows, sampling, seed)]
        result[sampling] = {
            "generation_kwargs": generation_kwargs,
            "seeds": list(seeds),
            "rows": len(written),
            "rows that end by themselves": sum(row.finish_reason == "stop" for row in written),
            "distinct texts": len({tuple(row.tokens) for row in written}),
            "tokens": sum(len(row.tokens) for row in written),
            "settings": [measure(written, settings) for settings in SETTINGS],
        }
        print(sampling, result[sampling], flush=True)
    write_result("loops", result)


if __name__ == "__main__":
    main()
