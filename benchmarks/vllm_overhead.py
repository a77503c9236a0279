"""What does `VLLMGenerator` cost beside vLLM's own `LLM`, with the same model, prompts and settings?

    VLLM_CPU_OMP_THREADS_BIND=0-1 python -m benchmarks.vllm_overhead --model MODEL [--rows 24] [--repetitions 5]

It needs vLLM, in an environment of its own. The first 24 real questions, each with 1 to 6 BM25 negatives cut to 700
characters, are written greedily in float32: by `LLM.chat`, from messages to texts, by `LLM.generate`, from tokens to
texts, and by `VLLMGenerator` from either. The engine of `LLM` and that of `VLLMGenerator` have the same settings, with
prefix caching off, as a repetition would read no prompt; they are loaded in one process and take turns, so that what
else the machine does hits all alike. Each repetition begins with another way. The ratio is the median over repetitions
of the seconds of ours over those of theirs; the texts are compared row by row.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.machine import write_result
from benchmarks.real_rows import make_parser
from benchmarks.throughput_workloads import make_real_prompts
from hf_rare import ReasonDistiller, VLLMGenerator
from hf_rare.generation.protocol import Job, JobList

CHAT, GENERATE = "LLM.chat", "LLM.generate"
OURS = {CHAT: "VLLMGenerator, from messages", GENERATE: "VLLMGenerator, from tokens"}


def make_ways(arguments: Any) -> dict[str, Callable[[], list[tuple[str, int]]]]:
    """Load both engines, and make the ways of writing, each of which gives texts and numbers of tokens."""
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    engine = {"gpu_memory_utilization": arguments.memory, "enable_prefix_caching": False}
    settings = {"max_new_tokens": arguments.max_new_tokens, "generation_kwargs": {"do_sample": False}}
    generator = VLLMGenerator.from_pretrained(
        arguments.model, **settings, dtype="float32", context_length=arguments.context_length, engine_kwargs=engine
    )
    prompts = make_real_prompts(arguments.rows, ReasonDistiller(generator, journal_dir=None))
    messages = [list(prompt.messages) for prompt in prompts]
    tokens = [TokensPrompt(prompt_token_ids=prompt.token_ids) for prompt in prompts]
    generator.load()
    llm = LLM(arguments.model, dtype="float32", max_model_len=arguments.context_length, **engine)
    sampling = SamplingParams(temperature=0, max_tokens=arguments.max_new_tokens)

    def read(outputs: Any) -> list[tuple[str, int]]:
        return [(output.outputs[0].text, len(output.outputs[0].token_ids)) for output in outputs]

    def write(prompts: Any) -> list[tuple[str, int]]:
        jobs = [Job(prompt, 0) for prompt in prompts]
        done = {job: completion for ended in generator.generate(JobList(jobs)) for job, completion in ended}
        return [(done[job].text, done[job].completion_tokens) for job in jobs]

    return {
        CHAT: lambda: read(llm.chat(messages, sampling, use_tqdm=False)),
        OURS[CHAT]: lambda: write(generator.encoder.encode(messages)),
        GENERATE: lambda: read(llm.generate(tokens, sampling, use_tqdm=False)),
        OURS[GENERATE]: lambda: write(prompts),
    }


def main() -> None:
    parser = make_parser(__doc__, rows=24)
    parser.set_defaults(max_new_tokens=96)
    parser.add_argument("--context-length", type=int, default=4096)
    parser.add_argument("--memory", type=float, default=0.15, help="share of the memory that each engine may take")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    import vllm

    ways = make_ways(arguments)
    written = {way: write() for way, write in ways.items()}  # and all is warm
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    names = list(ways)
    for repetition in range(arguments.repetitions):
        first = repetition % len(names)
        for way in names[first:] + names[:first]:
            began = time.perf_counter()
            assert ways[way]() == written[way], f"{way} writes something else than before"
            seconds[way].append(round(time.perf_counter() - began, 2))
            print(repetition, way, seconds[way][-1], flush=True)
    texts = {way: [text for text, _ in written[way]] for way in ways}
    write_result(
        "vllm_overhead",
        {
            "vllm": vllm.__version__,
            "rows": arguments.rows,
            "repetitions": arguments.repetitions,
            "generated tokens": sum(count for _, count in written[CHAT]),
            "distinct texts": len(set(texts[CHAT])),
            "seconds": seconds,
            "median seconds": {way: statistics.median(times) for way, times in seconds.items()},
            "ours / theirs": {
                theirs: round(statistics.median(a / b for a, b in zip(seconds[ours], seconds[theirs], strict=True)), 3)
                for theirs, ours in OURS.items()
            },
            "rows with the same text": {
                theirs: sum(a == b for a, b in zip(texts[ours], texts[theirs], strict=True))
                for theirs, ours in OURS.items()
            },
        },
    )


if __name__ == "__main__":
    main()
