"""The commands that let a model read distilled rows, and write nothing: `evidence` and `select`."""

import argparse
from pathlib import Path
from typing import Any

import hf_rare
from hf_rare.cli.export import UNUSED
from hf_rare.cli.flags import add_input, add_output, add_settings, positive_int, read_settings, read_text_form
from hf_rare.cli.parser import Commands, Parser
from hf_rare.cli.rows import save_with_recipe
from hf_rare.cli.terminal import Outcome, add_manner
from hf_rare.errors import ConfigError, NothingUsableError
from hf_rare.rows.column_types import is_list
from hf_rare.rows.columns import EVIDENCE_ON_POSITIVE, STATUSES, list_values
from hf_rare.settings.generation import OF_READING, DecodingConfig, ModelConfig
from hf_rare.settings.run import RunConfig
from hf_rare.settings.writers import DistillConfig
from hf_rare.text import show_count

EVIDENCE_HELP = """Add columns that say how much each document carries of a trace: what the trace loses without it.

examples:
  hf-rare evidence traces.parquet --model Qwen/Qwen3-0.6B --output measured.parquet

The model reads a row of n documents n + 1 times, and writes nothing. A recipe that distill left beside INPUT names
columns and template; flags win over it. A run that was ended goes on where it was."""

SELECT_HELP = """Keep those traces of each row that suit a student best, of all that a teacher has written.

examples:
  hf-rare select traces.parquet --student Qwen/Qwen3-0.6B --output chosen.parquet
  hf-rare select traces.parquet --student ./student --measure local_naturalness --keep 2 --output chosen.parquet

INPUT has lists of traces, from `hf-rare distill --num-samples N`. The student reads the traces, and writes nothing. A
recipe that distill left beside INPUT names columns and template; flags win over it."""

UNREAD = (*UNUSED, *(name for name in DecodingConfig.names() if name not in OF_READING))
"""Settings that say nothing of how a model reads traces."""


def add_measure_commands(commands: Commands) -> None:
    """Add `evidence` and `select`."""
    evidence = commands.add("look and check", "evidence", "say how much each document carries", EVIDENCE_HELP)
    _add_reading(evidence)
    evidence.set_defaults(run=_run_evidence)

    select = commands.add("train and measure", "select", "keep the traces that suit a student", SELECT_HELP)
    select.add_argument(
        "--student",
        dest="model_id",
        required=True,
        metavar="MODEL",
        help="the student before its training: a name or a folder",
    )
    select.add_argument(
        "--measure",
        choices=("rank_surprisal", "local_naturalness"),
        default="rank_surprisal",
        help="by what traces are chosen (default: rank_surprisal)",
    )
    select.add_argument("--keep", type=positive_int, default=1, metavar="N", help="most traces of a row (default: 1)")
    select.add_argument(
        "--statuses",
        nargs="+",
        choices=(*STATUSES, "all"),
        default=("ok",),
        metavar="STATUS",
        help="traces of these statuses are candidates (default: ok)",
    )
    _add_reading(select, leave_out=("model_id",))
    # the student is the model here; who passes another is told so
    select.add_argument("--model", "--model-id", dest="other_model", help=argparse.SUPPRESS)
    select.set_defaults(run=_run_select)


def _add_reading(command: Parser, leave_out: tuple[str, ...] = ()) -> None:
    add_input(command)
    add_output(command)
    command.add_argument("--recipe", type=Path, metavar="JSON", help="default: the one that distill left with INPUT")
    command.add_argument(
        "--num-proc", type=positive_int, metavar="N", help="worker processes, each with a model of its own"
    )
    groups = {
        "columns and prompt": DistillConfig,
        "model": ModelConfig,
        "room and chat template": DecodingConfig,
        "journal, failures, limits and processes": RunConfig,
    }
    add_settings(command, groups, leave_out=(*UNREAD, *leave_out))
    add_manner(command)


def _run_evidence(arguments: argparse.Namespace) -> Outcome:
    settings = read_settings(arguments)
    recipe, config, dataset = _load(arguments, settings)
    model = settings.pop("model_id")
    measured = hf_rare.measure_evidence(dataset, model, recipe=recipe, num_proc=arguments.num_proc, **settings)
    column = config.output_column + EVIDENCE_ON_POSITIVE
    has_lists = is_list(measured.features[column])
    said = [one for value in measured.with_format(None)[column] for one in list_values(value, has_lists)]
    traces, on_positive = sum(one is not None for one in said), sum(one is True for one in said)
    text = f"{show_count(traces, 'trace')} measured: the positive carries most of {on_positive:,}."
    return _save(arguments, measured, text, measured=traces, on_positive=on_positive)


def _run_select(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.training.left_out import hear_left_out

    settings = read_settings(arguments)
    if arguments.other_model is not None:
        raise ConfigError("--model is for other commands. Pass --student, the model that the traces are to suit.")
    recipe, _, dataset = _load(arguments, settings)
    with hear_left_out() as left_out:
        chosen = hf_rare.select_traces(
            dataset,
            settings.pop("model_id"),
            arguments.measure,
            arguments.keep,
            recipe=recipe,
            statuses=None if list(arguments.statuses) == ["all"] else arguments.statuses,
            num_proc=arguments.num_proc,
            **settings,
        )
    if len(dataset) and not len(chosen):
        raise NothingUsableError(f"Nothing of {arguments.input} was written. {' '.join(left_out)}")
    return _save(arguments, chosen, f"Of {show_count(len(dataset), 'row')} {len(chosen):,} have a trace left.")


def _load(arguments: argparse.Namespace, settings: dict[str, Any]) -> tuple[Any, DistillConfig, Any]:
    """Load the recipe that rows were distilled by, where there is one, their settings, and the rows."""
    from hf_rare.pipeline import inputs, outputs
    from hf_rare.writers.known_settings import read_distill_config
    from hf_rare.writers.recipe import read_recipe, read_recipe_beside

    settings.pop("batch_size", None)  # of a file for another command: it changes nothing here
    outputs.check_output(arguments.output, arguments.overwrite, [arguments.input])
    given = arguments.recipe
    recipe = read_recipe(given, kind="distill") if given else read_recipe_beside(Path(arguments.input), "distill")
    config = read_distill_config(recipe, {name: settings[name] for name in DistillConfig.names() if name in settings})
    form = read_text_form(arguments, inputs.expect_inputs(config))
    dataset = inputs.load_input(arguments.input, arguments.config_name, arguments.split, form)
    outputs.check_holds(arguments.output, dataset)
    return recipe, config, dataset


def _save(arguments: argparse.Namespace, rows: Any, text: str, **counts: int) -> Outcome:
    """Save the rows in the first process of a job."""
    from hf_rare.runs.team import is_first_process

    return save_with_recipe(arguments, rows, text, **counts) if is_first_process() else Outcome(None, {})
