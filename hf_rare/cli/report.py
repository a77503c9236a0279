"""`hf-rare report`: a page about a distilled dataset, to look at it in a browser."""

import argparse
from pathlib import Path
from typing import Any

import hf_rare
from hf_rare.cli.flags import (
    add_input,
    add_shown_columns,
    check_page,
    number_of_bytes,
    positive_int,
    read_text_form,
)
from hf_rare.cli.parser import Commands
from hf_rare.cli.terminal import Outcome, add_manner
from hf_rare.paths import is_there
from hf_rare.settings.writers import SHOWN_COLUMNS

HELP = """Make a page about distilled rows: what to worry about, numbers that list the rows they count, and the rows.

examples:
  hf-rare report traces.parquet -o report.html
  hf-rare report traces.parquet --journal 3f2a -o report.html
  hf-rare report traces.parquet --compare other-traces.parquet -o report.html

The page is one file that asks nothing of any server. It goes by the recipe that distill left beside INPUT."""


def add_report_command(commands: Commands) -> None:
    """Add `report`."""
    report = commands.add("look and check", "report", "make a page about distilled rows", HELP)
    add_input(report)
    report.add_argument("--output", "-o", required=True, type=Path, metavar="HTML", help="file for the page")
    report.add_argument("--overwrite", action="store_true", help="replace an existing file")
    report.add_argument("--compare", metavar="INPUT", help="another dataset, shown beside it row by row")
    report.add_argument(
        "--key-column", metavar="NAME", help="column that rows are known by (default: id, or what was asked)"
    )
    report.add_argument("--recipe", type=Path, metavar="JSON", help="default: the one that distill left with INPUT")
    report.add_argument(
        "--journal",
        metavar="JOURNAL",
        help="journal of the run, by how its name begins: for the speed over time",
    )
    report.add_argument("--journal-dir", default="auto", metavar="FOLDER", help="folder of the journals")
    report.add_argument("--title", metavar="TEXT", help="title of the page (default: the name of INPUT)")
    report.add_argument(
        "--marks", nargs="+", metavar="TEXT", default=argparse.SUPPRESS, help="what rows can be marked as"
    )
    report.add_argument(
        "--max-rows", type=positive_int, default=10_000, metavar="N", help="most rows in the page (default: 10000)"
    )
    report.add_argument(
        "--max-size",
        type=number_of_bytes,
        default=12_000_000,
        metavar="SIZE",
        help="most bytes of the rows in the page (default: 12MB)",
    )
    add_shown_columns(report, "default: that of the recipe")
    add_manner(report)
    report.set_defaults(run=_run_report)


def _run_report(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.pipeline import inputs
    from hf_rare.writers.recipe import recipe_beside

    check_page(arguments.output, arguments.overwrite, [arguments.input, *filter(None, [arguments.compare])])
    path = recipe_beside(Path(arguments.input))
    form = read_text_form(arguments, {})
    other = inputs.load_splits(arguments.compare, form=form) if arguments.compare is not None else None
    made = hf_rare.report(
        _load(arguments, form),
        compare=other,
        names=_name_both(arguments.input, arguments.compare),
        key_column=arguments.key_column,
        journal=_find_journal(arguments),
        recipe=arguments.recipe or (path if is_there(path) else None),
        title=arguments.title or Path(arguments.input).name,
        max_rows=arguments.max_rows,
        max_bytes=arguments.max_size,
        **{name: getattr(arguments, name) for name in ("marks", *SHOWN_COLUMNS) if hasattr(arguments, name)},
    )
    made.save(arguments.output)
    held = "all of them" if made.embedded_rows == made.rows else f"a sample of {made.embedded_rows:,} of them"
    text = f"The report counts {made.rows:,} rows and holds {held}. It is in {arguments.output}"
    return Outcome(text, {"output": arguments.output, "rows": made.rows, "embedded_rows": made.embedded_rows})


def _load(arguments: argparse.Namespace, form: Any) -> Any:
    from hf_rare.pipeline import inputs

    if arguments.config_name is None:
        return inputs.load_splits(arguments.input, arguments.split, form)
    return inputs.load_input(arguments.input, arguments.config_name, arguments.split, form)


def _name_both(mine: str, other: str | None) -> tuple[str, str]:
    """Return what two datasets are called: by their files, or by their folders where these are of the same name."""
    paths = [Path(name).absolute() for name in (mine, other or "other")]
    for parts in (1, 2):
        one, two = ("/".join(path.parts[-parts:]) for path in paths)
        if one != two:
            return one, two
    return "here", "other"


def _find_journal(arguments: argparse.Namespace) -> Path | None:
    from hf_rare.cli.journal import journals_folder
    from hf_rare.runs.journal_list import find_journal

    if arguments.journal is None:
        return None
    return find_journal(journals_folder(arguments), arguments.journal).folder
