"""What the journal costs: the time spent in it, in microseconds a row and as a share of a run.

    python -m benchmarks.journal_overhead --model MODEL [--rows 16] [--max-new-tokens 64]

Measured inside runs that are otherwise ordinary: 2,000 short rows with a tiny random model, and real rows with MODEL.
Keys, look-ups, refreshing, writing and the JSON of it all count. The run without a journal is timed beside it.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets

from benchmarks.machine import write_result
from benchmarks.real_rows import load_rows, make_parser
from hf_rare import ReasonDistiller
from hf_rare.runs.completions import KeptCompletions
from hf_rare.runs.journal import Journal
from tests.support.tiny import save_tiny_model

PARTS = [
    (Journal, "open"),
    (Journal, "refresh"),
    (Journal, "append"),
    (Journal, "read"),
    (KeptCompletions, "open"),
    (KeptCompletions, "look_up"),
    (KeptCompletions, "keep"),
]


@contextmanager
def time_spent() -> Iterator[list[float]]:
    """Add up the time spent in the outermost calls of `PARTS`."""
    spent, depth, originals = [0.0], [0], []

    def timed(function: Any) -> Any:
        def run(*arguments: Any, **kwargs: Any) -> Any:
            depth[0] += 1
            start = time.perf_counter()
            try:
                return function(*arguments, **kwargs)
            finally:
                depth[0] -= 1
                if depth[0] == 0:
                    spent[0] += time.perf_counter() - start

        return run

    for owner, name in PARTS:
        original = owner.__dict__[name]
        originals.append((owner, name, original))
        is_static = isinstance(original, staticmethod)
        wrapped = timed(original.__func__ if is_static else original)
        setattr(owner, name, staticmethod(wrapped) if is_static else wrapped)
    try:
        yield spent
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def measure(model: str, rows: datasets.Dataset, repeats: int, **settings: Any) -> dict[str, Any]:
    """Run with and without a journal, `repeats` times each, in turn."""
    shares, costs, ratios = [], [], []
    for _ in range(repeats):
        seconds = {}
        for with_journal in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                distill_fn = ReasonDistiller.from_pretrained(
                    model, dtype="float32", journal_dir=folder if with_journal else None, **settings
                )
                distill_fn.generator.load()
                with time_spent() as spent:
                    start = time.perf_counter()
                    rows.map(distill_fn, batched=True, keep_in_memory=True, load_from_cache_file=False)
                    seconds[with_journal] = time.perf_counter() - start
                if with_journal:
                    shares.append(100 * spent[0] / seconds[True])
                    costs.append(1e6 * spent[0] / len(rows))
        ratios.append(seconds[True] / seconds[False])
    return {
        "rows": len(rows),
        "repeats": repeats,
        **{name: value for name, value in settings.items() if name.startswith("max_")},
        "microseconds a row in the journal": round(statistics.median(costs), 1),
        "percent of the run in the journal": round(statistics.median(shares), 3),
        "wall time with / without a journal": round(statistics.median(ratios), 3),
    }


def main() -> None:
    arguments = make_parser(__doc__, rows=16).parse_args()
    datasets.disable_progress_bars()
    short = [
        {
            "question": f"What of {i}?",
            "scenario": "",
            "text": f"Rule {i} counts. " * 4,
            "hard_negatives": [f"Not {i}."],
        }
        for i in range(2000)
    ]
    with tempfile.TemporaryDirectory() as folder:
        tiny = str(save_tiny_model(Path(folder)))
        result = {"tiny": measure(tiny, datasets.Dataset.from_list(short), 5, max_new_tokens=4)}
    real = load_rows().select(range(arguments.rows))
    result["real model"] = measure(arguments.model, real, 3, max_new_tokens=arguments.max_new_tokens)
    write_result("journal_overhead", result)


if __name__ == "__main__":
    main()
