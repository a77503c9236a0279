"""`hf-rare journal`: look at the journals, in which completions are kept safe."""

import argparse
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hf_rare.cli.flags import positive_int
from hf_rare.cli.parser import Commands, Parser
from hf_rare.cli.terminal import Outcome, add_manner, say_where, tell
from hf_rare.errors import ConfigError
from hf_rare.settings.run import RunConfig
from hf_rare.text import show_count

HELP = """Look at the journals, in which completions are kept safe.

examples:
  hf-rare journal ls
  hf-rare journal show 3f2a
  hf-rare journal export 3f2a --output completions.parquet
  hf-rare journal prune --older-than 30 --yes

JOURNAL is the beginning of a name that `ls` shows. Without --yes, `prune` only lists."""


def add_journal_commands(commands: Commands) -> None:
    """Add `journal ls`, `show`, `export` and `prune`."""
    journal = commands.add("more", "journal", "look at the journals, in which completions are kept safe", HELP)
    actions = journal.add_subparsers(title="actions", required=True, metavar="COMMAND", parser_class=Parser)
    for name, run, text in (
        ("ls", _run_journal_ls, "list the journals: name, entries, size, last write, model"),
        ("show", _run_journal_show, "show the settings of a journal and its latest entries"),
        ("export", _run_journal_export, "turn a journal into a dataset"),
        ("prune", _run_journal_prune, "delete journals that were not written to for some days"),
    ):
        action = actions.add_parser(name, help=text, description=text.capitalize() + ".")
        action.add_argument("--journal-dir", default="auto", metavar="FOLDER", help="folder of the journals")
        add_manner(action)
        action.set_defaults(run=run)
        if name in ("show", "export"):
            action.add_argument("journal", metavar="JOURNAL", help="name of the journal, or how it begins")
        if name == "show":
            action.add_argument("--entries", type=positive_int, default=3, metavar="N", help="how many (default: 3)")
        if name == "export":
            action.add_argument(
                "--output", "-o", required=True, type=Path, metavar="OUT", help=".parquet, .jsonl or a folder"
            )
            action.add_argument("--overwrite", action="store_true", help="replace an existing output")
        if name == "prune":
            action.add_argument(
                "--older-than", required=True, type=number_of_days, metavar="DAYS", help="days since the last write"
            )
            action.add_argument("--yes", action="store_true", help="delete; without it they are only listed")


def number_of_days(text: str) -> float:
    """Read a number of days, whole or not, of at least 0."""
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of days of at least 0, received {text!r}")
    return days


def journals_folder(arguments: argparse.Namespace) -> Path:
    """Return the folder of the journals that `--journal-dir` means.

    Raises:
        ConfigError: The journal is turned off.
    """
    from hf_rare.runs.keys import journal_folder

    folder = journal_folder(RunConfig(journal_dir=arguments.journal_dir))
    if folder is None:
        raise ConfigError("The journal is turned off. Pass --journal-dir.")
    return folder


def _describe_journal(info: Any) -> dict[str, Any]:
    from hf_rare.runs.journal_list import iterate_entries

    return {
        "journal": info.name,
        "entries": sum(1 for _ in iterate_entries(info)),
        "bytes": info.size,
        "last_write": show_moment(info.last_used),
        "model": info.header.get("model_id", "?"),
    }


def show_moment(seconds: float) -> str:
    """Write a moment, in seconds since 1970, as a date and a time of this place."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _in_words(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first line of a journal says, with its time as people read it."""
    created = header.get("created")
    return {**header, "created": show_moment(created)} if isinstance(created, int | float) else dict(header)


def _in_a_line(described: Mapping[str, Any]) -> str:
    size = f"{described['bytes'] / 1e6:>9.1f} MB"
    entries = f"{described['entries']:>8} entries"
    return "  ".join([described["journal"], entries, size, described["last_write"], str(described["model"])])


def _run_journal_ls(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.runs.journal_list import list_journals

    folder = journals_folder(arguments)
    described = []
    for info in list_journals(folder):
        described.append(_describe_journal(info))
        tell(arguments, _in_a_line(described[-1]))
    return Outcome(f"{show_count(len(described), 'journal')} in {folder}", {"folder": folder, "journals": described})


def _run_journal_show(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.runs.journal_list import find_journal, iterate_entries

    info = find_journal(journals_folder(arguments), arguments.journal)
    described, latest = _describe_journal(info), list(iterate_entries(info))[-arguments.entries :]
    lines = [_in_a_line(described), yaml.safe_dump(_in_words(info.header), sort_keys=False).rstrip()]
    for key, value in latest:
        completion = value["completion"]
        lines.append(f"\n{key}: {completion['finish_reason']}, {completion['completion_tokens']} tokens\n{'-' * 80}")
        lines += [f"[{message['role']}] {message['content']}" for message in value.get("messages", [])]
        lines.append(f"[assistant] {completion['text'] or completion['error']}")
    entries = [{"key": key, **value} for key, value in latest]
    return Outcome("\n".join(lines), {**described, "settings": info.header, "latest": entries})


def _run_journal_export(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.pipeline import outputs
    from hf_rare.runs.journal_list import export_journal, find_journal

    info = find_journal(journals_folder(arguments), arguments.journal)
    outputs.check_output(arguments.output, arguments.overwrite, [str(info.folder)])
    dataset = export_journal(info)
    outputs.save_output(dataset, arguments.output)
    if arguments.overwrite:
        outputs.drop_stale_recipe(arguments.output)
    return Outcome(
        say_where(len(dataset), "entry", arguments.output), {"output": arguments.output, "rows": len(dataset)}
    )


def _run_journal_prune(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.runs.journal_list import delete_journal, list_journals

    limit = time.time() - 86400 * arguments.older_than
    old = [info for info in list_journals(journals_folder(arguments)) if info.last_used < limit]
    described = []
    for info in old:
        described.append(_describe_journal(info))
        tell(arguments, _in_a_line(described[-1]))
        if arguments.yes:
            delete_journal(info)
    text = f"{len(old)} deleted" if arguments.yes else f"{len(old)} would be deleted; pass --yes to do it"
    return Outcome(text, {"are_deleted": arguments.yes, "journals": described})
