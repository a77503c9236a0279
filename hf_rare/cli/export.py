"""`hf-rare export`: rows as trainers read them."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hf_rare
from hf_rare.cli.flags import (
    add_input,
    add_output,
    add_settings,
    json_or_text,
    positive_int,
    read_settings,
    read_text_form,
)
from hf_rare.cli.parser import Commands
from hf_rare.cli.rows import save_rows
from hf_rare.cli.terminal import Outcome, add_manner
from hf_rare.errors import ConfigError, ModelLoadError, NothingUsableError
from hf_rare.rows.columns import STATUSES
from hf_rare.settings.writers import OF_TEXT, DistillConfig
from hf_rare.text import in_one_line

EXPORT_FORMS = ("sft", "dpo", "kto", "distillation", "self-distillation", "retrieval")
EXPORT_FORMATS = {"preference": ("dpo", "kto"), "prompts": ("distillation", "self-distillation")}
"""Forms by the name that pipelines have for them, the first by default."""

EXPORT_HELP = """Write distilled rows as a trainer reads them.

examples:
  hf-rare export traces.parquet sft --student Qwen/Qwen3-0.6B --output sft.parquet
  hf-rare export traces.parquet sft --positive-share 0.8 --student-documents 2 --output raft.parquet
  hf-rare export traces.parquet kto --output kto.parquet
  hf-rare export traces.parquet self-distillation --output prompts.parquet
  hf-rare export rows.parquet retrieval --num-negatives 3 --output triplets.parquet

sft: TRL's prompts and completions; dpo: chosen and rejected traces of one row; kto: traces with a label; distillation:
prompts alone; self-distillation: prompts, and what a teacher knows beside them; retrieval: the anchors, positives and
negatives of sentence-transformers. As in pipelines, preference --form kto is kto, and prompts --form self-distillation
is self-distillation. INPUT's recipe, where it lies beside it, names the columns; flags win over it."""

CHOICES: dict[str, tuple[str, ...]] = {
    "num_negatives": ("retrieval",),
    "max_pairs": ("dpo",),
    "privileged": ("self-distillation",),
    **dict.fromkeys(("student", "reasoning_format", "chat_template_kwargs"), ("sft", "dpo", "kto")),
    **dict.fromkeys(
        ("correct_column", "threshold", "positive_share", "student_documents"),
        ("sft", "dpo", "kto", "distillation", "self-distillation"),
    ),
    "one_trace": tuple(form for form in EXPORT_FORMS if form != "dpo"),
    "statuses": (*EXPORT_FORMS,),
}
"""The choices that have a flag, and the forms that each is for."""

OF_RETRIEVAL = ("text_column", "hard_negatives_column", "output_column")
OF_QUERY = ("scenario_column", "question_column")
"""Settings of a distiller that triplets depend on: columns, and those that make up the anchor."""

UNUSED = tuple(name for name in DistillConfig.names() if name not in OF_TEXT)
"""Settings of a distiller that say nothing of how its rows are read."""


def add_export_command(commands: Commands) -> None:
    """Add `export`."""
    export = commands.add("train and measure", "export", "write rows for training", EXPORT_HELP)
    add_input(export)
    forms = (*EXPORT_FORMS, *EXPORT_FORMATS)
    export.add_argument("form", metavar="FORM", choices=forms, help=", ".join(forms))
    export.add_argument(
        "--form",
        dest="form_of_format",
        choices=[form for forms in EXPORT_FORMATS.values() for form in forms],
        help="of preference, dpo (default) or kto; of prompts, distillation (default) or self-distillation",
    )
    add_output(export)
    export.add_argument("--recipe", type=Path, metavar="JSON", help="default: the one that distill left with INPUT")
    export.add_argument("--student", metavar="MODEL_ID", help="model whose chat template must keep the reasoning")
    export.add_argument("--keep-columns", nargs="+", default=(), metavar="NAME", help="columns to carry along")
    which = export.add_argument_group("which traces")
    which.add_argument(
        "--statuses", nargs="+", choices=(*STATUSES, "all"), metavar="STATUS", help="of these statuses (default: ok)"
    )
    which.add_argument(
        "--one-trace",
        action="store_true",
        default=None,
        help="one of each row: the first that is ok and right, or not known wrong, or else the first",
    )
    which.add_argument("--correct-column", metavar="NAME", help="column that says which traces are right")
    which.add_argument("--threshold", type=float, metavar="X", help="least grade of a right trace (default: 0.5)")
    which.add_argument("--max-pairs", type=positive_int, metavar="N", help="most pairs of a row, for dpo (default: 1)")
    written = export.add_argument_group("how they are written")
    written.add_argument(
        "--reasoning-format",
        choices=("tags", "plain", "field"),
        help="reasoning in tags before the answer (default), without them, or in the field reasoning_content",
    )
    written.add_argument(
        "--chat-template-kwargs", type=json_or_text, metavar="JSON", help="for the student's chat template"
    )
    documents = export.add_argument_group("documents of the student")
    documents.add_argument(
        "--positive-share", type=float, metavar="P", help="share of rows whose prompt has the positive (default: 1)"
    )
    documents.add_argument(
        "--student-documents",
        type=_number_or_name,
        metavar="N",
        help="most hard negatives of a prompt, or the column with others",
    )
    documents.add_argument(
        "--privileged",
        metavar="WHAT",
        help="what a teacher knows, for self-distillation: positive (default), trace, or a column",
    )
    documents.add_argument("--num-negatives", type=positive_int, metavar="N", help="negatives of a row, for retrieval")
    add_settings(export, {"columns and prompt": DistillConfig}, leave_out=UNUSED)
    add_manner(export)
    export.set_defaults(run=_run_export)


