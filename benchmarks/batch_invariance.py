"""Does a row's text depend on its batch? 48 real rows, greedy and sampled, in several batch sizes and orders.

    python -m benchmarks.batch_invariance --model MODEL [--rows 48] [--max-new-tokens 64]

MODEL in float32. Every run is compared, row by row, with the run at batch size 1. A comparison of texts says something
only when they differ between rows, so distinct texts are counted too.
"""

import time

import datasets

from benchmarks.machine import write_result
from benchmarks.real_rows import load_rows, make_parser
from hf_rare import ReasonDistiller

SAMPLING = {"greedy": {}, "sampled": {"temperature": 0.95, "top_p": 0.7, "top_k": 50}}  # RARE, section 3


def main() -> None:
    arguments = make_parser(__doc__).parse_args()
    datasets.disable_progress_bars()
    ds = load_rows().select(range(arguments.rows))
    backwards = ds.select(range(len(ds) - 1, -1, -1))
    result = {"rows": len(ds), "max_new_tokens": arguments.max_new_tokens, "dtype": "float32"}
    for name, generation_kwargs in SAMPLING.items():
        distill_fn = ReasonDistiller.from_pretrained(
            arguments.model,
            dtype="float32",
            max_new_tokens=arguments.max_new_tokens,
            generation_kwargs=generation_kwargs,
            seed=1,
            journal_dir=None,
        )
        distill_fn.generator.load()
        texts, seconds = {}, {}
        for run, rows, batch_size in (
            ("batch size 48", ds, 48),
            ("batch size 48, reversed", backwards, 48),
            ("batch size 7", ds, 7),
            ("batch size 1", ds, 1),
        ):
            start = time.perf_counter()
            distilled = rows.map(distill_fn, batched=True, batch_size=batch_size, keep_in_memory=True)
            seconds[run] = round(time.perf_counter() - start, 1)
            texts[run] = dict(zip(distilled["id"], distilled["reasoning"], strict=True))
            print(name, run, seconds[run], flush=True)
        reference = texts["batch size 1"]
        result[name] = {
            "generation_kwargs": generation_kwargs,
            "distinct texts": len(set(reference.values())),
            "rows that differ from batch size 1": {
                run: sum(reference[row] != text for row, text in run_texts.items()) for run, run_texts in texts.items()
            },
            "seconds": seconds,
        }
    write_result("batch_invariance", result)


if __name__ == "__main__":
    main()
