"""The commands that turn rows into other rows: `hf-rare negatives`, `hf-rare export` and `hf-rare run`."""

import argparse
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
from hf_rare.cli.terminal import say
from hf_rare.errors import ConfigError, ModelLoadError, NothingUsableError
from hf_rare.negatives.settings import MiningConfig
from hf_rare.settings.writers import DistillConfig

NEGATIVES_HELP = """Add hard negatives: documents that rank high for the query of a row and that do not help.

examples:
  hf-rare negatives questions.parquet --output rows.parquet
  hf-rare negatives questions.parquet --corpus pages.jsonl --corpus-column body --skip-top 20 --output rows.parquet
  hf-rare negatives questions.parquet --method dense --model BAAI/bge-m3 --output rows.parquet

INPUT needs the columns text (the positive), question and scenario. Without --corpus the positives of the other rows
are searched."""

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
is self-distillation. INPUT's recipe, where it lies beside it, names the columns."""


RUN_HELP = """Run a whole pipeline: questions, hard negatives, reasoning, checks, training files, Hub.

examples:
  hf-rare run pipelines/corpus.yaml --input corpus.jsonl --output traces
  hf-rare run pipelines/rare.yaml --input questions.jsonl --corpus pages.jsonl --model ./teacher --output rare

Each stage leaves its rows in a folder under the output. A stage whose rows stand already is skipped; one that was
interrupted goes on where it was: run the same command again."""


def add_row_commands(commands: Any) -> None:
    """Add `negatives`, `export` and `run`."""
    raw = argparse.RawDescriptionHelpFormatter
    negatives = commands.add_parser(
        "negatives", help="mine hard negatives", description=NEGATIVES_HELP, formatter_class=raw
    )
    add_input(negatives)
    add_output(negatives)
    negatives.add_argument("--corpus", metavar="CORPUS", help="what to search: a dataset as INPUT")
    negatives.add_argument("--num-proc", type=positive_int, metavar="N", help="processes (default: by the rows)")
    negatives.add_argument(
        "--method", choices=("bm25", "dense"), default="bm25", help="what ranks: words or embeddings (default: bm25)"
    )
    negatives.add_argument("--model", metavar="MODEL_ID", help="embedding model, for --method dense")
    negatives.add_argument(
        "--dense", type=json_or_text, metavar="JSON", help="options of sentence-transformers' miner, by name"
    )
    add_settings(negatives, {"columns and search": MiningConfig})
    negatives.set_defaults(run=_run_negatives)

    export = commands.add_parser(
        "export", help="write rows for training", description=EXPORT_HELP, formatter_class=raw
    )
    add_input(export)
    formats = (*EXPORT_FORMS, *EXPORT_FORMATS)
    export.add_argument("form", metavar="FORM", choices=formats, help=", ".join(formats))
    export.add_argument(
        "--form",
        dest="form_of_format",
        choices=[form for forms in EXPORT_FORMATS.values() for form in forms],
        help="of preference, dpo (default) or kto; of prompts, distillation (default) or self-distillation",
    )
    add_output(export)
    export.add_argument("--recipe", type=Path, metavar="JSON", help="default: the one that distill left with INPUT")
    export.add_argument("--student", metavar="MODEL_ID", help="model whose chat template must keep the reasoning")
    export.add_argument("--keep-columns", nargs="+", metavar="NAME", help="columns to carry along, such as ids")
    export.add_argument("--correct-column", metavar="NAME", help="column that says which traces are right")
    export.add_argument(
        "--positive-share", type=float, metavar="P", help="share of rows whose prompt has the positive (default: 1)"
    )
    export.add_argument(
        "--student-documents",
        type=_number_or_name,
        metavar="N",
        help="most hard negatives of a prompt, or the column with others",
    )
    export.add_argument(
        "--privileged",
        metavar="WHAT",
        help="what a teacher knows, for self-distillation: positive (default), trace, or a column",
    )
    export.add_argument("--num-negatives", type=positive_int, metavar="N", help="negatives of a row, for retrieval")
    export.set_defaults(run=_run_export)

    run = commands.add_parser("run", help="run a pipeline from a YAML file", description=RUN_HELP, formatter_class=raw)
    run.add_argument("pipeline", type=Path, metavar="YAML", help="the pipeline, such as pipelines/corpus.yaml")
    run.add_argument("--output", type=Path, metavar="FOLDER", help="folder for the results (default: the pipeline's)")
    run.add_argument(
        "--input", metavar="INPUT", help="rows or documents to start from, in the place of the pipeline's"
    )
    run.add_argument("--corpus", metavar="CORPUS", help="what to search, in the place of the pipeline's")
    run.add_argument(
        "--model", metavar="MODEL_ID", help="model of all stages, in the place of the pipeline's and its revision"
    )
    run.add_argument(
        "--max-new-tokens", type=positive_int, metavar="N", help="per completion, in the place of the pipeline's"
    )
    run.set_defaults(run=_run_pipeline)


def _run_negatives(arguments: argparse.Namespace) -> None:
    settings = read_settings(arguments)
    from hf_rare.pipeline import inputs, outputs

    outputs.check_output(arguments.output, arguments.overwrite)
    form = read_text_form(arguments, {})
    dataset = inputs.load_input(arguments.input, arguments.name, arguments.split, form)
    outputs.check_holds(arguments.output, dataset)
    corpus = inputs.load_input(arguments.corpus, form=form) if arguments.corpus else None
    settings |= {name: getattr(arguments, name) for name in ("method", "model", "dense", "num_proc")}
    mined = hf_rare.mine_hard_negatives(dataset, corpus, **settings)
    _save(arguments, mined)
    say(f"{len(mined)} rows are in {arguments.output}")


