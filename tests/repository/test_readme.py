"""The README is short, its first command line is real, and its example is a row of the demo."""

import json

from benchmarks.machine import RESULTS
from benchmarks.plot_throughput import make_table
from hf_rare import load_demo_dataset
from hf_rare.prompts.prompt import build_prompt
from hf_rare.rows.row import read_row
from hf_rare.settings.writers import DistillConfig
from tests.conftest import REPOSITORY
from tests.support.pages import Page

README = Page(REPOSITORY / "README.md")


def test_it_has_at_most_900_words_and_the_first_result_is_on_the_first_screen():
    assert len(README.text.split()) <= 900
    first_block = next(block for block in README.blocks if "make demo" in block.text)
    assert first_block.line < 25


def test_the_first_code_has_ten_lines():
    (code,) = README.blocks_of("python")
    assert len([line for line in code.text.splitlines() if line and not line.startswith("#")]) <= 10


def test_the_example_is_a_row_of_the_demo():
    (block,) = README.blocks_of("text")
    example = block.text
    row = next(row for row in load_demo_dataset() if f"id: {row['id']}\n" in example)
    prompt = build_prompt(read_row(row, DistillConfig()), DistillConfig())
    assert f"question: {row['question']}" in example
    assert f"reasoning_document_order: {prompt.document_order}" in example
    assert f"reasoning_positive_position: {prompt.document_order.index(0) + 1}" in example
    negatives = [
        line.strip() for line in example.split("hard_negatives:")[1].split("reasoning:")[0].splitlines() if line
    ]
    cut = [example.split(f"{name}: ")[1].split("\n")[0] for name in ("scenario", "text")]
    for text, shown in zip([row["scenario"], row["text"], *row["hard_negatives"]], cut + negatives, strict=True):
        assert text.startswith(shown.strip().removeprefix("- ").removesuffix(" ..."))


def test_it_says_how_fast_it_is_as_the_result_has_it():
    table = make_table(json.loads((RESULTS / "throughput.json").read_text()))
    (static,) = (line for line in table.splitlines() if line.startswith("| static |"))
    assert f"writes {static.split('|')[3].strip()} times as fast" in README.text
