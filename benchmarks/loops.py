"""Rows that repeat themselves: what is saved by ending them, and whether any is cut that would have ended by itself.

    python -m benchmarks.loops --model MODEL [--rows 48] [--max-new-tokens 512]

MODEL in float32 writes real rows, greedy and sampled, each to its own end or the limit. Their tokens are then read
with several settings of `repetition_detection`, as an engine would read them: what it ends is written no further.
"""

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
    *({"max_pattern_size": 1024, "min_pattern_size": size, "min_count": 4} for size in (32, 16, 4, 1)),
    *({"max_pattern_size": 1024, "min_pattern_size": 64, "min_count": count} for count in (3, 2)),
]

Written = tuple[list[int], Completion]


def write(distill_fn: ReasonDistiller, rows: datasets.Dataset) -> list[Written]:
    """Write a completion for each row; give their tokens too."""
    written: list[Written] = []
    read = Decoding.read

    def keep(self: Decoding, ids: list[int], prompt_tokens: int) -> Completion:
        completion = read(self, ids, prompt_tokens)
        written.append((list(ids[: completion.completion_tokens]), completion))
        return completion

    with patch.object(Decoding, "read", keep):
        rows.map(distill_fn, batched=True, batch_size=len(rows), keep_in_memory=True)
    return written


def measure(written: list[Written], settings: dict[str, int]) -> dict[str, object]:
    """Count what the settings would have saved."""
    found = [(find_repetition(ids, settings), len(ids), completion) for ids, completion in written]
    ended = [(loop, length, completion) for loop, length, completion in found if loop and loop.end < length]
    return {
        "repetition_detection": settings,
        "rows ended": len(ended),
        "rows ended that had ended by themselves": sum(
            completion.finish_reason == "stop" for _, _, completion in ended
        ),
        "tokens saved": sum(length - loop.end for loop, length, _ in ended),
        "tokens of a pattern": sorted(loop.pattern_size for loop, _, _ in ended),
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.set_defaults(max_new_tokens=512)
    arguments = parser.parse_args()
    datasets.disable_progress_bars()
    rows = load_rows().select(range(arguments.rows))
    result: dict[str, object] = {"max_new_tokens": arguments.max_new_tokens, "dtype": "float32"}
    for name, generation_kwargs in SAMPLING.items():
        distill_fn = ReasonDistiller.from_pretrained(
            arguments.model,
            dtype="float32",
            max_new_tokens=arguments.max_new_tokens,
            generation_kwargs=generation_kwargs,
            repetition_detection=None,
            seed=1,
            journal_dir=None,
        )
        written = write(distill_fn, rows)
        result[name] = {
            "generation_kwargs": generation_kwargs,
            "rows": len(written),
            "rows that reach the limit": sum(completion.finish_reason == "length" for _, completion in written),
            "distinct texts": len({completion.text for _, completion in written}),
            "tokens": sum(len(ids) for ids, _ in written),
            "settings": [measure(written, settings) for settings in SETTINGS],
        }
        print(name, result[name], flush=True)
    write_result("loops", result)


if __name__ == "__main__":
    main()
