"""The command line `hf-rare`: a thin layer over the library, its flags made from the config dataclasses."""

import argparse
import dataclasses
import json
import logging
import os
import sys
import time
import types
import typing
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import docstring_parser
import yaml

import hf_rare
from hf_rare.config import Config, DecodingConfig, DistillConfig, ModelConfig, RunConfig
from hf_rare.errors import BudgetReachedError, ConfigError, HfRareError, OutputExistsError
from hf_rare.passed_through import reject_unknown_names

CONFIGS: tuple[type[Config], ...] = (DistillConfig, ModelConfig, DecodingConfig, RunConfig)
GROUPS = ("columns, prompt and samples", "model", "generation", "journal, failures, limits and processes")

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
    _add_input_and_settings(distill)
    distill.add_argument("--output", required=True, type=Path, metavar="OUT", help=".parquet, .jsonl, or a folder")
    distill.add_argument("--overwrite", action="store_true", help="replace an existing output")
    distill.add_argument(
        "--num-proc", type=_positive_int, metavar="N", help="worker processes, each with a model of its own"
    )
    distill.set_defaults(run=_run_distill)

    estimate = commands.add_parser(
        "estimate", help="say what a run will take", description="Generate a few rows and say what all would take."
    )
    _add_input_and_settings(estimate)
    estimate.add_argument("--sample", type=_positive_int, default=8, metavar="N", help="rows to generate (default: 8)")
    estimate.set_defaults(run=_run_estimate)

    _add_hub_commands(commands)

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
    demo.add_argument(
        "--max-new-tokens", type=_positive_int, default=256, metavar="N", help="per trace (default: 256)"
    )
    demo.add_argument("--rows", type=_positive_int, metavar="N", help="only the first N of the 14 rows")
    demo.set_defaults(run=_run_demo)
    _add_journal_commands(commands)
    return parser


def _add_input_and_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", metavar="INPUT", help="a .json, .jsonl, .csv or .parquet file, saved dataset, Hub name"
    )
    parser.add_argument("--name", help="config of a dataset on the Hub")
    parser.add_argument("--split", default="train", help="split of a dataset on the Hub (default: train)")
    parser.add_argument(
        "--batch-size", type=_positive_int, default=argparse.SUPPRESS, metavar="N", help="default: 1000"
    )
    parser.add_argument("--config", type=Path, metavar="YAML", help="file with settings by name")
    for config, title in zip(CONFIGS, GROUPS, strict=True):
        _add_settings(parser.add_argument_group(title), config)


def _add_hub_commands(commands: Any) -> None:
    push = commands.add_parser("push", help="push a dataset with its card and recipe to the Hub, in one commit")
    push.add_argument("input", metavar="INPUT", help="a .json, .jsonl, .csv or .parquet file, or saved dataset")
    push.add_argument("repo_id", metavar="REPO", help="name of the dataset on the Hub, me/name")
    push.add_argument("--private", action=argparse.BooleanOptionalAction, help="whether a repository that is made is")
    push.add_argument("--revision", metavar="BRANCH", help="branch to commit to (default: main)")
    push.add_argument("--create-pr", action="store_true", help="open a pull request instead of committing")
    push.add_argument("--append", action="store_true", help="add the rows to those that are there")
    push.add_argument("--commit-message", metavar="TEXT", help="first line of the commit")
    push.add_argument("--max-shard-size", default="500MB", metavar="SIZE", help="of a shard's rows (default: 500MB)")
    push.set_defaults(run=_run_push)
    card = commands.add_parser("card", help="write the card of a dataset to look at it")
    card.add_argument("input", metavar="INPUT", help="a .json, .jsonl, .csv or .parquet file, or saved dataset")
    card.add_argument("--output", type=Path, default=Path("README.md"), metavar="FILE", help="default: README.md")
    card.add_argument("--overwrite", action="store_true", help="replace an existing file")
    card.set_defaults(run=_run_card)
    for command in (push, card):
        command.add_argument(
            "--recipe", type=Path, metavar="JSON", help="default: the one that distill left with INPUT"
        )
        command.add_argument("--config-name", default="default", metavar="NAME", help="config (default: default)")
        command.add_argument("--split", default="train", metavar="NAME", help="split (default: train)")
        command.add_argument("--pretty-name", default=argparse.SUPPRESS, metavar="TEXT", help="title of the card")
        command.add_argument("--license", default=argparse.SUPPRESS, metavar="ID", help="licence, such as cc-by-4.0")
        command.add_argument("--language", default=argparse.SUPPRESS, nargs="+", metavar="CODE", help="such as en")


