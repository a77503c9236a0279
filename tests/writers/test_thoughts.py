"""Thoughts in the markers of other models, from the tokens of a completion to its columns."""

import logging

import pytest
from datasets import Dataset

from hf_rare import QueryGenerator, ReasonDistiller
from hf_rare.generation.decoding import Decoding, build_generation_config
from hf_rare.settings.generation import DecodingConfig
from hf_rare.writers.thoughts import say_markers
from tests.support.scripted import ScriptedGenerator
from tests.support.tiny import make_tokenizer

HARMONY = "<|channel|>analysis<|message|>By [1] it is 7.<|end|><|start|>assistant<|channel|>final<|message|>{answer}"


@pytest.fixture
def rows() -> Dataset:
    return Dataset.from_list([{"question": "What?", "scenario": "", "text": "It is 7.", "hard_negatives": ["No."]}])


def write(text: str) -> ScriptedGenerator:
    return ScriptedGenerator(lambda prompt, seed: text)


def test_the_channels_of_gpt_oss_are_read_and_said_once(rows, caplog):
    say_markers.cache_clear()
    distill_fn = ReasonDistiller(write(HARMONY.format(answer="The answer is 7.")), journal_dir=None)
    with caplog.at_level(logging.INFO, logger="hf_rare"):
        (row,) = distill_fn.apply(rows)
        distill_fn.apply(rows)
    assert (row["reasoning"], row["reasoning_answer"]) == ("By [1] it is 7.", "The answer is 7.")
    assert row["reasoning_status"] == "ok"
    assert [record.message for record in caplog.records if "GPT-OSS" in record.message] == [
        "Thoughts are read by the markers of GPT-OSS, which the completions have; see thought_tags."
    ]


def test_questions_are_looked_for_behind_the_thought(rows):
    text = HARMONY.format(answer='{"questions": [{"scenario": "s", "question": "What of it?"}]}')
    query_fn = QueryGenerator(write(text.replace("By [1]", '{"question": "a draft?"}')), journal_dir=None)
    (row,) = query_fn.apply(rows.select_columns(["text"]))
    assert (row["question"], row["scenario"]) == ("What of it?", "s")


def test_markers_of_an_unknown_model_are_an_error_that_names_them(rows):
    (row,) = ReasonDistiller(write("<|cot|>So 7.<|/cot|>It is 7."), journal_dir=None).apply(rows)
    assert row["reasoning_status"] == "unparsed"
    assert row["reasoning_error"].startswith("<|cot|> is left in it")


@pytest.mark.parametrize("opening", ["[THINK]", "<|channel>thought", "<|START_THINKING|>"])
def test_markers_that_are_special_tokens_stay_in_the_text(opening):
    from transformers import GenerationConfig

    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [opening]})
    config = build_generation_config(
        GenerationConfig(), DecodingConfig(max_new_tokens=50), tokenizer.eos_token_id, tokenizer.pad_token_id
    )
    decoding = Decoding(None, tokenizer, "cpu", config, [])
    ids = [tokenizer.convert_tokens_to_ids(opening), *tokenizer("the answer")["input_ids"], tokenizer.eos_token_id]
    assert decoding.read(ids, 0).text == f"{opening}the answer"
