"""How fast is a teacher written with on a GPU, by which engine, and how near to what the card can do at best?

    python -m benchmarks.gpu [--size 8b] [--texts TEXTS] [--ways continuous static generate VLLMGenerator ...]

A random model in the shape of Llama 3.1 8B, in bfloat16, whose weights nobody downloads. Rows are prompts of 2,048
random tokens; each gets one text of 1,024 new tokens, or four (`num_samples`), drawn as RARE does (section 3) and none
ending before. By default there are twice as many texts as the memory of the card holds at a time. Each way of writing
runs in a process of its own, which loads, writes one short prompt, and then all rows once. One that fails is recorded
with its error, one whose package is missing is skipped. vLLM and SGLang, which ask for versions of torch of their own,
may be in environments of their own: `--vllm-python` and `--sglang-python`. Peak memory is that of the whole card.

The bound is the roofline of the card, see `benchmarks.roofline`. `--size tiny` runs a tiny model on the CPU, in
seconds: it shows that this works, and nothing else, and its result is not kept unless `--folder` says where.
"""

import argparse
import importlib.util
import json
import logging
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

from benchmarks.gpu_ways import NEEDS, SAMPLING, WAYS, Load, Written
from benchmarks.machine import RESULTS, run_in_process, save_result, write_result
from benchmarks.roofline import Bound, describe_card

CARD = "card"
NAMES = {1: "1 text of each row", 4: "4 texts of each row"}
MEMORY = "peak memory, MB"
SIZES = {
    "8b": {"device": "cuda", "prompt_tokens": 2048, "new_tokens": 1024},
    "tiny": {"device": "cpu", "prompt_tokens": 64, "new_tokens": 16},
}
MEMORY_SECONDS = 0.5
"""Time between two looks at the memory of the card."""

WARM_TOKENS = 32
"""Tokens of the prompt that is written before the clock starts."""


def get_settings(size: str) -> dict[str, Any]:
    """Return the config of the model."""
    from tests.support.large import EIGHT_BILLION, SMALL

    return {"8b": EIGHT_BILLION, "tiny": SMALL}[size]