def _add_journal_commands(commands: Any) -> None:
    journal = commands.add_parser("journal", help="look at the journals, in which completions are kept safe")
    actions = journal.add_subparsers(title="actions", required=True, metavar="ACTION")
    for name, run, text in (
        ("ls", _run_journal_ls, "list the journals: name, entries, size, last use, model"),
        ("show", _run_journal_show, "show the settings of a journal and its latest entries"),
        ("export", _run_journal_export, "turn a journal into a dataset"),
        ("prune", _run_journal_prune, "delete journals that were not used for some days"),
    ):
        action = actions.add_parser(name, help=text, description=text.capitalize() + ".")
        action.add_argument("--journal-dir", default="auto", metavar="FOLDER", help="folder of the journals")
        action.set_defaults(run=run)
        if name in ("show", "export"):
            action.add_argument("journal", metavar="JOURNAL", help="name of the journal, or how it begins")
        if name == "show":
            action.add_argument("--entries", type=_positive_int, default=3, metavar="N", help="how many (default: 3)")
        if name == "export":
            action.add_argument(
                "--output", required=True, type=Path, metavar="OUT", help=".parquet, .jsonl or a folder"
            )
            action.add_argument("--overwrite", action="store_true", help="replace an existing output")
        if name == "prune":
            action.add_argument(
                "--older-than", required=True, type=float, metavar="DAYS", help="days since the last use"
            )
            action.add_argument("--yes", action="store_true", help="delete; without it they are only listed")


def _journals_folder(arguments: argparse.Namespace) -> Path:
    from hf_rare.completing import journal_folder

    folder = journal_folder(RunConfig(journal_dir=arguments.journal_dir))
    if folder is None:
        raise ConfigError("The journal is turned off. Pass --journal-dir.")
    return folder


def _describe_journal(info: Any) -> str:
    from hf_rare.journals import iterate_entries

    entries = sum(1 for _ in iterate_entries(info))
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.last_used))
    return f"{info.name}  {entries:>8} entries  {info.size / 1e6:>9.1f} MB  {date}  {info.header.get('model_id', '?')}"


def _run_journal_ls(arguments: argparse.Namespace) -> None:
    from hf_rare.journals import list_journals

    folder = _journals_folder(arguments)
    infos = list_journals(folder)
    for info in infos:
        print(_describe_journal(info))
    print(f"{len(infos)} journal{'' if len(infos) == 1 else 's'} in {folder}")


def _run_journal_show(arguments: argparse.Namespace) -> None:
    from hf_rare.journals import find_journal, iterate_entries

    info = find_journal(_journals_folder(arguments), arguments.journal)
    print(_describe_journal(info))
    print(yaml.safe_dump(info.header, sort_keys=False).rstrip())
    for key, value in list(iterate_entries(info))[-arguments.entries :]:
        completion = value["completion"]
        print(f"\n{key}: {completion['finish_reason']}, {completion['completion_tokens']} tokens\n{'-' * 80}")
        for message in value["messages"]:
            print(f"[{message['role']}] {message['content']}")
        print(f"[assistant] {completion['text'] or completion['error']}")


def _run_journal_export(arguments: argparse.Namespace) -> None:
    from hf_rare import files
    from hf_rare.journals import export_journal, find_journal

    info = find_journal(_journals_folder(arguments), arguments.journal)
    files.check_output(arguments.output, arguments.overwrite)
    dataset = export_journal(info)
    files.save_output(dataset, arguments.output)
    print(f"{len(dataset)} entries are in {arguments.output}")


def _run_journal_prune(arguments: argparse.Namespace) -> None:
    from hf_rare.journals import delete_journal, list_journals

    limit = time.time() - 86400 * arguments.older_than
    old = [info for info in list_journals(_journals_folder(arguments)) if info.last_used < limit]
    for info in old:
        print(_describe_journal(info))
        if arguments.yes:
            delete_journal(info)
    print(f"{len(old)} deleted" if arguments.yes else f"{len(old)} would be deleted; pass --yes to do it")


