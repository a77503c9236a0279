"""The engine whose rows take each other's place: the text of plain `generate`, whoever else is being written."""

import gc
import inspect
import itertools
import logging
import weakref

import pytest
import torch
import transformers

from hf_rare import TransformersGenerator
from hf_rare.compat.transformers import name_of_cache
from hf_rare.generation.caches.row import RowCache
from hf_rare.generation.caches.slot import SlotCache
from hf_rare.generation.engines.scheduler import GUESS_UP_TO, Scheduler
from hf_rare.generation.engines.static import StaticEngine
from hf_rare.generation.protocol import EncodedPrompt, Job, JobList
from tests.generation.test_transformers import TokenList, complete, make_jobs
from tests.support.plain import PlainGenerator
from tests.support.quick import mostly_slow
from tests.support.tiny import make_model, make_tokenizer

COMMON = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
HEADS = {"num_key_value_heads": 1, "head_dim": 16}
MODELS = {
    "Llama": ({}, True),
    "Qwen3": (HEADS, True),
    "Phi3": ({"num_key_value_heads": 1}, True),
    "Olmo2": ({"num_key_value_heads": 1}, True),
    "Qwen2": ({"num_attention_heads": 4, "num_key_value_heads": 2}, True),
    "GPTNeoX": ({}, True),
    "OPT": ({"ffn_dim": 64, "word_embed_proj_dim": 32}, True),
    "Mixtral": ({**HEADS, "num_local_experts": 2, "sliding_window": None}, True),
    "Mistral": ({**HEADS, "sliding_window": 8}, False),
    "Gemma3": ({**HEADS, "sliding_window": 8, "query_pre_attn_scalar": 16}, False),
    "Mamba": ({"state_size": 4}, False),
    "Lfm2": ({"num_key_value_heads": 1, "layer_types": ["conv", "full_attention"]}, False),
    "Qwen3Next": (
        {
            **HEADS,
            "layer_types": ["linear_attention", "full_attention"],
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
        },
        False,
    ),
}
CONVERSATIONS = [
    [{"role": "user", "content": "The documents say why. " * (i * i % 11) + f"What of {i}?"}] for i in range(12)
]
SMALL = {"max_batch_tokens": 900}  # a few rows at a time, so that others wait


def make(name: str, tokenizer):
    torch.manual_seed(0)
    kind = "Gemma3Text" if name == "Gemma3" else name
    config = getattr(transformers, f"{kind}Config")(
        **COMMON | MODELS[name][0],
        vocab_size=len(tokenizer),
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.4,
    )
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def llama(tokenizer):
    return make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)


@pytest.mark.parametrize("name", mostly_slow(MODELS, ["Llama", "GPTNeoX", "Mixtral", "Gemma3", "Mamba"]))
def test_the_text_is_that_of_generate_for_each_row_alone(name, tokenizer):
    model = make(name, tokenizer)
    # some tiny models write the same greedy text after any prompt
    settings = {"max_new_tokens": 12, "generation_kwargs": {} if MODELS[name][1] else {"temperature": 1.5}}
    generator = TransformersGenerator(model, tokenizer, **settings, **SMALL)
    assert getattr(generator.engine, "kind", None) == (RowCache if MODELS[name][1] else None)
    completions = complete(generator, CONVERSATIONS)
    alone = PlainGenerator(model, tokenizer, max_batch_tokens=1, **settings)
    assert completions == complete(alone, CONVERSATIONS)
    assert len({completion.text for completion in completions}) > 6


@pytest.mark.parametrize(
    "generation_kwargs",
    [
        {"repetition_penalty": 1.5},
        {"no_repeat_ngram_size": 2},
        {"min_new_tokens": 6, "eos_token_id": list(range(3, 200))},
        {"suppress_tokens": list(range(100, 200))},
        {"begin_suppress_tokens": list(range(3, 300))},
        {"bad_words_ids": [[i] for i in range(60, 90)]},
        {"forced_eos_token_id": 5},
        {"exponential_decay_length_penalty": [3, 1.5]},
        {"sequence_bias": [[[80], 3.0]]},
        {"temperature": 1.3, "min_p": 0.02, "renormalize_logits": True},
        {"temperature": 1.3, "typical_p": 0.9, "repetition_penalty": 1.2},
        {"temperature": 1.1, "top_k": 30, "top_p": 0.8, "stop_strings": ["a", "to"]},
        {"stop_strings": ["e", "What of 1?"]},
    ],
)
def test_what_changes_the_logits_or_ends_a_row_does_so_as_in_generate(llama, tokenizer, generation_kwargs):
    settings = {"max_new_tokens": 16, "generation_kwargs": generation_kwargs}
    generator = TransformersGenerator(llama, tokenizer, **SMALL, **settings)
    assert isinstance(generator.engine, StaticEngine)
    alone = PlainGenerator(llama, tokenizer, max_batch_tokens=1, **settings)
    completions = complete(generator, CONVERSATIONS)
    assert completions == complete(alone, CONVERSATIONS)
    plain = complete(TransformersGenerator(llama, tokenizer, max_new_tokens=16), CONVERSATIONS)
    assert completions != plain  # the setting did something


