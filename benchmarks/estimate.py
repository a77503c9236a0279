"""How near is an estimate? Eight of 48 real rows are tried, then all are distilled and timed.

python -m benchmarks.estimate --model MODEL [--rows 48] [--max-new-tokens 64]
"""

import time

import datasets

from benchmarks.machine import write_result
from benchmarks.real_rows import load_rows, make_parser
from hf_rare import ReasonDistiller


def main() -> None:
    arguments = make_parser(__doc__).parse_args()
    datasets.disable_progress_bars()
    rows = load_rows().select(range(arguments.rows))
    distill_fn = ReasonDistiller.from_pretrained(
        arguments.model, dtype="float32", max_new_tokens=arguments.max_new_tokens, journal_dir=None
    )
    predicted = distill_fn.estimate(rows)
    start = time.perf_counter()
    distilled = rows.map(distill_fn, batched=True, keep_in_memory=True, load_from_cache_file=False)
    seconds = time.perf_counter() - start
    completion_tokens = sum(distilled["reasoning_completion_tokens"])
    write_result(
        "estimate",
        {
            "rows": len(rows),
            "rows tried": predicted.sample,
            "max_new_tokens": arguments.max_new_tokens,
            "estimate": str(predicted),
            "estimated seconds": round(3600 * predicted.hours, 1),
            "measured seconds": round(seconds, 1),
            "estimated / measured seconds": round(3600 * predicted.hours / seconds, 3),
            "estimated / measured generated tokens": round(predicted.completion_tokens / completion_tokens, 3),
        },
    )


if __name__ == "__main__":
    main()