def _add_settings(group: Any, config: type[Config]) -> None:
    """Add a flag for every setting of a config; its docstring gives the help."""
    docs = {param.arg_name: param.description or "" for param in docstring_parser.parse(config.__doc__ or "").params}
    kinds = typing.get_type_hints(config)
    for setting in dataclasses.fields(config):
        names = [f"--{setting.name.replace('_', '-')}"]
        if setting.name == "model_id":
            names.insert(0, "--model")
        text = " ".join(docs[setting.name].replace("`", "").split())
        if isinstance(setting.default, str | int | float) and setting.default is not False:
            text += f" (default: {setting.default})"
        text = text.replace("%", "%%")
        group.add_argument(
            *names, dest=setting.name, default=argparse.SUPPRESS, help=text, **_flag_kwargs(kinds[setting.name])
        )


def _flag_kwargs(kind: Any) -> dict[str, Any]:
    members = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if typing.get_origin(kind) is typing.Literal:
        return {"choices": typing.get_args(kind)}
    if bool in members:
        return {"action": argparse.BooleanOptionalAction}
    if kind == tuple[str, str]:
        return {"nargs": 2, "metavar": ("OPENING", "CLOSING")}
    origins = [typing.get_origin(member) or member for member in members]
    if tuple in origins:
        return {"nargs": "+", "metavar": "NAME"}
    parsers: dict[type, tuple[str, Callable[[str], Any]]] = {
        dict: ("JSON", _parse_json),
        float: ("X", float),
        int: ("N", int),
        str: ("TEXT", str),
    }
    metavar, parse = next(parsers[member] for member in parsers if member in origins)
    return {"metavar": metavar, "type": partial(_or_none, parse) if type(None) in members else parse}


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, received {text!r}")
    return int(text)


def _or_none(parse: Callable[[str], Any], text: str) -> Any:
    """Read a setting that may be None, which is written `none`."""
    return None if text.lower() == "none" else parse(text)


def _parse_json(text: str) -> Any:
    """Read a dict or list of JSON; anything else is a text, for settings that take either."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as err:
        raise argparse.ArgumentTypeError(f"not JSON ({err}): {text}") from err


def read_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Merge the settings of `--config` and of the flags; a flag wins.

    Raises:
        ConfigError: The file cannot be read, holds no settings, or names an unknown one.
    """
    known = ["batch_size", *(name for config in CONFIGS for name in config.names())]
    settings: dict[str, Any] = {}
    if arguments.config is not None:
        try:
            loaded = yaml.safe_load(arguments.config.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
            raise ConfigError(f"--config {arguments.config} cannot be read: {err}") from err
        if not isinstance(loaded, dict):
            raise ConfigError(f"--config {arguments.config} holds no settings: expected lines like `seed: 1`.")
        settings = {("model_id" if name == "model" else str(name)): value for name, value in loaded.items()}
        reject_unknown_names(settings, known, f"--config {arguments.config}")
    settings |= {name: value for name, value in vars(arguments).items() if name in known}
    if "model_id" not in settings:
        raise ConfigError("No model is given. Pass --model, the name of a model on the Hub or a local folder.")
    return settings


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


def _read_recipe_of(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from hf_rare.recipe import read_recipe, recipe_beside

    path = arguments.recipe or recipe_beside(Path(arguments.input))
    return read_recipe(path) if arguments.recipe or path.exists() else None


def _card_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("config_name", "pretty_name", "license", "language")
    return {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}


def _run_push(arguments: argparse.Namespace) -> None:
    from hf_rare import files

    names = ("split", "private", "revision", "create_pr", "append", "commit_message", "max_shard_size")
    pushed = hf_rare.push_to_hub(
        files.load_input(arguments.input, None, arguments.split),
        arguments.repo_id,
        recipe=_read_recipe_of(arguments),
        **{name: getattr(arguments, name) for name in names},
        **_card_settings(arguments),
    )
    if pushed is not None:
        words = "Pushed" if pushed.has_changed else "Nothing has changed since"
        print(f"{words}: {pushed.pr_url or pushed.commit_url}")


def _run_card(arguments: argparse.Namespace) -> None:
    from hf_rare import files

    if arguments.output.exists() and not arguments.overwrite:
        raise OutputExistsError(f"{arguments.output} exists already. Pass --overwrite, or another --output.")
    dataset = files.load_input(arguments.input, None, arguments.split)
    card = hf_rare.build_card(dataset, _read_recipe_of(arguments), **_card_settings(arguments))
    arguments.output.write_text(card, encoding="utf-8")
    print(f"The card is in {arguments.output}")


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
