# /// script
# requires-python = ">=3.11"
# dependencies = ["hf-rare @ https://github.com/hf-rare/hf_rare/archive/main.zip"]
#
# [tool.hf-jobs]
# flavor = "a100-large"
# timeout = "12h"
# secrets = ["HF_TOKEN"]
# ///
"""Distill a dataset of the Hub into another one, on a machine that may vanish at any time.

    uv run examples/distill.py me/questions me/traces --model Qwen/Qwen3-8B
    hf jobs uv run examples/distill.py me/questions me/traces --model Qwen/Qwen3-8B --max-hours 11.5

What is generated goes into a private dataset on the Hub every few minutes, by default OUTPUT-journal. When the
machine is lost, run the same command again, anywhere: it goes on from there. At the end, rows, card and recipe are
pushed in one commit. The token comes from HF_TOKEN, or from `hf auth login`; it needs to write.
"""

import argparse
import json
import logging
import re
import sys
from collections.abc import Sequence
from typing import Any

import huggingface_hub
from datasets import Dataset, load_dataset
from huggingface_hub.errors import HFValidationError

from hf_rare import HfRareError, ReasonDistiller, RunEndedError, push_to_hub


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", metavar="INPUT", help="dataset on the Hub with the rows, such as me/questions")
    parser.add_argument("output", metavar="OUTPUT", help="dataset on the Hub for the traces, such as me/traces")
    parser.add_argument("--model", required=True, help="teacher on the Hub, or a local folder")
    parser.add_argument("--revision", help="branch, tag or commit of the teacher")

    rows = parser.add_argument_group("rows")
    rows.add_argument("--config-name", help="config of INPUT")
    rows.add_argument("--split", default="train", help="of INPUT, or a part such as train[:100] (default: train)")
    rows.add_argument("--text-column", default="text", help="the document that helps (default: text)")
    rows.add_argument("--question-column", default="question", help="default: question")
    rows.add_argument("--scenario-column", default="scenario", help="default: scenario")
    rows.add_argument("--hard-negatives-column", default="hard_negatives", help="default: hard_negatives")
    rows.add_argument("--output-column", default="reasoning", help="prefix of the new columns (default: reasoning)")

    run = parser.add_argument_group("run")
    run.add_argument("--max-new-tokens", type=int, default=4096, help="longest trace, in tokens (default: 4096)")
    run.add_argument("--max-hours", type=float, help="end in good order by then, and push what is done")
    run.add_argument("--checkpoint-repo", help="private dataset for the journal (default: OUTPUT-journal)")
    run.add_argument("--checkpoint-minutes", type=float, default=10, help="between two checkpoints (default: 10)")
    run.add_argument("--public", action="store_true", help="make OUTPUT public, where it does not exist yet")
    run.add_argument(
        "--settings",
        type=read_settings,
        default={},
        metavar="JSON",
        help='further settings of ReasonDistiller, such as \'{"num_samples": 4, "gold_column": "answer"}\'',
    )
    return parser


def read_settings(text: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        settings = json.loads(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {err}") from err
    if not isinstance(settings, dict):
        raise argparse.ArgumentTypeError(f'{text!r} cannot be right: expected an object, such as {{"seed": 1}}')
    return settings


def check_output(repo_id: str, is_public: bool) -> None:
    """Make the dataset for the traces, or end: better now than after a night of work."""
    try:
        huggingface_hub.create_repo(repo_id, repo_type="dataset", private=not is_public, exist_ok=True)
    except HFValidationError as err:
        raise SystemExit(f"{repo_id!r} cannot be the name of a dataset: {err} Pass a name like me/traces.") from err
    except Exception as err:  # what a connection raises depends on the version of huggingface_hub
        raise SystemExit(
            f"{repo_id} cannot be written: {err} Set HF_TOKEN to a token that may write there; in a job on the Hub, "
            "pass --secrets HF_TOKEN."
        ) from err


def load_rows(name: str, config_name: str | None, split: str) -> Dataset:
    """Load the rows, or end and say what there is."""
    try:
        return load_dataset(name, config_name, split=split)
    except Exception as err:  # as above
        raise SystemExit(
            f"{name} (config {config_name or 'default'}, split {split}) cannot be loaded: {err} Check its name, "
            "--config-name and --split, and whether HF_TOKEN may read it."
        ) from err


def make_distiller(arguments: argparse.Namespace) -> ReasonDistiller:
    """Make the distiller of the flags; those in --settings win."""
    settings: dict[str, Any] = {
        "revision": arguments.revision,
        "max_new_tokens": arguments.max_new_tokens,
        "max_hours": arguments.max_hours,
        "checkpoint_repo": arguments.checkpoint_repo or f"{arguments.output}-journal",
        "checkpoint_minutes": arguments.checkpoint_minutes,
    }
    columns = ("text", "question", "scenario", "hard_negatives", "output")
    settings |= {f"{name}_column": getattr(arguments, f"{name}_column") for name in columns}
    return ReasonDistiller.from_pretrained(arguments.model, **{**settings, **arguments.settings})


def main(argv: Sequence[str] | None = None) -> int:
    """Distill, and push.

    Args:
        argv (`Sequence[str]`, *optional*): the arguments; by default those of the process.

    Returns:
        `int`: 0 when all rows are on the Hub, 1 on an error, 4 where a limit has ended the run before.
    """
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        check_output(arguments.output, arguments.public)
        rows = load_rows(arguments.input, arguments.config_name, arguments.split)
        distill_fn = make_distiller(arguments)
        return distill(rows, distill_fn, arguments.output, split=re.split(r"[\[+]", arguments.split)[0])
    except HfRareError as err:
        print(f"{type(err).__name__}: {err}", file=sys.stderr)
        return 1


def distill(rows: Dataset, distill_fn: ReasonDistiller, repo_id: str, split: str) -> int:
    """Distill the rows, or those for which there is time, and push them."""
    exit_code, note = 0, ""
    try:
        traces = distill_fn.apply(rows, load_from_cache_file=False)
    except RunEndedError as err:
        finished = distill_fn.select_finished(rows)
        if len(finished) == 0:
            raise
        traces = distill_fn.apply(finished, load_from_cache_file=False)
        exit_code, note = 4, f", of {len(rows)}: {err} Run the same command again to go on."
    result = push_to_hub(traces, repo_id, recipe=distill_fn, split=split)
    if result is not None:  # under a launcher, one process pushes
        print(distill_fn.summary)
        print(f"{len(traces)} rows are in {result.commit_url}{note}")
    return exit_code


if __name__ == "__main__":
    raise SystemExit(main())
