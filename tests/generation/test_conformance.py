"""Every generator keeps to the protocol: ours with every engine, at endpoints, and those of tests and benchmarks."""

import doctest
import gc
import hashlib

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from benchmarks.own_cost import AtOnce
from benchmarks.skew import SleepingGenerator
from hf_rare import (
    Completion,
    EncodedPrompt,
    Encoder,
    Generator,
    InferenceClientGenerator,
    TransformersGenerator,
)
from hf_rare.generation.protocol import JobList
from hf_rare.writers.recipe import make_recipe
from tests.generation.test_transformers import OtherModel
from tests.support import rank_job, ray_job
from tests.support.batch_server import BatchServer
from tests.support.chat_server import Answer, ChatServer, complete, stream
from tests.support.conformance import CHECKS, CONVERSATIONS, SEEDS, Case, make_jobs
from tests.support.plain import PlainGenerator
from tests.support.quick import mostly_slow
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


@pytest.fixture(scope="module")
def endpoint():
    """The address of a server of requests and batches, whose texts are made of prompt and seed."""
    with ChatServer(BatchServer(serve)) as server:
        yield server.base_url


def serve(body) -> Answer:
    text = body["messages"][-1]["content"]
    if text == POISON:
        return Answer({"error": {"message": "it fails"}}, status=400)
    words = hashlib.sha256(f"{text} {body['seed']}".encode()).hexdigest()[: 8 + len(text) % 8]
    usage = {"prompt_tokens": len(text.split()), "completion_tokens": len(words)}
    if not body.get("stream"):
        return Answer(complete(words, usage=usage))
    return stream(*words, usage=usage)


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
OWN = {"is_tokenised": False, "refuses_unencodable": False, "poison": EncodedPrompt([], POISON, [])}
OTHERS = {
    "scripted": Case(lambda: ScriptedGenerator(write), **OWN),
    "scripted, greedy": Case(lambda: ScriptedGenerator(write_greedily, is_sampling=False), **OWN),
    "sleeping": Case(SleepingGenerator, **{**OWN, "poison": None}),
}
ENDPOINTS = {
    "endpoint": {"stream": False, "max_concurrency": 32},
    "endpoint, streamed": {"stream": True, "max_concurrency": 32},
    "endpoint, batches": {"mode": "batch", "requests_per_batch": 10, "poll_seconds": 0.001},
}


NAMES = [*LOADED, *LOADED_ON_USE, "at once", *OTHERS, *ENDPOINTS]
QUICK = ("auto", "static", "from_pretrained", "endpoint", "endpoint, batches", *OTHERS)


@pytest.fixture(params=mostly_slow(NAMES, QUICK))
def case(request, tmp_path, monkeypatch) -> Case:
    """A generator to check."""
    monkeypatch.setenv("HF_RARE_TEST_LOG", str(tmp_path / "log"))
    get, name = request.getfixturevalue, request.param
    if name in OTHERS:
        return OTHERS[name]
    if name in ENDPOINTS:
        url = get("endpoint")
        return Case(
            lambda: InferenceClientGenerator.from_endpoint("m", base_url=url, **ENDPOINTS[name]),
            is_tokenised=False,
            poison=EncodedPrompt([{"role": "user", "content": POISON}], "", []),
        )
    if name == "at once":
        return Case(lambda: AtOnce.from_pretrained(get("tiny"), **SETTINGS), is_loaded_on_use=True, poison=None)
    make = (LOADED | LOADED_ON_USE)[name]
    return Case(lambda: make(get), is_loaded_on_use=name in LOADED_ON_USE, counts_exactly=name not in COUNTS_OTHERS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_it_keeps_to_the_protocol(case, check):
    check(case)


@pytest.mark.parametrize("stream_answers", [True, False])
def test_requests_that_nobody_waits_for_any_more_are_given_up(stream_answers, caplog):
    def script(request):
        return Answer("", cut="silent") if request.number % 3 else serve(request.body)

    with ChatServer(script) as server:
        settings = {"base_url": server.base_url, "stream": stream_answers, "max_concurrency": 8}
        generator = InferenceClientGenerator.from_endpoint("m", **settings)
        jobs = make_jobs(generator.encoder.encode(CONVERSATIONS) * 3, SEEDS * 3)
        left = generator.generate(JobList(jobs))
        next(left)
        left.close()  # else it would wait for the silent ones until `read_timeout`
        assert len(server.requests) < len(jobs)
    gc.collect()
    assert caplog.text == ""


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