def test_a_row_that_has_ended_makes_room_for_the_next(llama, tokenizer):
    ends = {"eos_token_id": list(range(3, 60)), "temperature": 1.5}
    generator = TransformersGenerator(llama, tokenizer, max_new_tokens=40, generation_kwargs=ends, **SMALL)
    told, jobs = TokenList(), make_jobs(generator, CONVERSATIONS * 2)
    finished = [[job.seed for job, _ in written] for written in generator.generate(JobList(jobs), told)]
    assert sorted(seed for written in finished for seed in written) == list(range(24))
    assert len(finished) > 12  # handed over as they end
    first = set(told.batches[0])
    refilled = next(batch for batch in told.batches if set(batch) - first and set(batch) & first)
    assert refilled
    longest = max(len(job.prompt.token_ids) for job in jobs) + 40
    assert max(map(len, told.batches)) * longest <= 2 * SMALL["max_batch_tokens"]  # shorter rows need less room


def test_the_samples_of_a_prompt_are_read_once(llama, tokenizer):
    settings = {"max_new_tokens": 8, "generation_kwargs": {"temperature": 1.5}}
    generator, told = TransformersGenerator(llama, tokenizer, **settings), TokenList()
    completions = complete(generator, CONVERSATIONS[:1] * 5, observer=told)
    assert sum(prompt_tokens for prompt_tokens, _ in told) == completions[0].prompt_tokens
    assert len({completion.text for completion in completions}) == 5
    assert completions == complete(PlainGenerator(llama, tokenizer, **settings), CONVERSATIONS[:1] * 5)


@pytest.mark.parametrize("generation_kwargs", [{}, {"temperature": 0.02}, {"stop_strings": ["e"], "top_k": 2}])
@pytest.mark.parametrize("kind", [RowCache, SlotCache])
def test_either_cache_gives_the_text_of_generate(llama, tokenizer, kind, generation_kwargs):
    settings = {"max_new_tokens": 40, "generation_kwargs": generation_kwargs, **SMALL}
    generator = TransformersGenerator(llama, tokenizer, **settings)
    generator.engine = StaticEngine(generator.make_plain_engine(), kind)
    assert complete(generator, CONVERSATIONS) == complete(PlainGenerator(llama, tokenizer, **settings), CONVERSATIONS)


def test_a_row_that_repeats_itself_takes_fewer_steps_than_tokens(llama, tokenizer, monkeypatch):
    few = {"suppress_tokens": [i for i in range(len(tokenizer)) if i not in (80, 81)]}
    generator = TransformersGenerator(llama, tokenizer, max_new_tokens=60, generation_kwargs=few)
    plain = PlainGenerator(llama, tokenizer, max_new_tokens=60, generation_kwargs=few)
    alone, told, passes = complete(plain, CONVERSATIONS[:1])[0], TokenList(), []
    assert complete(generator, CONVERSATIONS[:1])[0] == alone
    spoil_forward(monkeypatch, llama, lambda input_ids, rows: passes.append((rows, input_ids.shape[1])))
    assert complete(generator, CONVERSATIONS[:1], observer=told)[0] == alone
    assert alone.completion_tokens == 60 == sum(tokens for _, tokens in told)
    assert len(passes) == len(told) < 40
    passes.clear()
    complete(generator, CONVERSATIONS * 6)
    assert {tokens - rows for rows, tokens in passes if rows >= GUESS_UP_TO} == {0}  # no room for guesses


