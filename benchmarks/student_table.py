"""Print what pages say of `benchmarks/results/student.json`: what each kind of traces has taught.

python -m benchmarks.student_table [--result benchmarks/results/student.json]
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS

TRAINED_ON = {
    "before": "nothing",
    "answers": "the scripted teacher's answers alone",
    "reasoning": "its traces",
    "own-all": "traces of the model itself, right or wrong",
    "own-right": "right traces of the model itself",
    "own-first": "the first right trace of each row",
    "own-chosen": "of each row the right trace that suits it best",
}
"""What the students of an arm were trained on."""


def show(score: dict[str, float], sign: str = "") -> str:
    """Show a rate or a difference in points, with its interval."""
    value, low, high = (f"{100 * score[name]:{sign}.1f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def make_table(result: dict[str, Any]) -> str:
    """Make a table in Markdown: right answers with documents, how far above those before, and right abstentions."""
    accuracy, above = result["arms"]["accuracy"], result["arms"]["differences"]["with_documents"]
    lines = ["| trained on | right, % | above before | abstains rightly, % |", "|---|---|---|---|"]
    for arm, words in TRAINED_ON.items():
        difference = show(above[f"{arm} - before"], "+") if arm != "before" else ""
        right, abstains = (show(accuracy[condition][arm]) for condition in ("with_documents", "negatives"))
        lines.append(f"| {words} | {right} | {difference} | {abstains} |")
    return "\n".join(lines)


def make_short_table(result: dict[str, Any]) -> str:
    """Make a table in Markdown of right answers with documents, for those who have no time."""
    accuracy, arms = result["arms"]["accuracy"]["with_documents"], ("before", "answers", "reasoning", "own-right")
    lines = ["trained on | right, %", "---|---"]
    return "\n".join([*lines, *(f"{TRAINED_ON[arm]} | {show(accuracy[arm])}" for arm in arms)])


def make_sentence(result: dict[str, Any]) -> str:
    """Say what the arms are above each other, and what the evidence measure says, in a sentence each."""
    above = result["arms"]["differences"]["with_documents"]
    pairs = ("reasoning - answers", "own-right - own-all", "own-chosen - own-first")
    traces, right, chosen = (show(above[pair], "+") for pair in pairs)
    nats = {
        name: result["students"][name]["evidence"]["nats a token of the positive"]
        for name in ("before", "reasoning-0")
    }
    return (
        f"Traces against answers alone: {traces} points; right traces against as many of all: {right}; the trace that "
        f"suits the student against the first: {chosen}. The positive carries {nats['before']:.2f} nats a token of an "
        f"ideal trace before, and {nats['reasoning-0']:.2f} after training on such traces."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, default=RESULTS / "student.json")
    result = json.loads(parser.parse_args().result.read_text())
    parts = make_table(result), make_short_table(result), make_sentence(result), f"{result['minutes']:.0f} minutes"
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
