"""The commands that let a model write, such as `hf-rare distill`, and `hf-rare estimate`."""

import argparse
import dataclasses
import json
from functools import partial
from typing import Any

import hf_rare
from hf_rare.cli.flags import (
    MODEL_GROUPS,
    add_input,
    add_output,
    add_settings,
    positive_int,
    read_settings,
    read_text_form,
)
from hf_rare.cli.terminal import say
from hf_rare.errors import ConfigError, RunEndedError
from hf_rare.writers.registry import WRITERS

HELP = {
    "distill": """Let a teacher model reason over the documents of each row, and write the dataset with its traces.

examples:
  hf-rare distill questions.jsonl --model Qwen/Qwen3-8B --output traces.parquet
  hf-rare distill me/questions --split train --model ./teacher --output traces --max-new-tokens 2048
  hf-rare distill questions.parquet --config distill.yaml --output traces.jsonl --overwrite

INPUT needs the columns text (the positive document), question, scenario and hard_negatives (a list of texts); other
names go into --text-column and its siblings. A YAML file for --config holds the same settings by their names without
dashes, for example `max_new_tokens: 2048`; a flag on the command line wins over it.""",
    "questions": """Let a model write questions about documents, each with the situation it is about.

examples:
  hf-rare questions corpus.jsonl --model Qwen/Qwen3-8B --output questions.parquet
  hf-rare questions corpus.jsonl --model Qwen/Qwen3-8B --num-questions 3 --expand --output questions.parquet

INPUT needs the column text, another one goes into --text-column. `hf-rare negatives` and `hf-rare distill` go on with
the output.""",
}
"""What the help of a command says beside its flags, by kind of the writer."""


def add_writer_commands(commands: Any) -> None:
    """Add a command for each writer that has one, such as `distill`, and `estimate`."""
    for kind, entry in WRITERS.items():
        if entry.command is None:
            continue
        description = HELP.get(kind, f"{entry.command[0].upper()}{entry.command[1:]}.")
        command = commands.add_parser(
            kind, help=entry.command, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add_input(command)
        add_output(command)
        command.add_argument(
            "--batch-size", type=positive_int, default=argparse.SUPPRESS, metavar="N", help="default: 1000"
        )
        command.add_argument(
            "--num-proc", type=positive_int, metavar="N", help="worker processes, each with a model of its own"
        )
        add_settings(command, {entry.settings_title: entry.config, **MODEL_GROUPS})
        command.set_defaults(run=_run_writer, writer=entry)
    estimate = commands.add_parser(
        "estimate", help="say what a run will take", description="Generate a few rows and say what all would take."
    )
    add_input(estimate)
    estimate.add_argument(
        "--sample",
        type=partial(positive_int, least=2),
        default=8,
        metavar="N",
        help="rows to generate, at least 2 (default: 8)",
    )
    distill = WRITERS["distill"]
    add_settings(estimate, {distill.settings_title: distill.config, **MODEL_GROUPS})
    estimate.set_defaults(run=_run_estimate)


def _run_writer(arguments: argparse.Namespace) -> None:
    settings = read_settings(arguments)
    batch_size = settings.pop("batch_size", 1000)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f"batch_size={batch_size!r} cannot be right: expected a number of at least 1.")
    from hf_rare.pipeline import inputs, outputs
    from hf_rare.runs.team import is_first_process
    from hf_rare.writers.recipe import describe_command, make_recipe, recipe_beside
    from hf_rare.writers.usable import check_usable

    outputs.check_output(arguments.output, arguments.overwrite)
    writer = arguments.writer.load().from_pretrained(**settings)
    form = read_text_form(arguments, inputs.expect_columns(writer))
    dataset = inputs.load_input(arguments.input, arguments.name, arguments.split, form)
    outputs.check_holds(arguments.output, dataset)
    recipe = make_recipe(writer, describe_command())
    outputs.check_recipe(arguments.output, recipe)
    try:
        written, note = write(writer, dataset, batch_size, arguments.num_proc), ""
    except RunEndedError as err:
        finished = writer.select_finished(dataset)
        if len(finished) == 0:
            raise
        written, note = write(writer, finished, batch_size), f", of {len(dataset)}: {err}"
    if is_first_process():
        recipe = make_recipe(writer, describe_command())  # which now knows who has answered
        outputs.save_output(written, arguments.output)
        recipe_beside(arguments.output).write_text(json.dumps(recipe, indent=2, sort_keys=True), encoding="utf-8")
        say(f"{len(written)} rows are in {arguments.output}{note}")
        check_usable(writer, written, arguments.output)


def _run_estimate(arguments: argparse.Namespace) -> None:
    settings = read_settings(arguments)
    settings.pop("batch_size", None)  # a file of settings may be that of `distill`
    from hf_rare.pipeline import inputs

    distiller = hf_rare.ReasonDistiller.from_pretrained(**settings)
    form = read_text_form(arguments, inputs.expect_columns(distiller))
    dataset = inputs.load_input(arguments.input, arguments.name, arguments.split, form)
    say(distiller.estimate(dataset, arguments.sample))


def write(writer: Any, dataset: Any, batch_size: int = 1000, num_proc: int | None = None) -> Any:
    """Apply a writer and print its summary."""
    from hf_rare.runs.team import is_first_process
    from hf_rare.writers.summary import Summary

    written = writer.apply(dataset, batch_size=batch_size, num_proc=num_proc)
    if writer.config.columns == "full" and is_first_process():
        # from the columns: rows may come from the cache of `datasets`
        summary = Summary.of_dataset(written, writer.output_prefix)
        now = writer.summary
        say(
            dataclasses.replace(
                summary,
                noun=now.noun,
                generated=now.generated,
                generated_tokens=now.generated_tokens,
                cost=now.cost,
                seconds=now.seconds,
            )
        )
    return written