def test_a_guess_that_spoils_its_row_is_taken_back(llama, tokenizer, monkeypatch):
    settings = {"max_new_tokens": 30, "generation_kwargs": {"suppress_tokens": list(range(82, len(tokenizer)))}}
    expected = complete(PlainGenerator(llama, tokenizer, **settings), CONVERSATIONS)
    real, spoilt = llama.forward, []

    def forward(**inputs):
        output = real(**inputs)
        rows = len(getattr(inputs[name_of_cache(llama)], "lengths", ()))
        if rows and inputs["input_ids"].shape[1] > rows:
            spoilt.append(rows)
            output.logits[:] = torch.nan
        return output

    generator = TransformersGenerator(llama, tokenizer, **settings)
    assert generator.engine.kind is RowCache  # tried before the model is spoilt
    forward.__signature__ = inspect.signature(real)
    monkeypatch.setattr(llama, "forward", forward)
    assert complete(generator, CONVERSATIONS) == expected
    assert spoilt


def spoil_forward(monkeypatch, model, spoil):
    """Call `spoil(input_ids, number of rows)` before each pass of the model."""
    real, name = model.forward, name_of_cache(model)

    def forward(**inputs):
        spoil(inputs["input_ids"], len(getattr(inputs[name], "lengths", inputs["input_ids"])))
        return real(**inputs)

    forward.__signature__ = inspect.signature(real)
    monkeypatch.setattr(model, "forward", forward)


def test_a_prompt_that_fails_fails_alone(llama, tokenizer, monkeypatch, caplog):
    generator = TransformersGenerator(llama, tokenizer, max_new_tokens=12, **SMALL)
    expected = complete(generator, CONVERSATIONS)

    def spoil(input_ids, rows):
        if "What of 7?" in " ".join(tokenizer.batch_decode(input_ids)):
            raise ValueError("poison")

    spoil_forward(monkeypatch, llama, spoil)
    with caplog.at_level(logging.WARNING, logger="hf_rare"):
        completions = complete(generator, CONVERSATIONS)
    assert completions[7].error == "ValueError: poison"
    assert [c for i, c in enumerate(completions) if i != 7] == [c for i, c in enumerate(expected) if i != 7]
    assert "poison" in caplog.text


@pytest.mark.parametrize("fitting", [1, 3])
def test_out_of_memory_makes_the_batch_smaller(llama, tokenizer, monkeypatch, fitting):
    settings = {"max_new_tokens": 12, "generation_kwargs": {"temperature": 1.3}}
    expected = complete(TransformersGenerator(llama, tokenizer, **settings), CONVERSATIONS)
    generator, sizes = TransformersGenerator(llama, tokenizer, **settings), []
    assert isinstance(generator.engine, StaticEngine)

    def spoil(input_ids, rows):
        sizes.append(rows)
        if rows > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    spoil_forward(monkeypatch, llama, spoil)
    assert complete(generator, CONVERSATIONS) == expected
    assert max(sizes) > fitting
    sizes.clear()
    assert complete(generator, CONVERSATIONS) == expected
    assert max(sizes) <= fitting + 1  # what did not fit is remembered


def test_a_failure_while_writing_is_tried_again(llama, tokenizer, monkeypatch):
    generator = TransformersGenerator(llama, tokenizer, max_new_tokens=12)
    expected = complete(generator, CONVERSATIONS)
    passes = []

    def spoil(input_ids, rows):
        passes.append(rows)
        if len(passes) == 10:
            raise RuntimeError("a cosmic ray")

    spoil_forward(monkeypatch, llama, spoil)
    assert complete(generator, CONVERSATIONS) == expected
    assert len(passes) > 20  # the rows began anew


def test_a_model_that_cannot_tell_its_rows_apart_is_found_out(tokenizer, monkeypatch, caplog):
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)  # which the verdict stays with
    real = model.forward

    def forward(input_ids, attention_mask=None, position_ids=None, **kwargs):
        return real(input_ids, **kwargs)

    forward.__signature__ = inspect.signature(real)
    monkeypatch.setattr(model, "forward", forward)
    with caplog.at_level(logging.INFO, logger="hf_rare"):
        generator = TransformersGenerator(model, tokenizer, max_new_tokens=4)
        assert not isinstance(generator.engine, StaticEngine)
    assert "logits differ" in caplog.text


