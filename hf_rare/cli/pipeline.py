"""`hf-rare run`: a whole pipeline from a YAML file."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from hf_rare.cli.flags import positive_int
from hf_rare.cli.parser import Commands
from hf_rare.cli.terminal import Outcome, add_manner, say_where, tell
from hf_rare.text import show_count

HELP = """Run a whole pipeline: questions, hard negatives, reasoning, checks, training files, Hub.

examples:
  hf-rare run pipelines/corpus.yaml --input corpus.jsonl --output traces
  hf-rare run pipelines/rare.yaml --input questions.jsonl --corpus pages.jsonl --model ./teacher --output rare

Each stage writes its rows into a folder under the output. A stage whose rows exist is skipped, and one that was
interrupted goes on where it was: run the same command again."""


def add_pipeline_command(commands: Commands) -> None:
    """Add `run`."""
    run = commands.add("let a teacher write", "run", "run a pipeline from a YAML file", HELP)
    run.add_argument("pipeline", type=Path, metavar="YAML", help="the pipeline, such as pipelines/corpus.yaml")
    run.add_argument(
        "--output", "-o", type=Path, metavar="FOLDER", help="folder for the results (default: the pipeline's)"
    )
    run.add_argument(
        "--input", metavar="INPUT", help="rows or documents to start from, in the place of the pipeline's"
    )
    run.add_argument("--corpus", metavar="CORPUS", help="what to search, in the place of the pipeline's")
    run.add_argument(
        "--model", metavar="MODEL_ID", help="model that writes in all stages, in the place of the pipeline's"
    )
    run.add_argument(
        "--max-new-tokens", type=positive_int, metavar="N", help="per completion, in the place of the pipeline's"
    )
    add_manner(run)
    run.set_defaults(run=_run_pipeline)


def _run_pipeline(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.pipeline.run import StageResult, run_pipeline
    from hf_rare.pipeline.settings import load_pipeline

    stages: list[dict[str, Any]] = []

    def note(result: StageResult) -> None:
        stages.append(dataclasses.asdict(result))
        words = ", which stand already" if result.is_skipped else ""
        words = f", made again: {result.why}" if result.why else words
        tell(arguments, f"{result.name}: {show_count(result.rows, 'row')} in {result.path}{words}")

    sections = load_pipeline(arguments.pipeline)
    sections |= {name: value for name in ("input", "corpus") if (value := getattr(arguments, name)) is not None}
    given = {"model_id": arguments.model, "max_new_tokens": arguments.max_new_tokens}
    settings = {name: value for name, value in given.items() if value is not None}
    rows = run_pipeline(sections, output=arguments.output, on_stage=note, **settings)
    folder = arguments.output or Path(sections["output"])
    output, card = folder / "rows.parquet", folder / "README.md"
    text = f"{say_where(len(rows), 'row', output)}, their card is in {card}"
    return Outcome(text, {"output": output, "card": card, "rows": len(rows), "stages": stages})
