"""How fast is a teacher written with, and how near to what the machine can do at best?

    python -m benchmarks.throughput --model MODEL [--rows 24] [--max-new-tokens 96] [--repetitions 3]

Two workloads, greedy, in float32. "real": the first 24 real questions, each with 1 to 6 BM25 negatives cut to 700
characters. "long-tailed": prompts of a tiny random model whose completions are made to take 8 to 1024 tokens, median
64, where batches that wait for their longest row idle most. Each way of writing runs in processes of its own, which
load, warm up, and then write once; its text is compared, row by row, with that of `generate` for each row alone.

The bound is what the same machine would need without padding and without idling: prompt tokens over the best rate of
reading, and generated tokens over the best rate of writing, both measured with plain forward passes: over prompts of
all lengths, 1 or 4 at a time, and as the median of steps with 8, 16 or 32 rows. The best of these counts; of the
repetitions the median, as with everything else.
"""

import argparse
import json
import resource
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, describe_machine, run_in_process
from benchmarks.throughput_workloads import WORKLOADS, Workload
from hf_rare.compat.transformers import name_of_cache

HAND_WRITTEN = "map + generate, 8 rows"
WAYS = (HAND_WRITTEN, "map + generate, 32 rows", "pipeline, 8 rows", "plain", "static", "continuous")
ALONE = "map + generate, 1 row"
BOUND = "bound"


def write_by_hand(workload: Workload, rows_together: int) -> list[list[int]]:
    """Write as most people would: pad the next rows on the left, and call `generate`."""
    import torch

    tokenizer, written = workload.tokenizer, []
    for first in range(0, len(workload.prompts), rows_together):
        prompts = workload.prompts[first : first + rows_together]
        inputs = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        with torch.no_grad():
            output = workload.model.generate(**inputs, max_new_tokens=workload.max_new_tokens, do_sample=False)
        written += output[:, inputs["input_ids"].shape[1] :].tolist()
    return written


def write_by_pipeline(workload: Workload) -> list[str]:
    """Write with the pipeline of transformers."""
    from transformers import pipeline

    write = pipeline("text-generation", model=workload.model, tokenizer=workload.tokenizer)
    texts = [workload.tokenizer.decode(prompt) for prompt in workload.prompts]
    kwargs = {"max_new_tokens": workload.max_new_tokens, "do_sample": False, "return_full_text": False}
    outputs = write(texts, batch_size=8, add_special_tokens=False, **kwargs)
    return [output[0]["generated_text"] for output in outputs]


def write_by_engine(workload: Workload, engine: str) -> list[str]:
    """Write with one of the engines of hf_rare."""
    from hf_rare.generation.protocol import EncodedPrompt, Job, JobList

    jobs = [Job(EncodedPrompt([], "", prompt), 0) for prompt in workload.prompts]
    written = workload.make_generator(engine).generate(JobList(jobs))
    completions = {job: workload.read_completion(completion) for done in written for job, completion in done}
    return [completions[job] for job in jobs]


