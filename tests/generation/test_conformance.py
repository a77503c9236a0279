"""Every generator keeps to the protocol: ours with every engine, and those of the tests and the benchmarks."""

import doctest

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from benchmarks.own_cost import AtOnce
from benchmarks.skew import SleepingGenerator
from hf_rare import Completion, EncodedPrompt, Encoder, Generator, TransformersGenerator
from hf_rare.writers.recipe import make_recipe
from tests.generation.test_transformers import OtherModel
from tests.support import rank_job, ray_job
from tests.support.conformance import CHECKS, Case
from tests.support.plain import PlainGenerator
from tests.support.scripted import ScriptedGenerator
from tests.support.tiny import make_model, make_tokenizer

SAMPLED = {"generation_kwargs": {"temperature": 1.5}}
SETTINGS = {"max_new_tokens": 6, "max_batch_tokens": 200}  # a few prompts at a time
POISON = "poison"


@pytest.fixture(scope="module")
def loaded():
    """A tiny model and its tokenizer, loaded by hand."""
    tokenizer = make_tokenizer()
    return make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id), tokenizer


@pytest.fixture(scope="module")
def encoder_decoder():
    tokenizer = make_tokenizer(chat_template=None)
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(tokenizer), decoder_start_token_id=tokenizer.pad_token_id, **special, **sizes)
    return T5ForConditionalGeneration(config).eval(), tokenizer


def write(text: str, seed: int) -> str | Completion:
    return Completion("", "error", 7, 0, "it fails") if text == POISON else f"{text} {seed}"


def write_greedily(text: str, seed: int) -> str | Completion:
    return write(text, 0)


LOADED = {
    "auto": lambda get: TransformersGenerator(*get("loaded"), **SETTINGS),
    "static": lambda get: TransformersGenerator(*get("loaded"), engine="static", **SETTINGS, **SAMPLED),
    "plain": lambda get: PlainGenerator(*get("loaded"), **SETTINGS),
    "beams": lambda get: TransformersGenerator(*get("loaded"), **SETTINGS, generation_kwargs={"num_beams": 2}),
    "continuous": lambda get: TransformersGenerator(
        *get("loaded"), engine="continuous", continuous_batching={"page_size": 32}, **SETTINGS
    ),
    "encoder and decoder": lambda get: TransformersGenerator(*get("encoder_decoder"), **SETTINGS, **SAMPLED),
    "not of torch": lambda get: TransformersGenerator(OtherModel(get("loaded")[0]), get("loaded")[1], **SETTINGS),
}
LOADED_ON_USE = {
    "from_pretrained": lambda get: TransformersGenerator.from_pretrained(get("tiny"), **SETTINGS, **SAMPLED),
    "of Ray's tests": lambda get: ray_job.Logging.from_pretrained(get("tiny"), **SETTINGS),
    "failing": lambda get: ray_job.Failing.from_pretrained(get("tiny"), **SETTINGS),
    "of the tests of ranks": lambda get: rank_job.make(get("tiny"), None).generator,
}
COUNTS_OTHERS = ("beams", "encoder and decoder")
"""Other beams count as well, and the padding that a model writes itself does not."""
OTHERS = {
    "scripted": Case(lambda: ScriptedGenerator(write), is_tokenised=False, poison=EncodedPrompt([], POISON, [])),
    "scripted, greedy": Case(
        lambda: ScriptedGenerator(write_greedily, is_sampling=False),
        is_tokenised=False,
        poison=EncodedPrompt([], POISON, []),
    ),
    "sleeping": Case(SleepingGenerator, is_tokenised=False, poison=None),
}


@pytest.fixture(params=[*LOADED, *LOADED_ON_USE, "at once", *OTHERS])
def case(request, tmp_path, monkeypatch) -> Case:
    """A generator to check."""
    monkeypatch.setenv("HF_RARE_TEST_LOG", str(tmp_path / "log"))
    get, name = request.getfixturevalue, request.param
    if name in OTHERS:
        return OTHERS[name]
    if name == "at once":
        return Case(lambda: AtOnce.from_pretrained(get("tiny"), **SETTINGS), is_loaded_on_use=True, poison=None)
    make = (LOADED | LOADED_ON_USE)[name]
    return Case(lambda: make(get), is_loaded_on_use=name in LOADED_ON_USE, counts_exactly=name not in COUNTS_OTHERS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_it_keeps_to_the_protocol(case, check):
    check(case)


def test_the_example_of_the_protocol_is_all_that_a_generator_needs(rows):
    (example,) = doctest.DocTestFinder(recurse=False).find(Generator)
    names: dict = {}
    exec("".join(line.source for line in example.examples), names)
    distill_fn = names["distill_fn"]
    distilled = rows.map(distill_fn, batched=True)
    assert set(distilled["reasoning_status"]) <= {"ok", "unparsed"}
    assert "Rule 3 says" in str(distilled[3])
    assert distill_fn.estimate(rows, rows=3).rows == len(rows)
    assert make_recipe(distill_fn)["identity"] == {"model_id": "echo"}


def test_what_a_generator_lacks_is_said_when_it_is_made():
    class Half(Generator):
        is_sampling = False

    with pytest.raises(TypeError, match=r"encoder.*generate.*identity"):
        Half()


def test_an_encoder_that_knows_a_limit_must_count():
    class Limited(Encoder):
        max_prompt_tokens = 5

        def encode(self, conversations):
            return []

    for call in (lambda: Limited().count_tokens(["a"]), lambda: Limited().shorten("a", 1)):
        with pytest.raises(NotImplementedError, match="Limited knows max_prompt_tokens and must have"):
            call()
