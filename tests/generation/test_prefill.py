"""Texts that are there are measured as a plain forward measures each of them, however they are read."""

import json
import logging
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rare import TransformersGenerator
from hf_rare.compat.transformers import attention_of
from hf_rare.errors import ConfigError, GenerationError
from hf_rare.generation.attention import IN_PIECES, attend_in_pieces, register
from hf_rare.generation.engines import prefill
from hf_rare.generation.engines.prefill import Likelihood, PrefillEngine, Text, read_shared, read_whole
from hf_rare.generation.protocol import EncodedPrompt, Job, JobList
from hf_rare.generation.scorer import ScoredPrompt, TransformersScorer, make_scorer
from tests.generation.test_static import MODELS, make
from tests.generation.test_transformers import TokenList
from tests.support.likelihood import log_probs_of, ranks_of
from tests.support.scripted import ScriptedGenerator
from tests.support.tiny import make_model, make_tokenizer

WORDS = list(range(40, 400))
DOCUMENTS = [WORDS[0:30], WORDS[30:75], WORDS[80:90], WORDS[100:160]]
TRACE = WORDS[200:223]


def leave_one_out(trace=TRACE) -> list[Text]:
    """A trace behind four documents, then behind all but one of them."""
    begins, ends = WORDS[300:310], WORDS[310:330]
    kept = [DOCUMENTS, *([one for one in DOCUMENTS if one is not left_out] for left_out in DOCUMENTS)]
    return [Text((*begins, *(i for one in some for i in one), *ends), tuple(trace)) for some in kept]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def llama(tokenizer):
    return make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)


def make_engine(model, tokenizer) -> PrefillEngine:
    return PrefillEngine(TransformersGenerator(model, tokenizer).make_plain_engine())


def assert_right(model, texts, measured, tolerance=1e-4):
    assert len(measured) == len(texts)
    for text, one in zip(texts, measured, strict=True):
        expected = log_probs_of(model, text.context, text.continuation)
        assert torch.allclose(torch.tensor(one.log_probs), expected, atol=tolerance, rtol=tolerance)
        assert one.ranks == ranks_of(model, text.context, text.continuation)


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_gives_the_numbers_of_a_plain_forward(name, tokenizer, caplog):
    model = make(name, tokenizer)
    with caplog.at_level(logging.WARNING):
        engine = make_engine(model, tokenizer)
    assert bool(engine.why_whole) == (not MODELS[name][1])
    assert ("Each text is read whole" in caplog.text) == bool(engine.why_whole)
    assert_right(model, leave_one_out(), engine.measure(leave_one_out()))


@pytest.mark.parametrize("most_padding", [None, 1 / 3, 1])
@pytest.mark.parametrize("at_once", [1, 7, 64, 150, 500, 10_000])
def test_pieces_and_groups_change_no_number(at_once, most_padding, llama, tokenizer):
    decoding = TransformersGenerator(llama, tokenizer).make_plain_engine().decoding
    assert_right(llama, leave_one_out(), read_shared(decoding, leave_one_out(), at_once, most_padding=most_padding))


@pytest.mark.parametrize("at_once", [1, 7, 64, 10_000])
def test_one_text_after_the_other_changes_no_number(at_once, llama, tokenizer):
    decoding = TransformersGenerator(llama, tokenizer).make_plain_engine().decoding
    before = attention_of(llama)
    register(IN_PIECES, attend_in_pieces)
    measured = read_shared(decoding, leave_one_out(), at_once, IN_PIECES)
    assert attention_of(llama) == before
    assert_right(llama, leave_one_out(), measured)


def test_a_model_with_an_attention_of_its_own_is_read_with_it(tokenizer, caplog):
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    for layer in model.model.layers:
        layer.self_attn.forward = attend_by_itself(layer.self_attn)
    with caplog.at_level(logging.INFO):
        engine = make_engine(model, tokenizer)
    assert engine.why_whole == ""
    assert f"attention {IN_PIECES} with all of the last layer: " in caplog.text
    assert_right(model, leave_one_out(), engine.measure(leave_one_out()))


def attend_by_itself(attention):
    """Make a forward that takes no kind of attention that it does not know."""
    forward = type(attention).forward

    def attend(*args, **kwargs):
        if attention_of(attention) == IN_PIECES:
            raise NotImplementedError("it knows no such kind of attention")
        return forward(attention, *args, **kwargs)

    return attend


