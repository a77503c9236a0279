"""What the tests of pushes share: the repository, rows, a recipe, and waits that are short."""

import pytest
from datasets import Dataset, load_dataset

REPO = "me/rare"


@pytest.fixture(name="no_waiting", autouse=True)
def no_waiting_fixture(monkeypatch):
    monkeypatch.setattr("hf_rare.hub.repository.RETRY_SECONDS", 0.01)


@pytest.fixture(name="table")
def table_fixture() -> Dataset:
    return Dataset.from_dict(
        {
            "question": [f"What is {i}?" for i in range(50)],
            "reasoning": [f"It is {i}. [1]" for i in range(50)],
            "reasoning_status": ["ok"] * 50,
        }
    )


def make_recipe_without_model() -> dict:
    return {
        "recipe": 1,
        "kind": "distill",
        "hf_rare": "0.1.0",
        "generation_revision": 1,
        "distill": {"output_column": "reasoning"},
        "model": None,
        "decoding": None,
        "identity": {},
        "versions": {},
        "command": None,
    }


def load(split="train", name=None, **kwargs):
    return load_dataset(REPO, name, split=split, **kwargs)


def rows_of(dataset) -> list[dict]:
    return list(dataset)