def measure_rates(workload: Workload) -> tuple[float, float]:
    """Measure the best rates of reading prompts and of writing, in tokens per second."""
    import torch
    from transformers import DynamicCache, StaticCache

    model, prompts = workload.model, sorted(workload.prompts, key=len)
    reading, writing = [], []
    with torch.no_grad():
        for rows in (1, 4):
            firsts = range(0, len(prompts) - rows + 1, max(2 * rows, len(prompts) // 12))  # of all lengths
            seconds, read = 0.0, 0
            for first in firsts:
                tokens = torch.tensor([prompt[: len(prompts[first])] for prompt in prompts[first : first + rows]])
                start = time.perf_counter()
                model(input_ids=tokens, **{name_of_cache(model): DynamicCache(config=model.config)}, logits_to_keep=1)
                seconds, read = seconds + time.perf_counter() - start, read + tokens.numel()
            reading.append(read / seconds)
        for rows in (8, 16, 32):
            length = len(prompts[len(prompts) // 2])
            cache = StaticCache(config=model.config, max_cache_len=length + 16)
            tokens = torch.tensor([prompts[len(prompts) // 2][-1:]] * rows)
            model(input_ids=tokens, **{name_of_cache(model): cache}, logits_to_keep=1)
            for layer in cache.layers:  # as if the prompts had been read: what the cache holds takes no other time
                layer.cumulative_length.fill_(length)
            steps = []
            for step in range(12):
                start = time.perf_counter()
                places = torch.full((rows, 1), length + step)
                model(input_ids=tokens, **{name_of_cache(model): cache}, position_ids=places, logits_to_keep=1)
                steps.append(time.perf_counter() - start)
            writing.append(rows / statistics.median(steps))
    return max(reading), max(writing)


def run_child(arguments: argparse.Namespace) -> None:
    """Be the process of one way of writing: write `OUTPUT`, with seconds, texts and peak memory."""
    workload = WORKLOADS[arguments.workload](arguments)
    workload.load()
    result: dict[str, Any] = {"prompt tokens": sum(map(len, workload.prompts))}
    way = arguments.way
    if way == BOUND:
        result["tokens/s read"], result["tokens/s written"] = map(lambda rate: round(rate, 1), measure_rates(workload))
    else:
        for is_warm in (False, True):
            whole, limit = workload.prompts, workload.max_new_tokens
            if not is_warm:
                workload.prompts, workload.max_new_tokens = [prompt[-40:] for prompt in whole[:2]], 2
            written: Any
            start = time.perf_counter()
            if way.startswith("map"):
                written = write_by_hand(workload, int(way.split()[-2]))
            elif way.startswith("pipeline"):
                written = write_by_pipeline(workload)
            else:
                written = write_by_engine(workload, way)
            result["seconds"] = round(time.perf_counter() - start, 2)
            workload.prompts, workload.max_new_tokens = whole, limit
        result["texts"] = [row if isinstance(row, str) else workload.read(row) for row in written]
    result["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    Path(arguments.output).write_text(json.dumps(result))


def run(arguments: argparse.Namespace, workload: str, way: str) -> dict[str, Any]:
    """Run one way of writing in a process of its own."""
    sizes = ["--rows", arguments.rows, "--max-new-tokens", arguments.max_new_tokens]
    sizes += ["--long-tailed-rows", arguments.long_tailed_rows]
    try:
        return run_in_process("throughput", "--model", arguments.model, *sizes, "--workload", workload, "--way", way)
    except RuntimeError as err:
        return {"failed": str(err)}


def measure(arguments: argparse.Namespace, workload: str) -> dict[str, Any]:
    """Measure all ways of writing one workload."""
    alone = run(arguments, workload, ALONE)
    tokens = WORKLOADS[workload](arguments).count(alone["texts"])
    ways = [way for way in arguments.ways if way in WAYS and (workload == "real" or not way.startswith("pipe"))]
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in (BOUND, *ways)}
    for repetition in range(arguments.repetitions):
        for way, results in runs.items():
            if repetition and way in arguments.once:
                continue
            results.append(run(arguments, workload, way))
            print(workload, way, {name: value for name, value in results[-1].items() if name != "texts"}, flush=True)
    rates = [statistics.median(result[f"tokens/s {kind}"] for result in runs[BOUND]) for kind in ("read", "written")]
    bound = alone["prompt tokens"] / rates[0] + tokens / rates[1]
    result: dict[str, Any] = {
        "rows": len(alone["texts"]),
        "prompt tokens": alone["prompt tokens"],
        "generated tokens": tokens,
        "distinct texts": len(set(alone["texts"])),
        "best tokens/s": {"read": rates[0], "written": rates[1]},
        "bound, seconds": round(bound, 1),
        "ways": {ALONE: {"seconds": [alone["seconds"]], "peak memory, MB": alone["peak memory, MB"]}},
    }
    by_hand = [done["seconds"] for done in runs.get(HAND_WRITTEN, []) if "seconds" in done]
    for way in ways:
        if failures := [done["failed"] for done in runs[way] if "failed" in done]:
            result["ways"][way] = {"failed": failures[0]}
            continue
        seconds = [done["seconds"] for done in runs[way]]
        median = statistics.median(seconds)
        pairs = zip(alone["texts"], runs[way][-1]["texts"], strict=True)
        result["ways"][way] = {
            "seconds": seconds,
            "median seconds": median,
            "bound / seconds": round(bound / median, 3),
            f"times as fast as {HAND_WRITTEN}": round(statistics.median(by_hand) / median, 2) if by_hand else None,
            "rows with the text of each row alone": sum(one == other for one, other in pairs),
            "peak memory, MB": max(done["peak memory, MB"] for done in runs[way]),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--long-tailed-rows", type=int, default=256)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--once", nargs="*", choices=WAYS, default=["continuous"], metavar="WAY", help="not repeated")
    parser.add_argument("--result", type=Path, default=RESULTS / "throughput.json", help="where the result goes")
    parser.add_argument("--workload", choices=WORKLOADS, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        run_child(arguments)
        return
    result: dict[str, Any] = {"machine": describe_machine(), "repetitions": arguments.repetitions}
    for workload in arguments.workloads:
        result[workload] = measure(arguments, workload)
        arguments.result.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")  # safe so far
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
