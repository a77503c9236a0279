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
from hf_rare.cli.parser import Commands
from hf_rare.cli.terminal import Outcome, add_manner, say_where, tell
from hf_rare.errors import ConfigError, DatasetFileError, RunEndedError
from hf_rare.text import show_count
from hf_rare.writers.registry import WRITERS

ESTIMATE_HELP = """Generate a few rows, and say how many tokens and hours all rows will take.

examples:
  hf-rare estimate questions.jsonl --model Qwen/Qwen3-8B --max-new-tokens 4096
  hf-rare estimate questions.jsonl --config distill.yaml --rows 16

The flags are those of `hf-rare distill`. Nothing of it goes into the journal."""

HELP = {
    "distill": """Let a teacher model reason over the documents of each row, and write the dataset with its traces.

examples:
  hf-rare distill questions.jsonl --model Qwen/Qwen3-8B --output traces.parquet
  hf-rare distill me/questions --split train --model ./teacher --output traces --max-new-tokens 2048
  hf-rare distill sheet.csv --hard-negatives-column neg1 neg2 neg3 --model Qwen/Qwen3-8B --output traces.parquet
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


GROUPS = {"questions": "make rows"}
"""The group of a command, by kind of the writer, where it is another than that of teachers."""

TEACHERS = "let a teacher write"


def add_writer_commands(commands: Commands) -> None:
    """Add `estimate`, and a command for each writer that has one, such as `distill`."""
    estimate = commands.add(TEACHERS, "estimate", "say what a run will take", ESTIMATE_HELP)
    add_input(estimate)
    estimate.add_argument(
        "--rows",
        type=partial(positive_int, least=2),
        default=8,
        metavar="N",
        help="rows to generate, at least 2 (default: 8)",
    )
    distill = WRITERS["distill"]
    add_settings(estimate, {distill.settings_title: distill.config, **MODEL_GROUPS})
    add_manner(estimate)
    estimate.set_defaults(run=_run_estimate)
    for kind, entry in WRITERS.items():
        if entry.command is None:
            continue
        command = commands.add(GROUPS.get(kind, TEACHERS), kind, entry.command, HELP.get(kind))
        add_input(command)
        add_output(command)
        command.add_argument(
            "--batch-size", type=positive_int, default=argparse.SUPPRESS, metavar="N", help="default: 1000"
        )
        command.add_argument(
            "--num-proc", type=positive_int, metavar="N", help="worker processes, each with a model of its own"
        )
        add_settings(command, {entry.settings_title: entry.config, **MODEL_GROUPS})
        add_manner(command)
        command.set_defaults(run=_run_writer, writer=entry)


def _run_writer(arguments: argparse.Namespace) -> Outcome:
    settings = read_settings(arguments)
    batch_size = settings.pop("batch_size", 1000)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f"batch_size={batch_size!r} cannot be right: expected a number of at least 1.")
    from hf_rare.pipeline import inputs, outputs
    from hf_rare.runs.team import is_first_process
    from hf_rare.writers.recipe import describe_command, make_recipe, recipe_beside
    from hf_rare.writers.usable import check_usable

    outputs.check_output(arguments.output, arguments.overwrite, [arguments.input])
    writer = arguments.writer.load().from_pretrained(**settings)
    form = read_text_form(arguments, inputs.expect_columns(writer))
    dataset = inputs.load_input(arguments.input, arguments.config_name, arguments.split, form)
    outputs.check_holds(arguments.output, dataset)
    recipe = make_recipe(writer, describe_command())
    outputs.check_recipe(arguments.output, recipe)
    early: RunEndedError | None = None
    try:
        written = writer.apply(dataset, batch_size=batch_size, num_proc=arguments.num_proc)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_say_what_is_safe(writer)) from None
    except RunEndedError as err:
        finished = writer.select_finished(dataset)
        if len(finished) == 0:
            raise
        written, early = writer.apply(finished, batch_size=batch_size), err
    if not is_first_process():
        return Outcome(None, {}, 4 if early else 0)
    summary = summarize(writer, written)
    tell(arguments, summary)
    recipe = make_recipe(writer, describe_command())  # which now knows who has answered
    try:
        outputs.save_output(written, arguments.output)
        outputs.write_text(json.dumps(recipe, indent=2, sort_keys=True), recipe_beside(arguments.output))
    except OSError as err:  # of which that of an output is one
        raise DatasetFileError(f"{err} {_say_what_is_safe(writer)}") from err
    if early is None:
        check_usable(writer, written, arguments.output)
    data = {
        "output": arguments.output,
        "recipe": recipe_beside(arguments.output),
        "rows": len(written),
        "rows_of_input": len(dataset),
        "ended_early": early and str(early),
        **count(summary),
    }
    note = f", of {len(dataset):,}: {early}" if early else ""
    note += f" It replaces {arguments.output} with --overwrite." if early and not arguments.overwrite else ""
    return Outcome(say_where(len(written), "row", arguments.output) + note, data, 4 if early else 0)


def _say_what_is_safe(writer: Any) -> str:
    """Say what is left of a run that has no output."""
    if not writer.completer.has_journal():
        return "The journal is turned off, so that what was generated is lost."
    number = writer.completer.generated
    safe = f"{show_count(number, 'completion')} of this run {'is' if number == 1 else 'are'}"
    return f"{safe if number else 'What was generated is'} in the journal; run the same command again to go on."


def _run_estimate(arguments: argparse.Namespace) -> Outcome:
    settings = read_settings(arguments)
    settings.pop("batch_size", None)  # a file of settings may be that of `distill`
    from hf_rare.pipeline import inputs

    distiller = hf_rare.ReasonDistiller.from_pretrained(**settings)
    form = read_text_form(arguments, inputs.expect_columns(distiller))
    dataset = inputs.load_input(arguments.input, arguments.config_name, arguments.split, form)
    estimate = distiller.estimate(dataset, arguments.rows)
    return Outcome(estimate, dataclasses.asdict(estimate))


def summarize(writer: Any, written: Any) -> Any:
    """Sum up a run: what the columns say, which may come from the cache of `datasets`, and what was generated now."""
    from hf_rare.writers.summary import Summary

    now = writer.summary
    if writer.config.columns != "full":
        return now
    summary = Summary.of_dataset(written, writer.output_prefix)
    names = ("noun", "generated", "generated_tokens", "cost", "seconds")
    return dataclasses.replace(summary, **{name: getattr(now, name) for name in names})


def count(summary: Any) -> dict[str, Any]:
    """Return the counts of a run for `--json`."""
    return {name: value for name, value in vars(summary).items() if name not in ("noun", "served_by")}
