"""The continuous batching of transformers: the text of `generate`, handed over as it is finished."""

import logging

import pytest

from hf_rare import ReasonDistiller, TransformersGenerator
from hf_rare.errors import ConfigError
from hf_rare.generation.engines import continuous
from hf_rare.generation.engines.continuous import ContinuousEngine
from tests.generation.test_static import CONVERSATIONS, llama, tokenizer
from tests.generation.test_transformers import TokenList, complete
from tests.support.plain import PlainGenerator

__all__ = ["llama", "tokenizer"]  # fixtures

CONTINUOUS = {"engine": "continuous", "continuous_batching": {"page_size": 32}}


def test_the_greedy_text_is_that_of_generate_and_comes_row_by_row(llama, tokenizer):
    ends = {"eos_token_id": list(range(3, 30)), "suppress_tokens": [40, 41]}
    settings = {"max_new_tokens": 16, "generation_kwargs": ends}
    generator = TransformersGenerator(llama, tokenizer, **settings, **CONTINUOUS)
    prompts, told = generator.encoder.encode(CONVERSATIONS), TokenList()
    written = list(generator.generate(prompts, [0] * len(prompts), told))
    assert isinstance(generator.engine, ContinuousEngine)
    assert [len(completions) for completions in written] == [1] * len(prompts)
    completions = dict(completion for completions in written for completion in completions)
    expected = complete(PlainGenerator(llama, tokenizer, **settings), CONVERSATIONS)
    assert [completions[i] for i in range(len(prompts))] == expected
    assert len({completion.completion_tokens for completion in expected}) > 2
    assert sum(count for _, count in told) == sum(completion.completion_tokens for completion in expected)


def test_a_run_that_is_left_in_the_middle_stops_the_manager(llama, tokenizer):
    generator = TransformersGenerator(llama, tokenizer, max_new_tokens=16, **CONTINUOUS)
    prompts = generator.encoder.encode(CONVERSATIONS)
    written = generator.generate(prompts, [0] * len(prompts))
    assert next(written)
    written.close()
    assert complete(generator, CONVERSATIONS)  # another one can begin


def test_rows_that_do_not_fit_are_written_by_generate(llama, tokenizer, caplog):
    few = {"engine": "continuous", "continuous_batching": {"page_size": 32, "num_blocks": 2}}
    generator = TransformersGenerator(llama, tokenizer, max_new_tokens=16, **few)
    with caplog.at_level(logging.WARNING, logger="hf_rare"):
        completions = complete(generator, CONVERSATIONS[:3])
    assert completions == complete(PlainGenerator(llama, tokenizer, max_new_tokens=16), CONVERSATIONS[:3])
    assert "written again by `generate`" in caplog.text


@pytest.mark.parametrize(
    ("generation_kwargs", "reason"),
    [
        ({"temperature": 1.0}, "draws for all rows from one stream"),
        ({"stop_strings": ["a"]}, "stop_strings"),
        ({"num_beams": 2}, "beam search"),
        ({"repetition_penalty": 1.2}, "looks at the text so far"),
    ],
)
def test_what_it_cannot_do_is_refused(llama, tokenizer, generation_kwargs, reason):
    generator = TransformersGenerator(
        llama, tokenizer, max_new_tokens=4, engine="continuous", generation_kwargs=generation_kwargs
    )
    with pytest.raises(ConfigError, match=reason):
        complete(generator, CONVERSATIONS[:1])


def test_wrong_settings_are_refused(llama, tokenizer):
    with pytest.raises(ConfigError, match="engine='fast' cannot be right: expected 'auto', 'static' or 'continuous'"):
        TransformersGenerator(llama, tokenizer, engine="fast")
    generator = TransformersGenerator(
        llama, tokenizer, max_new_tokens=4, engine="continuous", continuous_batching={"pages": 3}
    )
    with pytest.raises(ConfigError, match="continuous_batching="):
        complete(generator, CONVERSATIONS[:1])


def test_the_engine_is_no_part_of_what_a_completion_depends_on(llama, tokenizer):
    identities = [
        TransformersGenerator(llama, tokenizer, max_new_tokens=4, engine=engine).identity()
        for engine in ("auto", "static", "continuous")
    ]
    assert identities[0] == identities[1] == identities[2]


@pytest.mark.slow
def test_tokens_are_told_while_rows_are_being_written(llama, tokenizer, rows, monkeypatch):
    monkeypatch.setattr(continuous, "COUNT_SECONDS", 0.01)
    settings = {"max_new_tokens": 200, "generation_kwargs": {"suppress_tokens": [tokenizer.eos_token_id]}}
    generator, told = TransformersGenerator(llama, tokenizer, **settings, **CONTINUOUS), TokenList()
    completions = complete(generator, CONVERSATIONS[:3], observer=told)
    assert len(told) > 6
    assert sum(prompt for prompt, _ in told) == sum(completion.prompt_tokens for completion in completions)
    assert sum(written for _, written in told) == 600
    assert sum(written for prompt, written in told if not prompt) > 300  # read and written are told apart
    estimate = ReasonDistiller(generator, template="plain").estimate(rows, rows=3)
    assert (estimate.completion_tokens, estimate.sample) == (200 * len(rows), 3)
    assert estimate.hours > 0


def test_a_row_that_is_put_aside_is_not_counted_twice():
    class State:
        def __init__(self, tokens):
            self.generated_tokens = [0] * tokens

        def generated_len(self):
            return len(self.generated_tokens)

    active, told = {}, TokenList()
    scheduler = type("Scheduler", (), {"active_requests": active})
    manager = type("Manager", (), {"batch_processor": None})
    counter = continuous.RequestCounter(manager, told, [10, 20])
    counter.count(None)
    manager.batch_processor = type("Processor", (), {"scheduler": scheduler})
    for tokens in (0, 1, 5, 0, 3, 7):
        active["1"] = State(tokens)
        counter.count(None)
    result = State(9)
    result.request_id = "1"
    active.clear()
    counter.count(result)
    assert told == [(20, 1), (0, 4), (0, 2), (0, 2)]