@pytest.mark.parametrize("name", [name for name, (_, is_shared) in MODELS.items() if is_shared])
def test_every_architecture_reads_a_group_with_holes(name, tokenizer):
    model = make(name, tokenizer)
    decoding = TransformersGenerator(model, tokenizer).make_plain_engine().decoding
    assert_right(model, leave_one_out(), read_shared(decoding, leave_one_out(), 10_000, most_padding=1))


@pytest.mark.parametrize("attention", [None, IN_PIECES])
def test_a_common_beginning_is_read_once(attention, llama, tokenizer):
    register(IN_PIECES, attend_in_pieces)
    decoding = TransformersGenerator(llama, tokenizer).make_plain_engine().decoding
    texts, read = leave_one_out(), []
    hook = llama.register_forward_pre_hook(
        lambda _, __, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    read_shared(decoding, texts, 500, attention)
    hook.remove()
    whole = len(texts[0].read)
    lengths = [sum(map(len, DOCUMENTS[place + 1 :])) + 20 + len(TRACE) - 1 for place in range(4)]
    assert whole + sum(lengths) <= sum(read) <= whole + sum(lengths) + 5 * 4  # two documents may begin with one token
    read_whole(decoding, texts[0])


def test_the_last_layer_feeds_forward_what_is_measured_alone(llama, tokenizer):
    engine, fed = make_engine(llama, tokenizer), []
    hooks = [
        layer.mlp.gate_proj.register_forward_pre_hook(lambda _, inputs: fed.append(inputs[0].shape[1]))
        for layer in (llama.model.layers[0], llama.model.layers[-1])
    ]
    measured = engine.measure(leave_one_out())
    for hook in hooks:
        hook.remove()
    assert set(fed[1::2]) == {len(TRACE)}
    assert min(fed[::2]) > len(TRACE)
    assert_right(llama, leave_one_out(), measured)
    assert not llama.model.layers[-1].mlp._forward_hooks


def test_a_model_whose_last_layer_cannot_be_cut_feeds_all(tokenizer, monkeypatch, caplog):
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)

    def fail(model, keep):
        raise TypeError("the states come by name")

    monkeypatch.setattr(prefill, "feeding_last", fail)
    with caplog.at_level(logging.INFO):
        engine = make_engine(model, tokenizer)
        assert_right(model, leave_one_out(), engine.measure(leave_one_out()))
    assert engine.why_whole == ""
    assert f"attention {IN_PIECES} with part of the last layer: " in caplog.text
    assert "the states come by name" in caplog.text
    assert f"attention {IN_PIECES} with all of the last layer" not in caplog.text


@given(
    texts=st.lists(
        st.tuples(
            st.lists(st.integers(40, 43), min_size=1, max_size=12),
            st.lists(st.integers(40, 43), min_size=1, max_size=6),
        ),
        min_size=1,
        max_size=5,
    ),
    at_once=st.integers(1, 40),
    attention=st.sampled_from([None, IN_PIECES]),
    feeds_last=st.booleans(),
)
@settings(max_examples=60)
def test_whatever_texts_have_in_common(texts, at_once, attention, feeds_last, llama, tokenizer):
    register(IN_PIECES, attend_in_pieces)
    decoding = TransformersGenerator(llama, tokenizer).make_plain_engine().decoding
    several = [Text(tuple(context), tuple(continuation)) for context, continuation in texts]
    measured = read_shared(decoding, several, at_once, attention, feeds_last)
    for text, one in zip(several, measured, strict=True):
        expected = log_probs_of(llama, text.context, text.continuation)
        assert torch.allclose(torch.tensor(one.log_probs), expected, atol=1e-4)


def test_half_precision_agrees_with_itself_read_whole(llama, tokenizer):
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id).to(torch.bfloat16)
    engine = make_engine(model, tokenizer)
    assert not engine.why_whole
    for text, one in zip(leave_one_out(), engine.measure(leave_one_out()), strict=True):
        expected = log_probs_of(model, text.context, text.continuation)
        assert abs(sum(one.log_probs) / float(expected.sum()) - 1) < 0.02


def run_out_above(model, most: int):
    """Let memory run out where more tokens are read at once."""

    def look(_, __, kwargs):
        if kwargs["input_ids"].numel() > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    return model.register_forward_pre_hook(look, with_kwargs=True)


def test_where_memory_runs_out_fewer_tokens_are_read_at_once(llama, tokenizer, caplog):
    engine = make_engine(llama, tokenizer)
    hook = run_out_above(llama, 100)
    try:
        with caplog.at_level(logging.WARNING):
            assert_right_later = engine.measure(leave_one_out())
    finally:
        hook.remove()
    assert_right(llama, leave_one_out(), assert_right_later)
    assert "Memory ran out with 512 tokens at once" in caplog.text


