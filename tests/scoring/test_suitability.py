"""The measures of suitability, by hand and against a plain forward."""

import math
from functools import partial

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_rare import EvidenceMeasure
from hf_rare.scoring.suitability import (
    STEPS_BEFORE,
    LocalNaturalnessMeasure,
    RankSurprisalMeasure,
    local_naturalness,
    rank_surprisal,
    split_steps,
)
from tests.generation.test_text_tokenizer import make_family
from tests.scoring.test_evidence import render
from tests.support.distilled import distilled_rows
from tests.support.likelihood import log_probs_of, ranks_of
from tests.support.tiny import CHAT_TEMPLATE, make_model


def test_rank_surprisal_by_hand():
    assert rank_surprisal([-1.0, -3.0, -4.0], [1, 5, 250]) == (1 + 5 + 100) / 8
    assert rank_surprisal([-0.5], [3], max_rank=2) == 4.0
    assert rank_surprisal([0.0], [1]) == math.inf


def test_local_naturalness_by_hand():
    assert local_naturalness([[-1.0, -3.0], [-4.0]]) == -3.0
    assert local_naturalness([[-0.25] * 4]) == -0.25


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("One. Two! Three?", ["One.", " Two!", " Three?"]),
        ("A line\nand another\n\nand a third", ["A line", "\nand another", "\n\nand a third"]),
        ("It costs 3.5 crowns; so be it", ["It costs 3.5 crowns;", " so be it"]),
        ("\u597d\u3002\u662f", ["\u597d\u3002", "\u662f"]),
        ("End.\n", ["End.\n"]),
        ("", []),
    ],
)
def test_steps_are_sentences_and_lines(text, steps):
    assert split_steps(text) == steps


@given(st.text(alphabet="ab .\n;\u3002"))
def test_steps_joined_are_the_text_and_none_is_blank(text):
    steps = split_steps(text)
    assert "".join(steps) == text
    assert all(step.strip() for step in steps) or not text.strip()


@pytest.fixture(scope="module")
def parts(tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    return AutoModelForCausalLM.from_pretrained(tiny), partial(tokenizer.encode, add_special_tokens=False)


def test_the_ratio_is_that_of_a_plain_forward(rows, tiny, parts):
    model, tokenize = parts
    distilled = distilled_rows(rows)
    measured = RankSurprisalMeasure(tiny).apply(distilled)
    for values, ratio in zip(distilled, measured["reasoning_rank_surprisal"], strict=True):
        context, trace = tokenize(render(values)), tokenize(values["reasoning"])
        ranks = [min(rank, 100) for rank in ranks_of(model, context, trace)]
        assert ratio == pytest.approx(sum(ranks) / -float(log_probs_of(model, context, trace).sum()), rel=1e-4)


@pytest.mark.parametrize("kind", [RankSurprisalMeasure, LocalNaturalnessMeasure])
def test_the_numbers_of_a_trace_do_not_depend_on_its_siblings(kind, rows, tiny):
    row = distilled_rows(rows)[0]
    siblings = ["It is so. " * 31, "word " * 900]  # one for which documents are shortened, one that has no room
    traces = Dataset.from_list([row | {"reasoning": [row["reasoning"], *siblings]}])
    (column,) = kind.new_columns
    name = f"reasoning{column}"
    (expected,) = kind(tiny).apply(Dataset.from_list([row]))[name][:]
    (values,) = kind(tiny, context_length=620).apply(traces)[name][:]
    assert values[0] == pytest.approx(expected, rel=1e-4)
    assert values[1] is not None
    assert values[2] is None


def test_naturalness_needs_no_room_for_the_prompt(rows, tiny):
    distilled = distilled_rows(rows).select([0, 1])
    name = "reasoning_local_naturalness"
    expected = LocalNaturalnessMeasure(tiny).apply(distilled)[name][:]
    assert LocalNaturalnessMeasure(tiny, context_length=200).apply(distilled)[name][:] == pytest.approx(expected)


def test_the_naturalness_is_that_of_each_step_behind_the_few_before_it(rows, tiny, parts):
    model, tokenize = parts
    steps = [f"{'So ' * number}it is {number}." for number in range(7)]
    steps = [steps[0], *(f" {step}" for step in steps[1:])]
    row = distilled_rows(rows)[0] | {"reasoning": "".join(steps)}
    measured = LocalNaturalnessMeasure(tiny).apply(Dataset.from_list([row]))
    means = []
    for place, step in enumerate(steps):
        before = [token for one in steps[max(0, place - STEPS_BEFORE) : place] for token in tokenize(one)]
        context = [*tokenize("<|im_end|>\n<|im_start|>assistant\n"), *before]
        means.append(float(log_probs_of(model, context, tokenize(step)).mean()))
    assert measured[0]["reasoning_local_naturalness"] == pytest.approx(sum(means) / 7, rel=1e-4)


def test_a_tokenizer_that_puts_a_space_before_texts_has_none_before_traces_and_steps(rows, tmp_path):
    tokenizer = make_family("llama2")
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "pad_token": "<|im_end|>"})
    tokenizer.chat_template = CHAT_TEMPLATE
    make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    row = distilled_rows(rows)[0] | {"reasoning": "The page says so. Not all of it does. So it is."}
    whole = tokenizer(f"<think>\n{row['reasoning']}", add_special_tokens=False)["input_ids"]
    (prompt,) = EvidenceMeasure(str(tmp_path)).ask(row).prompts.values()
    context, trace = prompt.texts[0]
    assert [*context, *trace][-len(whole) + 1 :] == whole[1:]  # the first is the space that begins the text here
    (prompt,) = LocalNaturalnessMeasure(str(tmp_path)).ask(row).prompts.values()
    steps = ["".join(tokenizer.convert_ids_to_tokens(list(step))) for _, step in prompt.texts]
    assert steps == ["The▁page▁says▁so.", "▁Not▁all▁of▁it▁does.", "▁So▁it▁is."]
