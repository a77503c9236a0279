"""What does `VLLMGenerator` cost beside vLLM's own `LLM.chat`, with the same model, rows and settings?

    VLLM_CPU_OMP_THREADS_BIND=0-1 python -m benchmarks.vllm_overhead --model MODEL [--rows 24] [--repetitions 3]

It needs vLLM, in an environment of its own. The first 24 real questions, each with 1 to 6 BM25 negatives cut to 700
characters, are written greedily in float32, from messages to texts, by `LLM.chat` and by `VLLMGenerator`. The engines
of both have the same settings, with prefix caching off, as a repetition would read no prompt; they are loaded in one
process and take turns, each beginning every other time, so that what else the machine does hits both alike. The ratio
is the median over repetitions of the seconds of ours over those of theirs, and likewise of the seconds of CPU that all
processes took, which other work on the machine changes less; the texts are compared row by row.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.machine import write_result
from benchmarks.real_rows import make_parser
from benchmarks.throughput_workloads import make_real_prompts
from hf_rare import ReasonDistiller, VLLMGenerator
from hf_rare.generation.protocol import Job, JobList

THEIRS, OURS = "LLM.chat", "VLLMGenerator"


def make_ways(arguments: Any) -> dict[str, Callable[[], list[tuple[str, int]]]]:
    """Load both engines, and make the ways of writing, each of which gives texts and numbers of tokens."""
    from vllm import LLM, SamplingParams

    engine = {"gpu_memory_utilization": arguments.memory, "enable_prefix_caching": False}
    engine["enforce_eager"] = arguments.eager
    settings = {"max_new_tokens": arguments.max_new_tokens, "generation_kwargs": {"do_sample": False}}
    generator = VLLMGenerator.from_pretrained(
        arguments.model, **settings, dtype="float32", context_length=arguments.context_length, engine_kwargs=engine
    )
    prompts = make_real_prompts(arguments.rows, ReasonDistiller(generator, journal_dir=None))
    messages = [list(prompt.messages) for prompt in prompts]
    generator.load()
    llm = LLM(arguments.model, dtype="float32", max_model_len=arguments.context_length, **engine)
    sampling = SamplingParams(temperature=0, max_tokens=arguments.max_new_tokens)

    def chat() -> list[tuple[str, int]]:
        outputs = [output.outputs[0] for output in llm.chat(messages, sampling, use_tqdm=False)]
        return [(output.text, len(output.token_ids)) for output in outputs]

    def write() -> list[tuple[str, int]]:
        jobs = [Job(prompt, 0) for prompt in generator.encoder.encode(messages)]
        done = {job: completion for ended in generator.generate(JobList(jobs)) for job, completion in ended}
        return [(done[job].text, done[job].completion_tokens) for job in jobs]

    return {THEIRS: chat, OURS: write}


def read_cpu_seconds() -> float:
    """Return the seconds of CPU that this process and those below it have taken so far."""
    import psutil

    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def compare(seconds: dict[str, list[float]]) -> float:
    """Return the median, over repetitions, of ours over theirs."""
    pairs = zip(seconds[OURS], seconds[THEIRS], strict=True)
    return round(statistics.median(ours / theirs for ours, theirs in pairs), 3)


def main() -> None:
    parser = make_parser(__doc__, rows=24)
    parser.set_defaults(max_new_tokens=96)
    parser.add_argument("--context-length", type=int, default=4096)
    parser.add_argument("--memory", type=float, default=0.15, help="share of the memory that each engine may take")
    parser.add_argument("--eager", action="store_true", help="compile nothing, for both: vLLM starts sooner")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    import vllm

    ways = make_ways(arguments)
    written = {way: write() for way, write in ways.items()}  # and all is warm
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    of_cpu: dict[str, list[float]] = {way: [] for way in ways}
    names = list(ways)
    for repetition in range(arguments.repetitions):
        first = repetition % len(names)
        for way in names[first:] + names[:first]:
            began, cpu_began = time.perf_counter(), read_cpu_seconds()
            assert ways[way]() == written[way], f"{way} writes something else than before"
            seconds[way].append(round(time.perf_counter() - began, 2))
            of_cpu[way].append(round(read_cpu_seconds() - cpu_began, 2))
            print(repetition, way, seconds[way][-1], of_cpu[way][-1], flush=True)
    texts = {way: [text for text, _ in written[way]] for way in ways}
    write_result(
        "vllm_overhead",
        {
            "vllm": vllm.__version__,
            "VLLM_CPU_OMP_THREADS_BIND": os.environ.get("VLLM_CPU_OMP_THREADS_BIND"),
            "enforce_eager": arguments.eager,
            "rows": arguments.rows,
            "repetitions": arguments.repetitions,
            "generated tokens": sum(count for _, count in written[THEIRS]),
            "distinct texts": len(set(texts[THEIRS])),
            "seconds": seconds,
            "median seconds": {way: statistics.median(times) for way, times in seconds.items()},
            "ours / theirs": compare(seconds),
            "seconds of CPU": of_cpu,
            "ours / theirs, of CPU": compare(of_cpu),
            "rows with the same text": sum(ours == theirs for ours, theirs in zip(*texts.values(), strict=True)),
        },
    )


if __name__ == "__main__":
    main()
