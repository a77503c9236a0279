"""What the tests of endpoints ask: rows, a distiller behind an address, and no patience."""

import pytest
from datasets import Dataset

from hf_rare import ReasonDistiller
from hf_rare.generation.endpoints import level, probe, writing

TEXT = "<think>Because of the rule.</think>It is so."


@pytest.fixture(autouse=True, name="impatient")
def impatient_fixture(monkeypatch):
    """Wait for hundredths of what servers are given in earnest."""
    monkeypatch.setattr(level, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(level, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(probe, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(writing, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(writing, "LONGEST_BACK_OFF", 0.05)


def make_rows(count: int) -> Dataset:
    return Dataset.from_list(
        [
            {"text": f"Rule {i} says so.", "question": f"What of {i}?", "scenario": "", "hard_negatives": ["a", "b"]}
            for i in range(count)
        ]
    )


def distiller(server, **settings) -> ReasonDistiller:
    return ReasonDistiller.from_endpoint("m", base_url=server.base_url, max_new_tokens=50, **settings)
