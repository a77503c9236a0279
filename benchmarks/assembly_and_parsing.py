"""The library's own work on 10,000 rows, tokenising apart: rows checked, prompts assembled, completions parsed.

    python -m benchmarks.assembly_and_parsing

Rows come from the PostgreSQL questions with documents of about 185 words. The baseline does the least anyone could do,
in the same run: join the texts, and split the completion at `</think>`.
"""

import statistics
import time

from benchmarks.machine import write_result
from benchmarks.real_rows import load_rows
from hf_rare.prompts.completion import parse_completion
from hf_rare.prompts.prompt import build_prompt
from hf_rare.rows.row import read_row
from hf_rare.settings.writers import DistillConfig

ROWS, REPEATS = 10_000, 5


def main() -> None:
    source = load_rows(num_negatives=3).to_list()
    rows = [
        {**source[i % len(source)], "question": f"{source[i % len(source)]['question']} ({i})"} for i in range(ROWS)
    ]
    completions = [f"<think>{row['text']}</think>\n\n{row['answer_text']}" for row in rows]
    config = DistillConfig()
    times: dict[str, list[float]] = {
        name: [] for name in ("assembly", "parsing", "baseline assembly", "baseline parsing")
    }
    for _ in range(REPEATS):
        start = time.perf_counter()
        prompts = [build_prompt(read_row(row, config), config) for row in rows]
        times["assembly"].append(time.perf_counter() - start)
        start = time.perf_counter()
        parsed = [parse_completion(completion) for completion in completions]
        times["parsing"].append(time.perf_counter() - start)
        start = time.perf_counter()
        plain = ["\n".join([*row["hard_negatives"], row["text"], row["scenario"], row["question"]]) for row in rows]
        times["baseline assembly"].append(time.perf_counter() - start)
        start = time.perf_counter()
        split = [completion.split("</think>") for completion in completions]
        times["baseline parsing"].append(time.perf_counter() - start)
    assert len(prompts) == len(parsed) == len(plain) == len(split) == ROWS
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    write_result(
        "assembly_and_parsing",
        {
            "rows": ROWS,
            "repeats": REPEATS,
            "median seconds": {name: round(seconds, 4) for name, seconds in medians.items()},
            "microseconds a row": round(1e6 * (medians["assembly"] + medians["parsing"]) / ROWS, 1),
            "ratio to the baseline": {
                name: round(medians[name] / medians[f"baseline {name}"], 1) for name in ("assembly", "parsing")
            },
        },
    )


if __name__ == "__main__":
    main()
