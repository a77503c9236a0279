"""The command line `hf-rare`: a thin layer over the library."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hf_rare
from hf_rare.cli.evaluation import add_evaluation_commands
from hf_rare.cli.flags import positive_int
from hf_rare.cli.hub import add_hub_commands
from hf_rare.cli.journal import add_journal_commands
from hf_rare.cli.report import add_report_command
from hf_rare.cli.rows import add_row_commands
from hf_rare.cli.terminal import begin_logging, say
from hf_rare.cli.writers import add_writer_commands, write
from hf_rare.errors import HfRareError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv (`Sequence[str]`, *optional*): the arguments; by default those of the process.

    Returns:
        `int`: 0 when all went well, 1 on an error that the user can mend, 130 after Ctrl-C.
    """
    arguments = build_parser().parse_args(argv)
    begin_logging()
    try:
        arguments.run(arguments)
    except HfRareError as err:
        say(f"hf-rare: {err}", is_error=True)
        return 1
    except KeyboardInterrupt:
        say("hf-rare: stopped before the output was written; run the same command again to go on.", is_error=True)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with all its commands."""
    parser = argparse.ArgumentParser(prog="hf-rare", description=hf_rare.__doc__)
    parser.add_argument("--version", action="version", version=hf_rare.__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    add_writer_commands(commands)
    add_row_commands(commands)
    add_evaluation_commands(commands)
    add_hub_commands(commands)
    add_report_command(commands)

    demo = commands.add_parser(
        "demo", help="distill the rows that ship with the library, with a small model on the CPU"
    )
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("hf-rare-demo"),
        metavar="FOLDER",
        help="where the rows and their card go (default: hf-rare-demo)",
    )
    demo.add_argument("--model", metavar="MODEL_ID", help="another model than SmolLM2-135M-Instruct")
    demo.add_argument("--max-new-tokens", type=positive_int, default=256, metavar="N", help="per trace (default: 256)")
    demo.add_argument("--rows", type=positive_int, metavar="N", help="only the first N of the 14 rows")
    demo.set_defaults(run=_run_demo)
    add_journal_commands(commands)
    return parser


def _run_demo(arguments: argparse.Namespace) -> None:
    from hf_rare.cli.demo import find_demo_model
    from hf_rare.pipeline import outputs

    rows, card = arguments.output / "train.parquet", arguments.output / "README.md"
    outputs.check_results(rows, card)
    dataset = hf_rare.load_demo_dataset()
    if arguments.rows:
        dataset = dataset.select(range(min(arguments.rows, len(dataset))))
    model: dict[str, Any] = {"model_id": arguments.model}
    if arguments.model is None:
        path = find_demo_model()
        model = {"model_id": str(path.parent), "gguf_file": path.name, "dtype": "float32"}
        say(f"Loading {path.stem}; then it writes {len(dataset)} traces on the CPU, in about two minutes ...")
    distiller = hf_rare.ReasonDistiller.from_pretrained(
        **model, max_new_tokens=arguments.max_new_tokens, generation_kwargs={"repetition_penalty": 1.1}
    )
    distilled = write(distiller, dataset)
    shown = sorted(distilled, key=lambda row: row["reasoning_status"] != "ok")[:3]
    for row in shown:
        say(f"\n{row['id']}, {row['field']}: {row['question']}")
        place = row["reasoning_positive_position"]
        say(
            f"status: {row['reasoning_status']}; the document that helps was [{place}]\n{'-' * 80}\n{row['reasoning']}"
        )
    if arguments.model is None:
        say("\n(A model of 135 million parameters writes fluent nonsense: this shows the machinery, not a teacher.)")
    outputs.save_card(hf_rare.build_card(distilled, distiller, pretty_name="hf_rare demo"), card)
    outputs.save_output(distilled, rows)
    say(f"\nThe {len(distilled)} rows are in {rows}, their card is in {card}")
    say(f'Look at them: datasets.load_dataset("parquet", data_files="{rows}")')