def test_a_text_that_fits_nowhere_fails_alone(llama, tokenizer):
    scorer = TransformersScorer(TransformersGenerator(llama, tokenizer))
    long, short = make_prompt(leave_one_out()), make_prompt([Text((50,), (60, 61))])
    scorer.load()
    assert scorer.engine.why_whole == ""
    hook = run_out_above(llama, 16)
    try:
        completions = score(scorer, [long, short])
    finally:
        hook.remove()
    assert completions[0].finish_reason == "error"
    assert completions[0].error == "out of memory with this prompt alone"
    assert len(json.loads(completions[1].text)[0]["log_probs"]) == 2


def make_prompt(texts) -> ScoredPrompt:
    return ScoredPrompt.of_texts([(text.context, text.continuation) for text in texts], "shown")


def score(scorer, prompts, observer=None):
    jobs, completions = [Job(prompt, 0) for prompt in prompts], {}
    for done in scorer.generate(JobList(jobs), observer):
        completions.update(done)
    return [completions[job] for job in jobs]


def test_the_completion_is_the_numbers_as_json(llama, tokenizer):
    scorer = TransformersScorer(TransformersGenerator(llama, tokenizer), has_ranks=True)
    observer = TokenList()
    (completion,) = score(scorer, [make_prompt(leave_one_out())], observer)
    values = json.loads(completion.text)
    assert_right(llama, leave_one_out(), [Likelihood(value["log_probs"], value["ranks"]) for value in values])
    assert completion.finish_reason == "stop"
    assert completion.completion_tokens == 5 * len(TRACE)
    assert observer == [(0, 0)], "a sign of life: nothing is generated"
    assert TransformersScorer(scorer.generator).identity() != scorer.identity()
    assert "generation_config" not in scorer.identity()


def test_what_has_no_room_and_what_is_not_finite_says_so(llama, tokenizer):
    scorer = TransformersScorer(TransformersGenerator(llama, tokenizer, max_new_tokens=8, context_length=50))
    (completion,) = score(scorer, [make_prompt(leave_one_out())])
    assert completion.failure == "prompt_too_long"
    assert "have 198 tokens, and the model has room for 50" in completion.error
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    scorer = TransformersScorer(TransformersGenerator(model, tokenizer))
    scorer.load()
    assert not scorer.engine.why_whole
    with torch.no_grad():
        model.model.embed_tokens.weight[60] = torch.nan
    first, second = score(scorer, [make_prompt([Text((50, 60), (61,))]), make_prompt([Text((50,), (61,))])])
    assert "not finite" in first.error
    assert second.finish_reason == "stop"


def test_keys_depend_on_every_token_and_on_where_the_context_ends():
    texts = {make_prompt([text]).text for text in (Text((1, 2), (3,)), Text((1,), (2, 3)), Text((1, 2), (4,)))}
    assert len(texts) == 3


def test_a_scorer_pickles_to_its_settings(tiny):
    scorer = make_scorer(tiny, True, {"dtype": "float32"})
    assert pickle.loads(pickle.dumps(scorer)).identity() == scorer.identity()
    assert not scorer.generator.is_loaded
    before = pickle.dumps(scorer)
    scorer.load()
    assert pickle.dumps(scorer) == before


def test_models_that_show_no_probabilities_are_an_error(llama, tokenizer, tiny):
    with pytest.raises(ConfigError, match="ScriptedGenerator does not say how likely a text is"):
        make_scorer(ScriptedGenerator(lambda text, seed: ""), False, {})
    with pytest.raises(ConfigError, match="dtype is for a model that is loaded by its name"):
        make_scorer(TransformersGenerator(llama, tokenizer), False, {"dtype": "float32"})
    scorer = TransformersScorer(TransformersGenerator(llama, tokenizer))
    with pytest.raises(TypeError, match="measures a ScoredPrompt"):
        score(scorer, [EncodedPrompt([], "", [1])])


def test_a_model_with_an_encoder_is_an_error(tokenizer):
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    scorer = TransformersScorer(TransformersGenerator(T5ForConditionalGeneration(config).eval(), tokenizer))
    with pytest.raises(GenerationError, match="T5ForConditionalGeneration cannot say how likely a text is"):
        score(scorer, [make_prompt(leave_one_out())])
