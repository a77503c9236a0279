"""The command line `hf-rare`: a thin layer over the library."""

import argparse
import os
import sys
from collections.abc import Sequence

import hf_rare
from hf_rare.cli.checks import add_check_commands
from hf_rare.cli.demo import add_demo_command
from hf_rare.cli.evaluation import add_evaluation_command
from hf_rare.cli.export import add_export_command
from hf_rare.cli.hub import add_hub_commands
from hf_rare.cli.journal import add_journal_commands
from hf_rare.cli.measures import add_measure_commands
from hf_rare.cli.parser import Commands, Parser
from hf_rare.cli.pipeline import add_pipeline_command
from hf_rare.cli.report import add_report_command
from hf_rare.cli.rows import add_row_commands
from hf_rare.cli.terminal import Outcome, fail, finish, speaking
from hf_rare.cli.writers import add_writer_commands
from hf_rare.errors import (
    BatchTypeError,
    ColumnError,
    ConfigError,
    DatasetFileError,
    GenerationError,
    HfRareError,
    HubError,
    JournalError,
    NothingUsableError,
    OutputExistsError,
    PipelineError,
    RankError,
    RunEndedError,
)

GROUPS = ("make rows", "let a teacher write", "look and check", "train and measure", "publish", "more")

STATUSES: dict[int, tuple[type[HfRareError], ...]] = {
    2: (ConfigError,),
    3: (
        ColumnError,
        BatchTypeError,
        DatasetFileError,
        OutputExistsError,
        PipelineError,
        NothingUsableError,
        JournalError,
    ),
    4: (RunEndedError, GenerationError, RankError),
    5: (HubError,),
}
"""Exit statuses by the errors that they stand for; any other error is 1."""

DESCRIPTION = f"""{hf_rare.__doc__.splitlines()[0]}

`hf-rare COMMAND --help` shows the flags of a command, --help-all also the rare ones."""

EXIT = """exit status: 0 all went well, 2 a flag or setting cannot be right, 3 rows cannot be read, written or used,
4 generation ended early, 5 the Hub refused or cannot be reached, 130 Ctrl-C, 1 anything else"""

COMPLETION_HELP = """Print a script that completes commands and flags in a shell.

examples:
  hf-rare completion bash > ~/.local/share/bash-completion/completions/hf-rare
  hf-rare completion zsh > ~/.zfunc/_hf-rare"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv (`Sequence[str]`, *optional*): the arguments; by default those of the process.

    Returns:
        `int`: the exit status: 0 when all went well, 2 where a flag or setting cannot be right, 3 where rows cannot be
        read, written or used, 4 where generation ended early, 5 where the Hub refused or cannot be reached, 130 after
        Ctrl-C, and 1 on any other error. With `HF_RARE_TRACEBACK=1` in the environment errors come with where they
        were raised.
    """
    arguments = build_parser().parse_args(argv)
    try:
        with speaking(arguments):
            outcome: Outcome = arguments.run(arguments)
        status = finish(arguments, outcome)
        sys.stdout.flush()
        return status
    except HfRareError as err:
        return fail(arguments, err, str(err), _find_status(err))
    except KeyboardInterrupt as err:
        text = str(err) or "stopped before the output was written; run the same command again to go on."
        return fail(arguments, err, text, 130)
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # what a shell gives for SIGPIPE
    except Exception as err:
        text = f"this should not have happened: {type(err).__name__}: {err}"
        return fail(arguments, err, f"{text}\nSet HF_RARE_TRACEBACK=1 to see where, and report it.", 1)


def _find_status(error: HfRareError) -> int:
    return next((status for status, kinds in STATUSES.items() if isinstance(error, kinds)), 1)


def build_parser() -> Parser:
    """Build the parser with all its commands."""
    parser = Parser(prog="hf-rare", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=hf_rare.__version__)
    commands = Commands(parser, GROUPS)
    add_writer_commands(commands)
    add_row_commands(commands)
    add_pipeline_command(commands)
    add_check_commands(commands)
    add_report_command(commands)
    add_measure_commands(commands)
    add_export_command(commands)
    add_evaluation_command(commands)
    add_hub_commands(commands)
    add_journal_commands(commands)
    add_demo_command(commands)
    summary = "print a script that completes commands and flags in a shell"
    completion = commands.add("more", "completion", summary, COMPLETION_HELP)
    completion.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "tcsh"), help="bash, zsh or tcsh")
    completion.set_defaults(run=_run_completion, quiet=False, json=False)
    parser.epilog = f"{commands.describe()}\n\n{EXIT}"
    return parser


def _run_completion(arguments: argparse.Namespace) -> Outcome:
    import shtab

    script = shtab.complete(build_parser(), shell=arguments.shell)
    return Outcome(script, {"script": script})
