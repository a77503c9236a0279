"""`hf-rare evaluate`: what students have learnt, as a table, JSON, a plot and the answers themselves."""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import hf_rare
from hf_rare.cli.flags import (
    MODEL_GROUPS,
    add_input,
    add_settings,
    json_or_text,
    positive_int,
    read_settings,
    read_text_form,
)
from hf_rare.cli.parser import Commands
from hf_rare.cli.terminal import Outcome, add_manner, say_where, tell
from hf_rare.errors import ConfigError, DatasetFileError, MissingPackageError, OutputExistsError
from hf_rare.evaluation.conditions import CONDITIONS
from hf_rare.evaluation.settings import FIXED, EvaluationConfig
from hf_rare.paths import is_there

HELP = """Ask students about held-out rows, with and without the documents that help, and measure their answers.

examples:
  hf-rare evaluate held-out.jsonl --student Qwen/Qwen3-0.6B --output evaluation
  hf-rare evaluate held-out.jsonl --student before=Qwen/Qwen3-0.6B --student after=./student --output evaluation
  hf-rare evaluate held-out.jsonl --student Qwen/Qwen3-0.6B --adapter ./lora --gold-column gold --output evaluation

INPUT needs the columns text (the positive document), question, scenario, hard_negatives (a list of texts) and answer;
other names go into --text-column and its siblings, or come from --recipe. A student that is a JSON object holds
settings of its own, for example 'after={"model_id": "Qwen/Qwen3-0.6B", "adapter": "./lora"}'. The folder gets
rows.parquet (the answers), evaluation.json, table.md and plot.png. A run that was ended goes on where it was."""

JSON, TABLE, PLOT = "evaluation.json", "table.md", "plot.png"
"""Files beside the answers."""


def add_evaluation_command(commands: Commands) -> None:
    """Add `evaluate`."""
    evaluate = commands.add("train and measure", "evaluate", "measure what students have learnt", HELP)
    add_input(evaluate)
    evaluate.add_argument(
        "--student",
        dest="students",
        action="append",
        required=True,
        metavar="[NAME=]MODEL",
        help="a model, its folder, or a JSON object of settings; several are compared with the first",
    )
    evaluate.add_argument("--output", "-o", required=True, type=Path, metavar="FOLDER", help="folder for the results")
    evaluate.add_argument("--overwrite", action="store_true", help="replace existing results")
    evaluate.add_argument(
        "--recipe", type=Path, metavar="JSON", help="recipe of the rows that students were trained on"
    )
    evaluate.add_argument(
        "--conditions", nargs="+", choices=CONDITIONS, help="default: all, changed only with --changed-column"
    )
    evaluate.add_argument("--changed-column", metavar="NAME", help="column: the positive with its key fact changed")
    evaluate.add_argument("--changed-gold-column", metavar="NAME", help="column: the right answer then")
    evaluate.add_argument("--num-negatives", type=positive_int, metavar="N", help="most hard negatives of a prompt")
    evaluate.add_argument(
        "--places", nargs="+", type=positive_int, metavar="N", help="places of the positive (default: each)"
    )
    evaluate.add_argument("--keep-columns", nargs="+", default=(), metavar="NAME", help="columns to carry along")
    evaluate.add_argument(
        "--num-resamples", type=partial(positive_int, least=1), default=10_000, metavar="N", help="default: 10000"
    )
    evaluate.add_argument(
        "--batch-size", type=positive_int, default=argparse.SUPPRESS, metavar="N", help="default: 1000"
    )
    add_settings(evaluate, {"columns and prompt": EvaluationConfig, **MODEL_GROUPS}, leave_out=("model_id", *FIXED))
    # students are models here; who passes it is told so
    evaluate.add_argument("--model", "--model-id", dest="other_model", help=argparse.SUPPRESS)
    add_manner(evaluate)
    evaluate.set_defaults(run=_run_evaluate)


def _run_evaluate(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.pipeline import inputs, outputs
    from hf_rare.runs.team import is_first_process
    from hf_rare.writers.known_settings import known_settings

    settings = read_settings(arguments, needs_model=False)
    if arguments.other_model is not None or "model_id" in settings:
        raise ConfigError("--model is for other commands. Pass --student, once for each student.")
    rows = arguments.output / "rows.parquet"
    outputs.check_output(rows, arguments.overwrite, [arguments.input])
    _check_reports(arguments.output, arguments.overwrite)
    for name in (JSON, TABLE, PLOT):
        outputs.check_apart(arguments.output / name, [arguments.input])
    columns = {**known_settings(arguments.recipe), **settings}
    form = read_text_form(arguments, inputs.expect_inputs(_config_of(columns)))
    dataset = inputs.load_input(arguments.input, arguments.config_name, arguments.split, form)
    names = ("conditions", "recipe", "num_negatives", "places", "keep_columns", "num_resamples")
    evaluation = hf_rare.evaluate(
        _name_students(arguments.students),
        dataset,
        changed=arguments.changed_column,
        changed_gold=arguments.changed_gold_column,
        **{name: getattr(arguments, name) for name in names},
        **settings,
    )
    if not is_first_process():
        return Outcome(None, {})
    outputs.save_output(evaluation.rows, rows)
    scores = evaluation.to_json()
    try:
        (arguments.output / JSON).write_text(scores, encoding="utf-8")
        (arguments.output / TABLE).write_text(evaluation.table() + "\n", encoding="utf-8")
        try:
            evaluation.plot(arguments.output / PLOT)
        except MissingPackageError as err:
            tell(arguments, f"There is no plot: {err}")
    except OSError as err:
        raise DatasetFileError(f"{arguments.output} cannot be written: {err}") from err
    text = f"{evaluation.table()}\n\n{say_where(len(evaluation.rows), 'answer', rows)}"
    return Outcome(text, {"output": arguments.output, "rows": len(evaluation.rows), "scores": json.loads(scores)})


def _check_reports(folder: Path, overwrite: bool) -> None:
    """Find out before a run whether it would replace a file that is not the answers."""
    existing = [name for name in (JSON, TABLE, PLOT) if (folder / name).exists()]
    if existing and not overwrite:
        raise OutputExistsError(
            f"{folder / existing[0]} exists already. Let it be replaced (`--overwrite`), or choose another output."
        )
    if folders := [name for name in existing if (folder / name).is_dir()]:
        raise OutputExistsError(f"{folder / folders[0]} is a folder, and would be a file. Choose another output.")


def _config_of(settings: dict[str, Any]) -> EvaluationConfig:
    """Return the settings that say which columns are read."""
    names = ("text_column", "question_column", "scenario_column", "hard_negatives_column", "options_column")
    return EvaluationConfig(**{name: settings[name] for name in names if name in settings})


def _name_students(given: list[str]) -> dict[str, Any]:
    """Name each student: as it says, or after its model."""
    students: dict[str, Any] = {}
    for text in given:
        name, sign, model = text.partition("=")
        if not sign or text.startswith("{") or is_there(text):
            name, model = "", text
        student = json_or_text(model)
        name = name or Path(str(student.get("model_id", "student") if isinstance(student, dict) else student)).name
        if name in students:
            raise ConfigError(f"Two students are called {name!r}. Pass --student NAME=MODEL for each.")
        students[name] = student
    return students