def _save(arguments: argparse.Namespace, rows: Any) -> None:
    """Save rows that have no recipe of their own."""
    from hf_rare.pipeline import outputs

    outputs.save_output(rows, arguments.output)
    if arguments.overwrite and arguments.output.resolve() != Path(arguments.input).resolve():
        outputs.drop_stale_recipe(arguments.output)


def _run_export(arguments: argparse.Namespace) -> None:
    from hf_rare.pipeline import inputs, outputs
    from hf_rare.training.left_out import hear_left_out
    from hf_rare.writers.recipe import read_recipe, recipe_beside
    from hf_rare.writers.usable import advise, count_statuses

    arguments.form = _choose_form(arguments.form, arguments.form_of_format)
    outputs.check_output(arguments.output, arguments.overwrite)
    path = arguments.recipe or recipe_beside(Path(arguments.input))
    recipe = None
    if arguments.recipe or path.exists():
        needs_traces = arguments.form != "retrieval" or arguments.recipe is not None
        recipe = read_recipe(path, kind="distill" if needs_traces else None)
        recipe = recipe if recipe["kind"] == "distill" else None
    config = DistillConfig(**(recipe or {}).get("distill", {}))
    settings = _export_settings(arguments, config, recipe)
    form = read_text_form(arguments, inputs.expect_inputs(config))
    dataset = inputs.load_input(arguments.input, arguments.name, arguments.split, form)
    with hear_left_out() as left_out:
        exported = _export(arguments.form, dataset, settings)
    if len(dataset) and not len(exported):
        advice = advise(count_statuses(dataset, config.output_column)) if arguments.form != "retrieval" else ""
        raise NothingUsableError(
            f"No row of {arguments.input} can be exported as {arguments.form}, and nothing was written. "
            f"{' '.join([*left_out, advice])}".rstrip()
        )
    _save(arguments, exported)
    say(f"{len(exported)} rows are in {arguments.output}")


def _export_settings(
    arguments: argparse.Namespace, config: DistillConfig, recipe: dict[str, Any] | None
) -> dict[str, Any]:
    """Give the settings of an export.

    Raises:
        ConfigError: A flag is not for its form.
        ModelLoadError: The student's tokenizer cannot be loaded.
    """
    settings: dict[str, Any] = {"keep_columns": arguments.keep_columns or ()}
    of_prompts = ("correct_column", "positive_share", "student_documents", "privileged")
    if arguments.form == "retrieval":
        for name in ("student", *of_prompts):
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')} is not for retrieval.")
        settings |= {name: getattr(config, name) for name in ("text_column", "hard_negatives_column")}
        settings["query"] = [name for name in (config.scenario_column, config.question_column) if name is not None]
        return settings | {"num_negatives": arguments.num_negatives}
    if arguments.num_negatives is not None:
        raise ConfigError("--num-negatives is for retrieval.")
    settings |= {name: value for name in of_prompts if (value := getattr(arguments, name)) is not None}
    if arguments.privileged is not None and arguments.form != "self-distillation":
        raise ConfigError("--privileged is for self-distillation.")
    if arguments.student is not None and arguments.form.endswith("distillation"):
        raise ConfigError("--student is for sft, dpo and kto: prompts hold no reasoning.")
    if arguments.student is not None:
        settings["student_tokenizer"] = _load_student(arguments.student)
    return settings | {"recipe": recipe}


def _export(form: Any, dataset: Any, settings: dict[str, Any]) -> Any:
    """Export rows in a form."""
    if form == "retrieval":
        return hf_rare.to_retrieval(dataset, **settings)
    if form == "sft":
        return hf_rare.to_sft(dataset, **settings)
    if form.endswith("distillation"):
        return hf_rare.to_prompts(dataset, form=form, **settings)
    return hf_rare.to_preference(dataset, form=form, **settings)


def _choose_form(name: str, form: str | None) -> str:
    """Give the form that is meant, by its own name or by the format that it is one of."""
    forms = EXPORT_FORMATS.get(name)
    if form is not None and form not in (forms or ()):
        expected = f"Expected {' or '.join(forms)}." if forms else "Leave it out."
        raise ConfigError(f"--form {form} is not for {name}. {expected}")
    return form or (forms[0] if forms else name)


def _number_or_name(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text


def _load_student(model_id: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model_id)
    except (OSError, ValueError) as err:
        raise ModelLoadError(
            f"--student {model_id}: its tokenizer cannot be loaded: {err} Pass the name of a model on the Hub, or the "
            "folder of one."
        ) from err


def _run_pipeline(arguments: argparse.Namespace) -> None:
    from hf_rare.pipeline.run import StageResult, run_pipeline
    from hf_rare.pipeline.settings import load_pipeline

    def tell(result: StageResult) -> None:
        note = ", which stand already" if result.is_skipped else ""
        say(f"{result.name}: {result.rows} rows in {result.path}{note}")

    sections = load_pipeline(arguments.pipeline)
    sections |= {name: value for name in ("input", "corpus") if (value := getattr(arguments, name)) is not None}
    given = {"model_id": arguments.model, "max_new_tokens": arguments.max_new_tokens}
    settings = {name: value for name, value in given.items() if value is not None}
    rows = run_pipeline(sections, output=arguments.output, on_stage=tell, **settings)
    folder = arguments.output or Path(sections["output"])
    say(f"{len(rows)} rows are in {folder / 'rows.parquet'}, their card is in {folder / 'README.md'}")
