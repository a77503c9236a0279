"""The parser of the command line: commands in groups, rare flags behind `--help-all`, and what was meant."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from hf_rare.compat.argparse import arguments_of
from hf_rare.text import find_near_name

_NO_CHOICE = re.compile(r"invalid choice: '(?P<given>[^']*)' \(choose from (?P<choices>.*)\)", re.DOTALL)
_UNKNOWN = "unrecognized arguments: "
_LACKING = "the following arguments are required: INPUT"


class Parser(argparse.ArgumentParser):
    """A parser whose flags are written out in full, whose help is short, and which suggests what was meant.

    Args:
        **settings: those of [`argparse.ArgumentParser`].
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            **{"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False, **settings}
        )
        self._rare: dict[argparse.Action, str | None] = {}
        self._given: list[str] = []
        self._wants_json = False
        self.add_argument(
            "--help-all", action=_HelpAll, nargs=0, default=argparse.SUPPRESS, help="show all flags and exit"
        )

    def abridge(self, action: argparse.Action, short: str | None) -> None:
        """Let `--help` say of a flag what is short, or nothing; `--help-all` says all.

        Args:
            action (`argparse.Action`): the flag.
            short (`str`, *optional*): its help in short; `None` for a rare flag, which `--help` leaves out.
        """
        self._rare[action] = short

    def format_usage(self) -> str:
        """Say how it is called: what must be given, and that there are flags."""
        return f"usage: {self._summarize_usage()}\n"

    def format_help(self) -> str:
        """Return the help in short."""
        whole = {action: action.help for action in self._rare}
        for action, short in self._rare.items():
            action.help = argparse.SUPPRESS if short is None else short
        try:
            return self.format_help_all()
        finally:
            for action, text in whole.items():
                action.help = text

    def format_help_all(self) -> str:
        """Return the help with all flags."""
        before, self.usage = self.usage, self._summarize_usage().replace("%", "%%")
        try:
            return super().format_help()
        finally:
            self.usage = before

    def _summarize_usage(self) -> str:
        needed = [action for action in arguments_of(self) if action.required and action.option_strings]
        flags = [f"{max(action.option_strings, key=len)} {action.metavar or action.dest.upper()}" for action in needed]
        positionals = [
            str(action.metavar or action.dest) for action in arguments_of(self) if not action.option_strings
        ]
        return " ".join([self.prog, *positionals, *flags, "..." if "COMMAND" in positionals else "[flags]"])

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; those that are unknown end the program here, where the flags are known."""
        self._given = list(sys.argv[1:] if args is None else args)
        self._wants_json = "--json" in self._given
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(_UNKNOWN + " ".join(unknown))
        parsed.parser = getattr(parsed, "parser", self)  # that of the command, which comes first
        return parsed, unknown

    def flags_of(self, text: str) -> list[str]:
        """Name the flags of the settings that a text speaks of, and does not name itself."""
        words = set(re.findall(r"\b[a-z]+_[a-z_]*[a-z]\b|\b[a-z]+(?==)", text))
        flags = {action.dest: action for action in arguments_of(self) if action.option_strings}
        found = {max(flags[name].option_strings, key=len): flags[name] for name in flags if name in words}
        return [
            f"{flag} {action.metavar or action.dest.upper()}" if action.nargs != 0 else flag
            for flag, action in found.items()
            if flag not in text
        ]

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and what may have been meant, and exit with 2."""
        if found := _NO_CHOICE.search(message):
            choices = [choice.strip(" '\"") for choice in found["choices"].split(",")]
            message += _suggest(found["given"], choices)
        elif message.startswith(_UNKNOWN):
            flags = [flag for action in arguments_of(self) for flag in action.option_strings]
            given = message.removeprefix(_UNKNOWN).split()[0].partition("=")[0]
            message += _advise_generation(given) or _suggest(given, flags)
        elif message.startswith(_LACKING):
            greedy = [flag for one in arguments_of(self) if one.nargs == "+" for flag in one.option_strings]
            if taking := next((flag for flag in greedy if flag in self._given), None):
                message += f". {taking} takes all that follows it, up to the next flag: put INPUT before it"
        if self._wants_json:
            print(json.dumps({"error": "UsageError", "message": message, "status": 2}))
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}\n")


class _HelpAll(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        if isinstance(parser, Parser):
            print(parser.format_help_all(), end="")
        parser.exit()


def _advise_generation(given: str) -> str:
    """Say where a setting of `generate` goes, such as the temperature."""
    from hf_rare.settings.transformers_names import GENERATION_RANGES

    name = given.lstrip("-").replace("-", "_")
    value = '{"' + name + '": ...}'
    return f". Pass --generation-kwargs '{value}'" if name in (*GENERATION_RANGES, "do_sample", "stop_strings") else ""


def _suggest(given: str, known: Sequence[str]) -> str:
    near = find_near_name(given, known)
    return f". Did you mean {near}?" if near else ""


class Commands:
    """The commands of a program, in groups.

    Args:
        parser (`Parser`): the program's.
        groups (`Sequence[str]`): titles of the groups, in order.
    """

    def __init__(self, parser: Parser, groups: Sequence[str]) -> None:
        self._parsers = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
        parser.abridge(self._parsers, None)  # `describe` says more of them
        self._summaries: dict[str, list[tuple[str, str]]] = {group: [] for group in groups}

    def add(self, group: str, name: str, summary: str, description: str | None = None) -> Parser:
        """Add a command.

        Args:
            group (`str`): title of its group.
            name (`str`): its name.
            summary (`str`): what it does, for the list of commands.
            description (`str`, *optional*): what its own help says first; by default the summary as a sentence.
        """
        self._summaries[group].append((name, summary))
        description = description or f"{summary[0].upper()}{summary[1:]}."
        made: Parser = self._parsers.add_parser(name, description=description)
        return made

    def describe(self) -> str:
        """List the commands by group."""
        blocks = [
            f"{group}:\n" + "\n".join(f"  {name:<12}{summary}" for name, summary in commands)
            for group, commands in self._summaries.items()
        ]
        return "\n\n".join(blocks)