def _run_export(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.pipeline import inputs, outputs
    from hf_rare.training.left_out import hear_left_out
    from hf_rare.writers.known_settings import known_settings
    from hf_rare.writers.recipe import read_recipe, read_recipe_beside
    from hf_rare.writers.usable import advise, count_statuses

    form = _choose_form(arguments.form, arguments.form_of_format)
    of_rows = read_settings(arguments)
    settings = _read_choices(arguments, form, of_rows)
    outputs.check_output(arguments.output, arguments.overwrite, [arguments.input])
    beside = None if arguments.recipe else read_recipe_beside(Path(arguments.input), "distill")
    recipe = read_recipe(arguments.recipe, kind="distill") if arguments.recipe else beside
    if "student" in settings:
        settings["student_tokenizer"] = _load_student(settings.pop("student"))
    columns = {**known_settings(recipe), **of_rows}
    config = DistillConfig(**{name: columns[name] for name in DistillConfig.names() if name in columns})
    text_form = read_text_form(arguments, inputs.expect_inputs(config))
    dataset = inputs.load_input(arguments.input, arguments.config_name, arguments.split, text_form)
    if settings.pop("one_trace", False):
        dataset = hf_rare.keep_one_trace(dataset, config.output_column)
    settings["keep_columns"] = arguments.keep_columns
    if form == "retrieval":
        settings |= {name: getattr(config, name) for name in OF_RETRIEVAL}
        settings["query"] = [column for name in OF_QUERY if (column := getattr(config, name)) is not None]
    else:
        settings |= {**of_rows, "recipe": recipe}
    with hear_left_out() as left_out:
        exported = _export(form, dataset, settings)
    if len(dataset) and not len(exported):
        advice = advise(count_statuses(dataset, config.output_column)) if form != "retrieval" else ""
        raise NothingUsableError(
            f"No row of {arguments.input} can be exported as {form}, and nothing was written. "
            f"{' '.join([*left_out, advice])}".rstrip()
        )
    return save_rows(arguments, exported)


def _export(form: str, dataset: Any, settings: dict[str, Any]) -> Any:
    """Export rows in a form."""
    if form == "sft":
        return hf_rare.to_sft(dataset, **settings)
    if form == "retrieval":
        return hf_rare.to_retrieval(dataset, **settings)
    if form in ("distillation", "self-distillation"):
        return hf_rare.to_prompts(dataset, **settings | {"form": form})
    return hf_rare.to_preference(dataset, **settings | {"form": form})


def _choose_form(name: str, form: str | None) -> str:
    """Return the form that is meant, by its own name or by the format that it is one of."""
    forms = EXPORT_FORMATS.get(name)
    if form is not None and form not in (forms or ()):
        expected = f"Expected {' or '.join(forms)}." if forms else "Leave it out."
        raise ConfigError(f"--form {form} is not for {name}. {expected}")
    return form or (forms[0] if forms else name)


def _read_choices(arguments: argparse.Namespace, form: str, of_rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choices that were made.

    Raises:
        ConfigError: One is not for this form, or a setting of the rows is not.
    """
    made = {name: value for name in CHOICES if (value := getattr(arguments, name)) is not None}
    given = {name: CHOICES[name] for name in made}
    if form == "retrieval":
        given |= {name: () for name in of_rows if name not in (*OF_RETRIEVAL, *OF_QUERY)}
    for name, forms in given.items():
        if form not in forms:
            expected = f"It is for {', '.join(forms)}." if forms else "Leave it out."
            raise ConfigError(f"--{name.replace('_', '-')} is not for {form}. {expected}")
    if made.get("statuses") == ["all"]:
        made["statuses"] = None
    return made


def _number_or_name(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text


def _load_student(model_id: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model_id)
    except (OSError, ValueError) as err:
        raise ModelLoadError(
            f"--student {model_id}: its tokenizer cannot be loaded: {in_one_line(err)} Pass the name of a model on "
            "the Hub, or the folder of one."
        ) from err
