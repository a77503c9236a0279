"""`hf-rare push` and `hf-rare card`."""

import argparse
from pathlib import Path
from typing import Any

import hf_rare
from hf_rare.cli.flags import INPUT_FILES, add_text_form, check_page, number_of_bytes, read_text_form, write_page
from hf_rare.cli.parser import Commands
from hf_rare.cli.terminal import Outcome, add_manner
from hf_rare.paths import is_there

PUSH_HELP = """Push a dataset with its card and its recipe to the Hub, in one commit.

examples:
  hf-rare push traces.parquet me/rare-medicine --license cc-by-4.0 --language en
  hf-rare push traces.parquet me/rare-medicine --private --config-name cardiology
  hf-rare push more.parquet me/rare-medicine --append

The token is that of `hf auth login`, or HF_TOKEN in the environment."""

CARD_HELP = """Write the card of a dataset to a file, to read it before a push.

examples:
  hf-rare card traces.parquet --output README.md
  hf-rare card traces.parquet --pretty-name "Medicine" --license cc-by-4.0 --overwrite

`hf-rare push` writes the same card into the repository, and keeps what people have written there."""


def add_hub_commands(commands: Commands) -> None:
    """Add `card` and `push`."""
    card = commands.add("publish", "card", "write the card of a dataset to look at it", CARD_HELP)
    summary = "push a dataset with its card and recipe to the Hub, in one commit"
    push = commands.add("publish", "push", summary, PUSH_HELP)
    push.add_argument("input", metavar="INPUT", help=INPUT_FILES)
    push.add_argument("repo_id", metavar="REPO", help="name of the dataset on the Hub, me/name")
    push.add_argument(
        "--private",
        action=argparse.BooleanOptionalAction,
        help="whether a new repository is private (default: as the Hub has it for your account or organisation)",
    )
    push.add_argument("--revision", metavar="BRANCH", help="branch to commit to (default: main)")
    push.add_argument("--create-pr", action="store_true", help="open a pull request instead of committing")
    push.add_argument("--append", action="store_true", help="add the rows to those that are there")
    push.add_argument("--commit-message", metavar="TEXT", help="first line of the commit")
    push.add_argument(
        "--max-shard-size",
        type=number_of_bytes,
        default=500_000_000,
        metavar="SIZE",
        help="of a shard's rows, in bytes or as a text such as 1GB (default: 500MB)",
    )
    push.set_defaults(run=_run_push)
    card.add_argument("input", metavar="INPUT", help=INPUT_FILES)
    card.add_argument(
        "--output", "-o", type=Path, default=Path("README.md"), metavar="FILE", help="default: README.md"
    )
    card.add_argument("--overwrite", action="store_true", help="replace an existing file")
    card.set_defaults(run=_run_card)
    for command in (push, card):
        add_text_form(command)
        command.add_argument(
            "--recipe", type=Path, metavar="JSON", help="default: the one that distill left with INPUT"
        )
        command.add_argument(
            "--evaluation",
            type=Path,
            default=argparse.SUPPRESS,
            metavar="JSON",
            help="evaluation.json of students, for the card",
        )
        command.add_argument("--config-name", default="default", metavar="NAME", help="config (default: default)")
        command.add_argument("--split", metavar="NAME", help="split (default: train, or all of a saved DatasetDict)")
        command.add_argument("--pretty-name", default=argparse.SUPPRESS, metavar="TEXT", help="title of the card")
        command.add_argument("--license", default=argparse.SUPPRESS, metavar="ID", help="licence, such as cc-by-4.0")
        command.add_argument("--language", default=argparse.SUPPRESS, nargs="+", metavar="CODE", help="such as en")
        add_manner(command)


def _read_recipe_of(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from hf_rare.writers.recipe import read_recipe, recipe_beside

    path = arguments.recipe or recipe_beside(Path(arguments.input))
    return read_recipe(path) if arguments.recipe or is_there(path) else None


def _card_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("config_name", "pretty_name", "license", "language", "evaluation")
    return {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}


def _run_push(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.pipeline import inputs

    names = ("private", "revision", "create_pr", "append", "commit_message", "max_shard_size")
    dataset = inputs.load_splits(arguments.input, arguments.split, read_text_form(arguments, {}))
    pushed = hf_rare.push_to_hub(
        dataset,
        arguments.repo_id,
        split=None if isinstance(dataset, dict) else arguments.split or "train",
        recipe=_read_recipe_of(arguments),
        **{name: getattr(arguments, name) for name in names},
        **_card_settings(arguments),
    )
    if pushed is None:  # another process of the job pushes
        return Outcome(None, {})
    words, url = "Pushed" if pushed.has_changed else "Nothing has changed since", pushed.pr_url or pushed.commit_url
    return Outcome(f"{words}: {url}", {"url": url, "has_changed": pushed.has_changed})


def _run_card(arguments: argparse.Namespace) -> Outcome:
    import datasets

    from hf_rare.pipeline import inputs

    check_page(arguments.output, arguments.overwrite, [arguments.input])
    dataset = inputs.load_splits(arguments.input, arguments.split, read_text_form(arguments, {}))
    if isinstance(dataset, datasets.Dataset) and arguments.split is not None and arguments.split.isidentifier():
        dataset = datasets.DatasetDict({arguments.split: dataset})
    card = hf_rare.build_card(dataset, _read_recipe_of(arguments), **_card_settings(arguments))
    write_page(card, arguments.output)
    return Outcome(f"The card is in {arguments.output}", {"output": arguments.output})
