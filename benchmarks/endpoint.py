"""What it costs to ask a server: seconds, memory and CPU time of the client, with a server on loopback.

    python -m benchmarks.endpoint [--repeats 7]

The server is a process of its own and answers 50 milliseconds after it was asked. Measured are 1,000 short requests,
64 at a time; the CPU time of a request, beside that of a bare httpx2 client which sends the same bodies and reads the
same answers; and the memory of a run of 10,000 rows of usual length, 500 at a time, with a journal.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets

from benchmarks.machine import run_in_process, write_result

LATENCY = 0.05
SHORT, AT_ONCE = 1000, 64
ROWS, MANY_AT_ONCE = 10_000, 500
WORDS = 200
"""Of an answer of usual length; a short one has 16. One that streams comes in so many pieces."""


def serve() -> None:
    """Be the server: print the address, and answer until the input ends."""
    from tests.support.chat_server import Answer, ChatServer, Request, complete, stream

    def make_answers(words: int) -> dict[bool, Answer]:
        texts = ["<think>", *["because "] * (words - 4), "</think>", "It ", "is ", "so."]
        whole = json.dumps(complete("".join(texts)))
        return {False: Answer(whole, delay=LATENCY), True: Answer(**{**vars(stream(*texts)), "delay": LATENCY})}

    short, usual = make_answers(16), make_answers(WORDS)

    def script(request: Request) -> Answer:
        server.requests.clear()
        return (usual if len(request.prompt) > 1000 else short)[bool(request.body.get("stream"))]

    with ChatServer(script) as server:
        print(server.base_url, flush=True)
        sys.stdin.read()


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run the server in a process of its own; give its address."""
    command = [sys.executable, "-m", "benchmarks.endpoint", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def make_conversations(count: int) -> list[list[dict[str, str]]]:
    """Make short conversations."""
    return [[{"role": "user", "content": f"Rule {i} says that a part is counted once. Why?"}] for i in range(count)]


def ask_with_generator(url: str, streamed: bool) -> None:
    """Ask for short answers, as a run does."""
    from hf_rare import InferenceClientGenerator
    from hf_rare.generation.protocol import Job, JobList

    generator = InferenceClientGenerator.from_endpoint("m", base_url=url, max_concurrency=AT_ONCE, stream=streamed)
    prompts = generator.encoder.encode(make_conversations(SHORT))
    done = [entry for part in generator.generate(JobList(Job(prompt, 0) for prompt in prompts)) for entry in part]
    assert len(done) == SHORT
    assert {completion.finish_reason for _, completion in done} == {"stop"}


def ask_with_httpx(url: str, streamed: bool) -> None:
    """Ask for the same, with nothing but a client for HTTP."""
    import httpx2

    streaming = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {"stream": False}

    async def ask(client: Any, places: asyncio.Semaphore, messages: list[dict[str, str]]) -> None:
        body = {"model": "m", "messages": messages, **streaming, "max_tokens": 4096, "seed": 0}
        async with places, client.stream("POST", f"{url}/chat/completions", json=body) as response:
            if not streamed:
                assert json.loads(await response.aread())["choices"]
                return
            texts = []
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    choices = json.loads(line[6:])["choices"]
                    texts += [choice["delta"].get("content", "") for choice in choices]
            assert len("".join(texts)) > 50

    async def ask_all() -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=AT_ONCE)
        async with httpx2.AsyncClient(limits=limits, timeout=60) as client:
            places = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(ask(client, places, messages) for messages in make_conversations(SHORT)))

    asyncio.run(ask_all())


def ask_short(url: str, repeats: int) -> dict[str, Any]:
    """Time short requests, in turns with those of a bare client."""
    ways: dict[str, Callable[[str, bool], None]] = {"here": ask_with_generator, "httpx2 alone": ask_with_httpx}
    seconds: dict[tuple[str, bool], list[float]] = {}
    cpu: dict[tuple[str, bool], list[float]] = {}
    for repeat in range(repeats + 1):
        for streamed in (False, True):
            for name, ask in ways.items():
                start, start_of_cpu = time.perf_counter(), time.process_time()
                ask(url, streamed)
                if repeat:  # the first time imports
                    seconds.setdefault((name, streamed), []).append(time.perf_counter() - start)
                    cpu.setdefault((name, streamed), []).append((time.process_time() - start_of_cpu) / SHORT)
    result: dict[str, Any] = {}
    for streamed in (False, True):
        of_ways = {name: statistics.median(cpu[name, streamed]) for name in ways}
        result["streamed" if streamed else "whole"] = {
            "seconds": round(statistics.median(seconds["here", streamed]), 2),
            "seconds, httpx2 alone": round(statistics.median(seconds["httpx2 alone", streamed]), 2),
            "CPU milliseconds a request": round(1e3 * of_ways["here"], 2),
            "CPU milliseconds a request, httpx2 alone": round(1e3 * of_ways["httpx2 alone"], 2),
            "CPU milliseconds a request more": round(1e3 * (of_ways["here"] - of_ways["httpx2 alone"]), 2),
        }
    return result


def make_rows() -> Iterator[dict[str, Any]]:
    """Make rows with documents of about 1,000 tokens in all."""
    for i in range(ROWS):
        texts = [f"Rule {i}.{k} says that every part is counted once, save on Sundays. " * 18 for k in range(4)]
        yield {"question": f"What of {i}?", "scenario": "", "text": texts[0], "hard_negatives": texts[1:]}


def distil_many(url: str) -> dict[str, Any]:
    """Be the process whose memory is measured."""
    from hf_rare import ReasonDistiller

    datasets.disable_progress_bars()
    rows = datasets.Dataset.from_generator(make_rows)
    with tempfile.TemporaryDirectory() as journal:
        distill_fn = ReasonDistiller.from_endpoint(
            "m", base_url=url, max_concurrency=MANY_AT_ONCE, journal_dir=journal
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, start_of_cpu = time.perf_counter(), time.process_time()
        distilled = distill_fn.apply(rows)
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_of_cpu
    assert set(distilled["reasoning_status"]) == {"ok"}
    return {
        "seconds": round(seconds, 1),
        "CPU milliseconds a row": round(1e3 * cpu / ROWS, 2),
        "MB of memory before": round(before / 1e3),
        "MB of memory at most": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--many", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
    elif arguments.many:
        arguments.output.write_text(json.dumps(distil_many(arguments.many)))
    else:
        with serving() as url:
            short = ask_short(url, arguments.repeats)
            many = run_in_process("endpoint", "--many", url)
        settings = {"latency in seconds": LATENCY, "repeats": arguments.repeats}
        short = {"requests": SHORT, "at once": AT_ONCE, **short}
        write_result("endpoint", {**settings, "short": short, "long": {"rows": ROWS, "at once": MANY_AT_ONCE, **many}})


if __name__ == "__main__":
    main()
