"""The command line `hf-rare`: a thin layer over the library."""

import argparse
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hf_rare
from hf_rare.cli_hub import add_hub_commands
from hf_rare.cli_journal import add_journal_commands
from hf_rare.cli_settings import add_input_and_settings, positive_int, read_settings
from hf_rare.errors import BudgetReachedError, ConfigError, HfRareError

DISTILL_HELP = """Let a teacher model reason over the documents of each row, and write the dataset with its traces.

examples:
  hf-rare distill questions.jsonl --model Qwen/Qwen3-8B --output traces.parquet
  hf-rare distill me/questions --split train --model ./teacher --output traces --max-new-tokens 2048
  hf-rare distill questions.parquet --config distill.yaml --output traces.jsonl --overwrite

INPUT needs the columns text (the positive document), question, scenario and hard_negatives (a list of texts); other
names go into --text-column and its siblings. A YAML file for --config holds the same settings by their names without
dashes, for example `max_new_tokens: 2048`; a flag on the command line wins over it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv (`Sequence[str]`, *optional*): the arguments; by default those of the process.

    Returns:
        `int`: 0 when all went well, 1 on an error that the user can mend, 130 after Ctrl-C.
    """
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    try:
        arguments.run(arguments)
    except HfRareError as err:
        print(f"hf-rare: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("hf-rare: stopped before the output was written; run the same command again to go on.", file=sys.stderr)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with all its commands."""
    parser = argparse.ArgumentParser(prog="hf-rare", description=hf_rare.__doc__)
    parser.add_argument("--version", action="version", version=hf_rare.__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    distill = commands.add_parser(
        "distill",
        help="let a teacher reason over the documents of each row",
        description=DISTILL_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_input_and_settings(distill)
    distill.add_argument("--output", required=True, type=Path, metavar="OUT", help=".parquet, .jsonl, or a folder")
    distill.add_argument("--overwrite", action="store_true", help="replace an existing output")
    distill.add_argument(
        "--num-proc", type=positive_int, metavar="N", help="worker processes, each with a model of its own"
    )
    distill.set_defaults(run=_run_distill)

    estimate = commands.add_parser(
        "estimate", help="say what a run will take", description="Generate a few rows and say what all would take."
    )
    add_input_and_settings(estimate)
    estimate.add_argument("--sample", type=positive_int, default=8, metavar="N", help="rows to generate (default: 8)")
    estimate.set_defaults(run=_run_estimate)

    add_hub_commands(commands)

    demo = commands.add_parser(
        "demo", help="distil the rows that ship with the library, with a small model on the CPU"
    )
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("hf-rare-demo"),
        metavar="FOLDER",
        help="where the rows and their card go (default: hf-rare-demo)",
    )
    demo.add_argument("--model", metavar="MODEL_ID", help="another model than SmolLM2-135M-Instruct")
    demo.add_argument("--max-new-tokens", type=positive_int, default=256, metavar="N", help="per trace (default: 256)")
    demo.add_argument("--rows", type=positive_int, metavar="N", help="only the first N of the 14 rows")
    demo.set_defaults(run=_run_demo)
    add_journal_commands(commands)
    return parser


def _run_distill(arguments: argparse.Namespace) -> None:
    settings = read_settings(arguments)
    batch_size = settings.pop("batch_size", 1000)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f"batch_size={batch_size!r} cannot be right: expected a number of at least 1.")
    from hf_rare import files
    from hf_rare.recipe import describe_command, make_recipe, recipe_beside

    files.check_output(arguments.output, arguments.overwrite)
    dataset = files.load_input(arguments.input, arguments.name, arguments.split)
    distiller = hf_rare.ReasonDistiller.from_pretrained(**settings)
    try:
        distilled, note = _distill(distiller, dataset, batch_size, arguments.num_proc), ""
    except BudgetReachedError as err:
        finished = distiller.select_finished(dataset)
        if len(finished) == 0:
            raise
        distilled, note = _distill(distiller, finished, batch_size), f", of {len(dataset)}: {err}"
    if _is_first_process():
        files.save_output(distilled, arguments.output)
        recipe = make_recipe(distiller, describe_command())
        recipe_beside(arguments.output).write_text(json.dumps(recipe, indent=2, sort_keys=True), encoding="utf-8")
        print(f"{len(distilled)} rows are in {arguments.output}{note}")


def _run_estimate(arguments: argparse.Namespace) -> None:
    settings = read_settings(arguments)
    settings.pop("batch_size", None)
    from hf_rare import files

    dataset = files.load_input(arguments.input, arguments.name, arguments.split)
    print(hf_rare.ReasonDistiller.from_pretrained(**settings).estimate(dataset, arguments.sample))


def _run_demo(arguments: argparse.Namespace) -> None:
    from hf_rare import demo, files

    dataset = demo.load_demo_dataset()
    if arguments.rows:
        dataset = dataset.select(range(min(arguments.rows, len(dataset))))
    model: dict[str, Any] = {"model_id": arguments.model}
    if arguments.model is None:
        path = demo.find_demo_model()
        model = {"model_id": str(path.parent), "gguf_file": path.name, "dtype": "float32"}
        print(f"Loading {path.stem}; then it writes {len(dataset)} traces on the CPU, in about two minutes ...")
    distiller = hf_rare.ReasonDistiller.from_pretrained(
        **model, max_new_tokens=arguments.max_new_tokens, generation_kwargs={"repetition_penalty": 1.1}
    )
    distilled = _distill(distiller, dataset, batch_size=1000)
    shown = sorted(distilled, key=lambda row: row["reasoning_status"] != "ok")[:3]
    for row in shown:
        print(f"\n{row['id']}, {row['field']}: {row['question']}")
        place = row["reasoning_positive_position"]
        print(
            f"status: {row['reasoning_status']}; the document that helps was [{place}]\n{'-' * 80}\n{row['reasoning']}"
        )
    if arguments.model is None:
        print("\n(A model of 135 million parameters writes fluent nonsense: this shows the machinery, not a teacher.)")
    rows, card = arguments.output / "train.parquet", arguments.output / "README.md"
    files.check_output(rows, overwrite=True)
    files.save_output(distilled, rows)
    card.write_text(hf_rare.build_card(distilled, distiller, pretty_name="hf_rare demo"), encoding="utf-8")
    print(f"\nThe {len(distilled)} rows are in {rows}, their card is in {card}")
    print(f'Look at them: datasets.load_dataset("parquet", data_files="{rows}")')


def _is_first_process() -> bool:
    """Tell whether this process writes and prints: under a launcher one of them does."""
    return os.environ.get("RANK", "0") == "0"


def _distill(distiller: "hf_rare.ReasonDistiller", dataset: Any, batch_size: int, num_proc: int | None = None) -> Any:
    from hf_rare.summary import Summary

    distilled = distiller.apply(dataset, batch_size=batch_size, num_proc=num_proc)
    if (
        distiller.config.columns == "full" and _is_first_process()
    ):  # from the columns: rows may come from the cache of `datasets`
        summary = Summary.of_dataset(distilled, distiller.config.output_column)
        now = distiller.summary
        print(
            dataclasses.replace(
                summary, generated=now.generated, generated_tokens=now.generated_tokens, seconds=now.seconds
            )
        )
    return distilled
