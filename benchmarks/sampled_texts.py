"""Are sampled texts those of every engine? 48 real rows by continuous batching, the static engine and `generate`.

    python -m benchmarks.sampled_texts --model MODEL [--rows 48] [--max-new-tokens 32] [--device cpu]

MODEL in float32, with the sampling of RARE (section 3) and a seed for each row. The engines write the rows in three
sizes of batch and two orders; every run is compared, row by row, with `generate` for one row at a time. A comparison
says something only when texts differ between rows, so distinct texts are counted too.
"""

import time
from typing import Any

import torch

from benchmarks.machine import write_result
from benchmarks.real_rows import load_rows, make_parser
from hf_rare import TransformersGenerator
from hf_rare.generation.protocol import EncodedPrompt, Job, JobList
from hf_rare.prompts.prompt import build_prompt
from hf_rare.rows.row import read_row
from hf_rare.settings.writers import DistillConfig

SAMPLING = {"temperature": 0.95, "top_p": 0.7, "top_k": 50}
SEVERAL = ((1, 1), (7, -1), (48, 1), (48, -1))
RUNS = {"plain": ((1, 1), (48, -1)), "static": SEVERAL, "continuous": SEVERAL}
"""For each engine: rows at a time, and the order, 1 or -1."""
REFERENCE = "plain, 1 at a time"


class PlainGenerator(TransformersGenerator):
    """Writes by `generate` in micro-batches."""

    def make_engine(self):
        return self.make_plain_engine()


def make_generator(model: Any, tokenizer: Any, engine: str, together: int, tokens: int, longest: int) -> Any:
    """Make a generator that writes so many rows at a time, and on a CPU holds no larger mask than that needs."""
    settings: dict[str, Any] = {
        "max_new_tokens": tokens,
        "generation_kwargs": SAMPLING,
        "max_batch_tokens": together * (longest + tokens),
    }
    if engine == "plain":
        return PlainGenerator(model, tokenizer, **settings)
    if engine == "continuous":
        settings["continuous_batching"] = {"max_requests_per_batch": together}
    return TransformersGenerator(model, tokenizer, engine=engine, **settings)


def write(generator: Any, prompts: dict[int, EncodedPrompt]) -> dict[int, str]:
    """Write each row, whose number is its seed."""
    jobs = [Job(prompt, row) for row, prompt in prompts.items()]
    completions = [pair for written in generator.generate(JobList(jobs)) for pair in written]
    assert not any(completion.error for _, completion in completions)
    return {job.seed: completion.text for job, completion in completions}


def compare(texts: dict[str, dict[int, str]], run: str) -> int:
    """Count the rows whose text is another than that of the reference."""
    return sum(texts[REFERENCE][row] != text for row, text in texts[run].items())


def main() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    parser = make_parser(__doc__)
    parser.set_defaults(max_new_tokens=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).to(arguments.device)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    rows = load_rows().select(range(arguments.rows))
    encoder = TransformersGenerator(model, tokenizer, max_new_tokens=arguments.max_new_tokens).encoder
    config = DistillConfig()
    prompts = dict(enumerate(encoder.encode([build_prompt(read_row(row, config), config).messages for row in rows])))
    longest = max(len(prompt.token_ids) for prompt in prompts.values())
    texts: dict[str, dict[int, str]] = {}
    for engine, runs in RUNS.items():
        for together, order in runs:
            generator = make_generator(model, tokenizer, engine, together, arguments.max_new_tokens, longest)
            generator.load()
            written_by = type(generator.engine).__name__
            run = f"{engine}, {together} at a time{', reversed' if order < 0 else ''}"
            start = time.perf_counter()
            texts[run] = write(generator, dict(list(prompts.items())[::order]))
            seconds = round(time.perf_counter() - start, 1)
            other = compare(texts, run)
            print(f"{run} ({written_by}): {seconds} s, {other} of {len(rows)} texts are others", flush=True)
            del generator
    reference = texts[REFERENCE]
    result = {
        "rows": len(rows),
        "max_new_tokens": arguments.max_new_tokens,
        "dtype": "float32",
        "device": arguments.device,
        "generation_kwargs": SAMPLING,
        "distinct texts": len(set(reference.values())),
        "rows that differ from generate for one row at a time": {run: compare(texts, run) for run in texts},
    }
    write_result("sampled_texts", result)


if __name__ == "__main__":
    main()
