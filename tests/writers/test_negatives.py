"""Hard negatives that a model writes."""

import json

import pytest
from datasets import Dataset, List, Value

from hf_rare.errors import ConfigError
from hf_rare.writers.negatives import NegativeWriter
from tests.support.scripted import ScriptedGenerator

ROWS = Dataset.from_dict(
    {
        "question": ["When does the boat float?", "Which owl hunts?", ""],
        "scenario": ["A boat lies in a harbour.", None, ""],
        "text": ["The flood lifts whatever lies on the mud of the harbour.", "The barn owl hunts at night.", "t"],
    }
)


def write(texts_by_attempt, **settings):
    attempts = {}

    def answer(text, seed):
        attempt = attempts[text] = attempts.get(text, -1) + 1
        return (
            "```json\n" + json.dumps({"hard_negatives": [{"document": d} for d in texts_by_attempt[attempt]]}) + "```"
        )

    writer = NegativeWriter(ScriptedGenerator(answer), **settings)
    return writer.apply(ROWS), writer


def test_texts_that_are_not_the_positive_again():
    copy = "the flood lifts WHATEVER lies on the mud of the harbour!"
    written, writer = write(
        [[copy, "Tides are higher in spring."], ["Tides are higher in spring.", "Moons."]], num_negatives=2
    )
    assert written[0]["hard_negatives"] == ["Tides are higher in spring.", "Moons."]
    assert written[0]["hard_negatives_attempts"] == 2
    assert written[1]["hard_negatives_attempts"] == 1  # to this row the first one is no copy
    assert written["hard_negatives_status"][:] == ["ok", "ok", "invalid_input"]
    assert written[2]["hard_negatives"] == []
    assert written.features["hard_negatives"] == List(Value("string"))
    prompt = writer.generator.asked[0][0]
    assert all(text in prompt for text in (ROWS[0]["question"], ROWS[0]["scenario"], ROWS[0]["text"]))
    (other,) = [text for text, _ in writer.generator.asked if ROWS[1]["question"] in text]
    assert "Situation" not in other


def test_the_answers_of_reasonir_are_read():
    text = '{"input": "q", "positive_document": "p", "hard_negative_document": "Long and beside the point."}'
    writer = NegativeWriter(ScriptedGenerator(lambda prompt, seed: text), columns="minimal")
    assert writer.apply(ROWS.select([0]))[0]["hard_negatives"] == ["Long and beside the point."]


def test_a_number_under_a_known_key_is_passed_over():
    text = '{"hard_negatives": [{"document": 1, "text": "Long and beside the point."}]}'
    writer = NegativeWriter(ScriptedGenerator(lambda prompt, seed: text))
    assert writer.apply(ROWS.select([0]))[0]["hard_negatives"] == ["Long and beside the point."]


def test_a_batch_without_any_negatives_keeps_the_type():
    def answer(text, seed):
        return "none" if "boat" in text else '{"hard_negatives": ["Moons."]}'

    written = ROWS.map(NegativeWriter(ScriptedGenerator(answer)), batched=True, batch_size=1)
    assert written["hard_negatives"][:] == [[], ["Moons."], []]
    assert written.features["hard_negatives"] == List(Value("string"))


def test_a_document_that_is_cut_is_no_document():
    from hf_rare.generation.protocol import Completion

    text = '{"hard_negatives": [{"document": "A whole one."}, {"document": "One that ends in the mid'
    writer = NegativeWriter(ScriptedGenerator(lambda prompt, seed: Completion(text, "length", 7, 9)), num_negatives=2)
    (row,) = writer.apply(ROWS.select([0])).to_list()
    assert (row["hard_negatives"], row["hard_negatives_status"]) == (["A whole one."], "ok")
    assert row["hard_negatives_error"] == "1 of 2 hard negatives in 3 attempts"


def test_settings_that_cannot_be_right():
    with pytest.raises(ConfigError, match="duplicate_threshold=2"):
        NegativeWriter(ScriptedGenerator(str), duplicate_threshold=2)
