"""Distill parquet files with a pool of Ray actors, on one machine or on a cluster.

    python examples/distill_with_ray.py questions.parquet traces --model Qwen/Qwen3-8B --actors 8 --gpus 1
    ray job submit --address http://HEAD:8265 --working-dir . -- python examples/distill_with_ray.py ...

An actor that dies is started again. After a crash of everything, run it again: it goes on where it was, if
--journal is a folder that every machine sees.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hf_rare import HfRareError, ReasonDistiller, distill_with_ray


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", metavar="INPUT", help="parquet files: a path, a glob, a folder, hf://datasets/...")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="folder for parquet files, which must be empty")
    parser.add_argument("--model", required=True, help="a model on the Hub, or a folder that every machine sees")
    parser.add_argument("--max-new-tokens", type=int, default=4096, help="longest trace, in tokens (default: 4096)")
    parser.add_argument("--journal", type=Path, help="an absolute path that every machine sees (default: the cache)")
    parser.add_argument("--actors", type=int, default=1, help="copies of the model (default: 1)")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of an actor (default: 0)")
    parser.add_argument("--cpus", type=float, default=1, help="CPU cores of an actor (default: 1)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Distill.

    Args:
        argv (`Sequence[str]`, *optional*): the arguments; by default those of the process.

    Returns:
        `int`: 0 when the traces are written, 1 on an error.
    """
    arguments = build_parser().parse_args(argv)
    settings = {} if arguments.journal is None else {"journal_dir": arguments.journal.absolute()}
    try:
        distill_fn = ReasonDistiller.from_pretrained(
            arguments.model, max_new_tokens=arguments.max_new_tokens, **settings
        )
        traces = distill_with_ray(
            arguments.input,
            distill_fn,
            num_actors=arguments.actors,
            num_gpus=arguments.gpus,
            num_cpus=arguments.cpus,
            output=arguments.output,
        )
    except HfRareError as err:
        print(f"{type(err).__name__}: {err}", file=sys.stderr)
        return 1
    print(f"{len(traces)} rows are in {arguments.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
