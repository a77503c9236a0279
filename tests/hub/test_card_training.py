"""The code for training in a card that was pushed, run as it stands there, by the real clients."""

import logging
import re
from types import SimpleNamespace

import pytest
from datasets import Dataset, load_dataset

from hf_rare import ReasonDistiller, push_to_hub, to_sft, verify
from tests.support.loopback_hub import hub_fixture  # noqa: F401
from tests.support.pushing import REPO, no_waiting_fixture  # noqa: F401
from tests.support.scripted import ScriptedGenerator

ROWS = Dataset.from_list(
    [
        {
            "question": f"When is tide {number} high?",
            "scenario": f"A boat waits for tide {number}.",
            "text": f"Tide {number} is high at noon.",
            "hard_negatives": [f"Tide {number} is salty.", "The moon is far."],
            "options": ["at dawn", "at noon", "at night"],
            "answer": "B",
        }
        for number in range(5)
    ]
)


def answer(text: str, seed: int) -> str:
    """Think before each answer, which is right for some seeds, and say nothing but a thought for others."""
    letter = ("B", "A", "")[seed % 3]
    return f"<think>By [1] it is so: {seed}.</think>" + (f"<answer>{letter}</answer>" if letter else "")


def train(card: str, namespace: dict) -> Dataset:
    """Run the code, but for the trainer itself, which is given what it would train on."""
    code = re.search(r"### Training on it\n.*?```python\n(.*?)```", card, re.DOTALL)[1]
    given = []
    namespace |= {
        "SFTTrainer": lambda model, train_dataset, args: given.append(train_dataset) or SimpleNamespace(train=list)
    }
    exec(code.replace("from trl import SFTConfig, SFTTrainer", "SFTConfig = dict"), namespace)
    assert given == [namespace["train"]]
    return namespace["train"]


def test_hard_negatives_in_several_columns(hub):
    of_row = dict(zip(("near", "far"), zip(*ROWS["hard_negatives"], strict=True), strict=True))
    rows = Dataset.from_dict({**ROWS.remove_columns("hard_negatives").to_dict(), **of_row})
    distill_fn = ReasonDistiller(ScriptedGenerator(answer), hard_negatives_column=("near", "far"), journal_dir=None)
    push_to_hub(distill_fn.apply(rows), REPO, recipe=distill_fn)
    made = train(hub.read(REPO, "README.md").decode(), {})
    pushed = load_dataset(REPO, split="train")
    assert made.to_list() == to_sft(pushed, recipe=distill_fn).to_list()
    prompt = made[0]["prompt"][-1]["content"]
    assert all(text in prompt for text in ROWS[0]["hard_negatives"])


@pytest.mark.parametrize("config_name", ["default", "tides"])
@pytest.mark.parametrize("expand", [False, True])
def test_several_samples_with_verdicts_and_options(hub, caplog, config_name, expand):
    settings = {"template": "rare-qa", "require_answer": False, "system_prompt": "Be brief.", "journal_dir": None}
    distill_fn = ReasonDistiller(ScriptedGenerator(answer), num_samples=6, expand=expand, **settings)
    rows = verify(distill_fn.apply(ROWS), "answer")
    push_to_hub(rows, REPO, recipe=distill_fn, config_name=config_name)
    card = hub.read(REPO, "README.md").decode()
    with caplog.at_level(logging.WARNING):
        made = train(card, {})
    pushed = load_dataset(REPO, config_name, split="train")
    assert made.to_list() == to_sft(pushed, recipe=distill_fn, correct_column="reasoning_verdict").to_list()
    verdicts = [verdict for row in rows["reasoning_verdict"] for verdict in ([row] if expand else row)]
    assert 0 < len(made) == verdicts.count("right") < len(verdicts) == 30
    for example in made:
        system, user = example["prompt"]
        assert system["content"] == "Be brief."
        assert "B. at noon" in user["content"]
        assert example["completion"][0]["content"].startswith("<think>\nBy [1]")
        assert example["completion"][0]["content"].endswith("<answer>B</answer>")
    right = verdicts.count("right")
    checked = right + verdicts.count("wrong")
    assert f"| `right` | {right} | {right / checked:.1%} |" in card
