"""The commands that make rows for a teacher: `hf-rare negatives` and `hf-rare dedup`."""

import argparse
import shutil
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
from hf_rare.cli.terminal import Outcome, add_manner, say_where
from hf_rare.negatives.settings import MiningConfig
from hf_rare.paths import is_there
from hf_rare.text import show_count

NEGATIVES_HELP = """Add hard negatives: documents that rank high for the query of a row and that do not help.

examples:
  hf-rare negatives questions.parquet --output rows.parquet
  hf-rare negatives questions.parquet --corpus pages.jsonl --corpus-column body --skip-top 20 --output rows.parquet
  hf-rare negatives questions.parquet --method dense --model BAAI/bge-m3 --output rows.parquet

INPUT needs the columns text (the positive), question and scenario. Without --corpus the positives of the other rows
are searched."""

DEDUP_HELP = """Drop rows that ask nearly the same as an earlier one, or share wording with an evaluation set.

examples:
  hf-rare dedup questions.parquet --output rows.parquet
  hf-rare dedup questions.parquet --evaluation-set test.jsonl --output rows.parquet

Rows are compared by the columns question and scenario, evaluation sets by the column question."""


def add_row_commands(commands: Commands) -> None:
    """Add `negatives` and `dedup`."""
    negatives = commands.add("make rows", "negatives", "mine hard negatives", NEGATIVES_HELP)
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
    add_manner(negatives)
    negatives.set_defaults(run=_run_negatives)

    dedup = commands.add("make rows", "dedup", "drop near-duplicates, and what evaluation sets have", DEDUP_HELP)
    add_input(dedup)
    add_output(dedup)
    dedup.add_argument(
        "--columns", nargs="+", metavar="NAME", help="columns to compare (default: question, and scenario if there)"
    )
    dedup.add_argument("--threshold", type=float, metavar="X", help="least overlap of near-duplicates (default: 0.8)")
    dedup.add_argument(
        "--evaluation-set",
        dest="evaluation_sets",
        action="append",
        default=[],
        metavar="INPUT",
        help="a dataset as INPUT whose wording no row may share; may be given several times",
    )
    dedup.add_argument(
        "--evaluation-columns", nargs="+", default=["question"], metavar="NAME", help="its columns (default: question)"
    )
    add_manner(dedup)
    dedup.set_defaults(run=_run_dedup)


def _run_negatives(arguments: argparse.Namespace) -> Outcome:
    settings = read_settings(arguments)
    from hf_rare.pipeline import inputs, outputs

    read = [arguments.input, *filter(None, [arguments.corpus])]
    outputs.check_output(arguments.output, arguments.overwrite, read)
    form = read_text_form(arguments, {})
    dataset = inputs.load_input(arguments.input, arguments.config_name, arguments.split, form)
    outputs.check_holds(arguments.output, dataset)
    corpus = inputs.load_input(arguments.corpus, form=form) if arguments.corpus else None
    settings |= {name: getattr(arguments, name) for name in ("method", "model", "dense", "num_proc")}
    mined = hf_rare.mine_hard_negatives(dataset, corpus, **settings)
    return save_rows(arguments, mined)


def _run_dedup(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.pipeline import inputs, outputs

    read = [arguments.input, *arguments.evaluation_sets]
    outputs.check_output(arguments.output, arguments.overwrite, read)
    form = read_text_form(arguments, {})
    dataset = inputs.load_input(arguments.input, arguments.config_name, arguments.split, form)
    outputs.check_holds(arguments.output, dataset)
    others = [inputs.load_input(name, form=form) for name in arguments.evaluation_sets]
    settings = {} if arguments.threshold is None else {"threshold": arguments.threshold}
    kept = hf_rare.drop_near_duplicates(dataset, arguments.columns, **settings)
    near_duplicates = len(dataset) - len(kept)
    if others:
        kept = hf_rare.decontaminate(kept, others, arguments.columns, evaluation_columns=arguments.evaluation_columns)
    shared = len(dataset) - near_duplicates - len(kept)
    text = f"Dropped: {show_count(near_duplicates, 'near-duplicate')}"
    text += f", and of rows that share wording with an evaluation set {shared:,}" if others else ""
    return save_rows(arguments, kept, f"{text}.", near_duplicates=near_duplicates, contaminated=shared)


def save_rows(arguments: argparse.Namespace, rows: Any, text: str = "", **counts: Any) -> Outcome:
    """Save rows that have no recipe of their own, and say where.

    Args:
        arguments (`argparse.Namespace`): those of [`add_input`] and [`add_output`].
        rows ([`~datasets.Dataset`]): the rows.
        text (`str`, *optional*): what is said before.
        **counts: what `--json` says besides.
    """
    from hf_rare.pipeline import outputs

    outputs.save_output(rows, arguments.output)
    if arguments.overwrite:
        outputs.drop_stale_recipe(arguments.output)
    said = f"{text} {say_where(len(rows), 'row', arguments.output)}".strip()
    return Outcome(said, {"output": arguments.output, "rows": len(rows), **counts})


def save_with_recipe(arguments: argparse.Namespace, rows: Any, text: str = "", **counts: Any) -> Outcome:
    """Save distilled rows that come from the input, with its recipe, and say where.

    Args:
        arguments (`argparse.Namespace`): those of [`add_input`] and [`add_output`].
        rows ([`~datasets.Dataset`]): the rows.
        text (`str`, *optional*): what is said before.
        **counts: what `--json` says besides.
    """
    from hf_rare.writers.recipe import recipe_beside

    outcome = save_rows(arguments, rows, text, **counts)
    source, target = recipe_beside(Path(arguments.input)), recipe_beside(arguments.output)
    if is_there(source) and source.resolve() != target.resolve():
        shutil.copyfile(source, target)
    return outcome