@pytest.mark.parametrize(
    ("generation_kwargs", "reason"),
    [({"num_beams": 2}, "beam search"), ({"use_cache": False}, "use_cache"), ({"guidance_scale": 2.0}, "guidance")],
)
def test_what_only_generate_can_do_is_left_to_it(llama, tokenizer, caplog, generation_kwargs, reason):
    generator = TransformersGenerator(llama, tokenizer, max_new_tokens=6, generation_kwargs=generation_kwargs)
    with caplog.at_level(logging.INFO, logger="hf_rare"):
        completions = complete(generator, CONVERSATIONS[:3])
    assert f"Rows are written by `generate` in micro-batches: {reason}" in caplog.text
    assert all(completion.text for completion in completions)


@pytest.mark.parametrize("kind", [RowCache, SlotCache])
def test_keys_and_values_are_freed_without_a_garbage_collection(llama, tokenizer, kind):
    generator, made = TransformersGenerator(llama, tokenizer, max_new_tokens=6, **SMALL), []

    class Watched(kind):
        def __init__(self, layers):
            super().__init__(layers)
            made.extend(weakref.ref(part) for part in (self, *self.layers))

    generator.engine = StaticEngine(generator.make_plain_engine(), Watched)
    gc.disable()
    try:
        complete(generator, CONVERSATIONS)
        left = generator.generate(JobList(make_jobs(generator, CONVERSATIONS)))
        next(left)
        left.close()
        assert [part() for part in made] == [None] * 3  # one cache for both
        complete(generator, CONVERSATIONS)
        assert all(part() is not None for part in made[3:])  # kept for what comes next
        generator.unload()
        assert [part() for part in made] == [None] * 6
    finally:
        gc.enable()


def test_memory_that_waits_for_its_next_use_is_given_up_when_memory_runs_out(llama, tokenizer, monkeypatch):
    generator, made, passes = TransformersGenerator(llama, tokenizer, max_new_tokens=6, **SMALL), [], []

    class Watched(SlotCache):
        def __init__(self, layers):
            super().__init__(layers)
            made.append(weakref.ref(self))

    def spoil(input_ids, rows):
        passes.append(rows)
        if len(passes) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    generator.engine = StaticEngine(generator.make_plain_engine(), Watched)
    jobs = make_jobs(generator, CONVERSATIONS)
    written = generator.generate(JobList(jobs))
    next(written)
    complete(generator, CONVERSATIONS[:2])  # as a judge does while its teacher waits
    assert [cache() is not None for cache in made] == [True, True]
    spoil_forward(monkeypatch, llama, spoil)
    next(written)
    assert made[1]() is None


@pytest.mark.parametrize("is_one_call", [True, False])
def test_long_rows_behind_short_ones_take_no_more_memory_than_there_is(llama, tokenizer, is_one_call):
    budget, sizes = 4000, []
    settings = {"max_new_tokens": 8, "max_batch_tokens": budget}

    class Watched(SlotCache):
        def resize(self, slots):
            super().resize(slots)
            sizes.append((self.slots, self.room))

    short = [[{"role": "user", "content": f"What of {i}?"}] for i in range(150)]
    long = [[{"role": "user", "content": "The documents say why. " * 50 + f"What of {i}?"}] for i in range(20)]
    generator = TransformersGenerator(llama, tokenizer, **settings)
    generator.engine = StaticEngine(generator.make_plain_engine(), Watched)
    if is_one_call:
        completions = complete(generator, short + long)
    else:
        completions = complete(generator, short) + complete(generator, long)
    assert max(slots for slots, _ in sizes) > 20
    assert max(slots * room for slots, room in sizes) < 3 * budget  # short rows have slots of 64 tokens
    assert completions == complete(PlainGenerator(llama, tokenizer, **settings), short + long)


@pytest.mark.timeout(60)
def test_an_empty_prompt_fails_alone(llama, tokenizer):
    generator = TransformersGenerator(llama, tokenizer, max_new_tokens=6)
    empty = Job(EncodedPrompt([], "", []), 0)
    for jobs in ([empty, *make_jobs(generator, CONVERSATIONS[:2])], [empty]):
        completions = dict(itertools.chain(*generator.generate(JobList(jobs))))
        assert set(completions) == set(jobs)
        assert [job for job in jobs if completions[job].finish_reason == "error"] == [empty]


@pytest.mark.timeout(60)
def test_a_failure_before_any_row_is_begun_is_raised(llama, tokenizer, monkeypatch):
    def fail(self):
        raise RuntimeError("no rows")

    generator = TransformersGenerator(llama, tokenizer, max_new_tokens=6)
    monkeypatch.setattr(Scheduler, "step", fail)
    with pytest.raises(RuntimeError, match="no rows"):
        complete(generator, CONVERSATIONS)
