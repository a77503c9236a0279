"""A small dataset that ships with the library: rows to try it on."""

import json
from importlib import resources

import datasets


def load_demo_dataset() -> datasets.Dataset:
    """Load the 14 rows of the demo: question, scenario, text, 3 hard negatives, answer, each of another field."""
    path = resources.files("hf_rare.rows").joinpath("demo.jsonl")
    with path.open(encoding="utf-8") as lines:
        return datasets.Dataset.from_list([json.loads(line) for line in lines])