class WarningList(logging.Handler):
    """Keeps what the library warns of: rows that were written again are slow ones."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage()[:300])


def run_child(arguments: argparse.Namespace) -> dict[str, Any]:
    """Be the process of one way of writing; give what is known of it, by the name of what it has written."""
    package = NEEDS.get(arguments.way)
    if package is not None and importlib.util.find_spec(package) is None:
        return {name: {"skipped": f"{package} is not installed"} for name in NAMES.values()}
    load = Load(get_settings(arguments.size), **SIZES[arguments.size])
    if arguments.way == CARD:
        import torch

        return describe_card(load.device, getattr(torch, load.settings["dtype"]))
    warnings = WarningList()
    logging.getLogger("hf_rare").addHandler(warnings)
    results: dict[str, Any] = {}
    write = None
    for samples, name in NAMES.items():
        try:
            if write is None:
                write = WAYS[arguments.way](load)
                write(make_prompts(load, 1, 0, WARM_TOKENS), 1)
            # other prompts each time: those that were read before may be kept
            results[name] = describe(write(make_prompts(load, arguments.texts // samples, samples), samples), load)
        except Exception as err:
            results[name] = {"failed": f"{type(err).__name__}: {err}"[:500]}
            traceback.print_exc()
        if warnings.texts:
            results[name]["warnings"] = warnings.texts[-5:]
            warnings.texts.clear()
        if results[name].get("texts") not in (None, arguments.texts):
            results[name] = {"failed": f"{results[name]['texts']} texts came, and not {arguments.texts}"}
    return results


def make_prompts(load: Load, count: int, seed: int, length: int | None = None) -> list[list[int]]:
    """Make prompts of random tokens."""
    dice, size = random.Random(seed), load.settings["vocab_size"]
    return [[dice.randrange(600, size) for _ in range(length or load.prompt_tokens)] for _ in range(count)]


def describe(written: Written, load: Load) -> dict[str, Any]:
    """Describe what was written."""
    return {
        "seconds": round(written.seconds, 3),
        "tokens/s": round(sum(written.tokens) / written.seconds, 1),
        "texts": len(written.tokens),
        "texts that ended early": sum(count < load.new_tokens for count in written.tokens),
        MEMORY: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **written.notes,
    }


class CardMemory(threading.Thread):
    """Looks, while a process runs, at how much memory of the card is in use; engines may use it in further processes.

    Args:
        uuid (`str`): which card; none where it is empty.

    Attributes:
        most (`int`, *optional*): the most MB seen; `None` where `nvidia-smi` does not say.
    """

    def __init__(self, uuid: str) -> None:
        super().__init__(daemon=True)
        self.most: int | None = None
        self._uuid = uuid
        self._over = threading.Event()

    def run(self) -> None:
        query = ["nvidia-smi", "-i", self._uuid, "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while self._uuid and not self._over.wait(MEMORY_SECONDS):
            try:
                said = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout
                self.most = max(self.most or 0, round(int(said) * 2**20 / 1e6))
            except (OSError, ValueError, subprocess.SubprocessError):
                return

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()


def run_way(arguments: argparse.Namespace, way: str, uuid: str = "", texts: int = 0) -> dict[str, Any]:
    """Run one way of writing in a process of its own."""
    pythons = {"vllm": arguments.vllm_python, "sglang": arguments.sglang_python}
    python = pythons.get(NEEDS.get(way, ""), sys.executable)
    memory = CardMemory(uuid)
    memory.start()
    with tempfile.TemporaryDirectory() as folder:
        log, sizes = Path(folder, "log"), ("--size", arguments.size, "--texts", texts)
        try:
            results = run_in_process("gpu", "--way", way, *sizes, python=python, timeout=arguments.timeout, log=log)
        except (OSError, RuntimeError) as err:
            results = {name: {"failed": str(err)} for name in NAMES.values()}
        finally:
            memory.stop()
        if way != CARD and any("failed" in result for result in results.values()) and log.exists():
            print(*log.read_text(errors="replace").splitlines()[-60:], sep="\n", file=sys.stderr)
    for result in results.values() if uuid else ():
        if "seconds" in result:
            result[MEMORY] = memory.most  # of the card, and not that of the process
    return results


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all ways of writing."""
    from tests.support.large import make_config

    card = run_way(arguments, CARD)
    if "memory" not in card:
        (said, *_) = card.values()
        raise SystemExit(f"The card cannot be used: {said['failed']}. --size tiny runs on the CPU.")
    uuid, settings, lengths = card.pop("uuid"), get_settings(arguments.size), SIZES[arguments.size]
    itemsize = 4 if settings["dtype"] == "float32" else 2
    tokens = {name: lengths[name] for name in ("prompt_tokens", "new_tokens")}
    bound = Bound(make_config(settings), itemsize, card, **tokens)
    texts = arguments.texts or (16 if arguments.size == "tiny" else 2 * bound.count_places())
    texts = -(-texts // max(NAMES)) * max(NAMES)
    result: dict[str, Any] = {"size": arguments.size, "dtype": settings["dtype"], **tokens, "sampling": SAMPLING}
    result["card"] = card
    for samples, name in NAMES.items():
        rows = texts // samples
        result[name] = {"rows": rows, "bound": bound.describe(rows, samples), "ways": {}}
    for way in arguments.ways:
        for name, done in run_way(arguments, way, uuid, texts).items():
            part = result[name]
            if "seconds" in done:
                done["rows/s"] = round(part["rows"] / done["seconds"], 3)
                done["bound / seconds"] = round(part["bound"]["seconds"] / done["seconds"], 3)
            part["ways"][way] = done
            print(f"{name}, {way}: {done}", file=sys.stderr, flush=True)
        if arguments.folder is not None:
            save_result("gpu", result, arguments.folder)  # safe so far
    return result


def make_table(result: dict[str, Any]) -> str:
    """Make the table of a result, in Markdown."""
    lines = ["| written | with | rows/s | tokens/s | bound / seconds | seconds | peak memory, MB |"]
    lines.append("|" + "---|" * 7)
    card = result["card"]
    for name in NAMES.values():
        bound = f"the bound of {card['name']} ({card['from']})"
        for way, done in {bound: result[name]["bound"], **result[name]["ways"]}.items():
            cells = [
                str(done.get(column, "")) for column in ("rows/s", "tokens/s", "bound / seconds", "seconds", MEMORY)
            ]
            for kind in ("skipped", "failed"):
                if kind in done:
                    cells[0] = f"{kind}: {done[kind]}".replace("|", "/").replace("\n", " ")
            lines.append(f"| {' | '.join([name, way, *cells])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="8b")
    parser.add_argument("--texts", type=int, help="by default twice as many as the memory holds at a time")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--vllm-python", default=sys.executable, help="the interpreter of an environment with vLLM")
    parser.add_argument("--sglang-python", default=sys.executable, help="and of one with SGLang")
    parser.add_argument("--timeout", type=float, default=3600, help="most seconds of a way of writing")
    parser.add_argument("--folder", type=Path, help="where the result goes, by default benchmarks/results")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if arguments.way:
        arguments.output.write_text(json.dumps(run_child(arguments)))
        return
    if arguments.size != "tiny" and arguments.folder is None:
        arguments.folder = RESULTS
    result = measure(arguments)
    if arguments.folder is not None:
        write_result("gpu", result, arguments.folder)
    print(make_table(result))


if __name__ == "__main__":
    main()
