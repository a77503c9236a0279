"""The generator for vLLM with vLLM: the protocol, the texts of transformers, schemas, a process that dies or hangs.

They run where vLLM is installed, in an environment of its own: `python -m pytest tests/generation/test_vllm*`. On a
CPU they take half an hour, most of it to start vLLM; `VLLM_CPU_OMP_THREADS_BIND` says on which cores.
"""

import importlib.util
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.real_rows import load_rows
from hf_rare import ReasonDistiller, TransformersGenerator, VLLMGenerator
from hf_rare.errors import ConfigError, GenerationError
from hf_rare.generation.protocol import Job, JobList
from tests.support.conformance import CHECKS, Case, generate, make_jobs
from tests.support.tiny import QUESTIONS, save_tiny_model

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: hf-rare[vllm]"),
    pytest.mark.filterwarnings("default"),  # vLLM's own
    pytest.mark.timeout(1800),
    pytest.mark.slow,
]

PLACES = {"max_num_seqs": 4}
ENGINE = {"enforce_eager": True, "gpu_memory_utilization": 0.1, **PLACES}
SETTINGS = {"context_length": 2048, "engine_kwargs": ENGINE, "silence_timeout": 30}
SAMPLED = {"temperature": 1.0, "top_p": 0.9, "top_k": 40}
SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"enum": ["right", "wrong"]}, "reason": {"type": "string", "maxLength": 12}},
    "required": ["verdict", "reason"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Folder of a tiny random teacher whose heads are as wide as vLLM's attention for CPUs wants them."""
    return str(save_tiny_model(tmp_path_factory.mktemp("wide"), head_dim=64))


@pytest.fixture(scope="module", autouse=True)
def _end(wide, smollm2):
    """End what runs before the tests do, as vLLM logs its end."""
    yield
    for model, kwargs in ((wide, {}), (wide, SAMPLED), (smollm2, {})):
        (generator := make(model, generation_kwargs=kwargs)).load()  # finds the engine of the tests
        generator.unload()
        assert not generator.is_loaded


@pytest.fixture(scope="module")
def prompts(smollm2):
    """Real prompts of 8 rows."""
    encoder = VLLMGenerator.from_pretrained(smollm2).encoder
    questions = load_rows().select(range(8))["question"][:]
    return encoder.encode([[{"role": "user", "content": question}] for question in questions])


def make(model, max_new_tokens=24, **settings):
    return VLLMGenerator.from_pretrained(model, max_new_tokens=max_new_tokens, **SETTINGS, **settings)


def find_engine_process(generator):
    """Find the process in which the engine of a generator computes."""
    import psutil

    children = psutil.Process().children()
    named = [child for child in children if "EngineCore" in " ".join(child.cmdline())]
    generator.load()
    assert named, children
    return max(named, key=lambda child: child.create_time())


@pytest.mark.parametrize("kwargs", [{}, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_it_keeps_to_the_protocol(wide, check, kwargs):
    check(Case(lambda: make(wide, max_new_tokens=6, generation_kwargs=kwargs), most_in_hand=8))


def test_rows_are_drawn_from_prompts_that_are_longer_together_than_a_step(wide):
    generator = make(wide, generation_kwargs=SAMPLED)
    texts = [f"Row {i}: " + "The documents say why. " * 150 for i in range(6)]
    prompts = generator.encoder.encode([[{"role": "user", "content": text}] for text in texts])
    assert sum(len(prompt.token_ids) for prompt in prompts[: PLACES["max_num_seqs"]]) > 4096  # vLLM's, on CPUs
    completions = generate(generator, prompts, range(len(prompts)))
    assert len({completion.text for completion in completions}) == len(prompts)
    assert [generate(generator, [prompt], [i])[0] for i, prompt in enumerate(prompts)] == completions


def test_rows_that_repeat_themselves_end_where_those_of_transformers_do(wide):
    settings = {"max_new_tokens": 200, "repetition_detection": {"max_pattern_size": 60, "min_pattern_size": 1}}
    settings["repetition_detection"]["min_count"] = 2
    generator = make(wide, **settings)
    prompts = generator.encoder.encode(QUESTIONS)
    completions = generate(generator, prompts)
    ours = TransformersGenerator.from_pretrained(wide, **settings)
    assert completions == generate(ours, prompts)
    assert "repetition" in {completion.finish_reason for completion in completions}
    whole = generate(make(wide, max_new_tokens=200, repetition_detection=None), prompts)
    for completion, uncut in zip(completions, whole, strict=True):
        assert uncut.text.startswith(completion.text.rstrip("\ufffd"))
        assert (completion.completion_tokens < uncut.completion_tokens) == (completion.finish_reason == "repetition")


def test_settings_that_vllm_refuses_are_named(wide):
    with pytest.raises(ConfigError, match=r"'max_num_seq' is not known in engine_kwargs.*'max_num_seqs'"):
        VLLMGenerator.from_pretrained(wide, engine_kwargs={"max_num_seq": 4}).load()
    with pytest.raises(ConfigError, match="json_schema cannot be used"):
        make(wide, json_schema={"type": "nothing"}).load()


def test_greedy_texts_are_those_of_transformers(smollm2, prompts):
    completions = generate(make(smollm2), prompts, range(len(prompts)))
    ours = TransformersGenerator.from_pretrained(smollm2, max_new_tokens=24)
    assert completions == generate(ours, prompts, range(len(prompts)))
    assert len({completion.text for completion in completions}) == len(prompts)
    stop = completions[0].text[20:24]
    settings = {"max_new_tokens": 24, "generation_kwargs": {"stop_strings": [stop]}}
    (ended,) = generate(make(smollm2, **settings), prompts[:1])
    assert [ended] == generate(TransformersGenerator.from_pretrained(smollm2, **settings), prompts[:1])
    assert ended.finish_reason == "stop"
    assert stop in ended.text


def test_a_repetition_penalty_and_a_least_length_are_those_of_transformers(smollm2, prompts):
    settings = {"max_new_tokens": 24, "generation_kwargs": {"repetition_penalty": 1.3, "min_new_tokens": 20}}
    ours = TransformersGenerator.from_pretrained(smollm2, **settings)
    assert generate(make(smollm2, **settings), prompts[:4]) == generate(ours, prompts[:4])


def test_every_completion_is_what_the_schema_says(smollm2, prompts):
    generator = make(smollm2, max_new_tokens=60, json_schema=SCHEMA, generation_kwargs={"temperature": 1.0})
    completions = generate(generator, prompts, range(len(prompts)))
    values = [json.loads(completion.text) for completion in completions]
    assert all(set(value) == {"verdict", "reason"} and len(value["reason"]) <= 12 for value in values)
    assert all(completion.text.startswith('{"verdict": "') for completion in completions)
    assert {completion.finish_reason for completion in completions} == {"stop"}
    assert len({completion.text for completion in completions}) > len(completions) // 2
    generator.unload()  # those who draw have an engine of their own on CPUs


def test_a_distiller_writes_by_it(smollm2, rows):
    distill_fn = ReasonDistiller(make(smollm2, max_new_tokens=8))
    distilled = rows.map(distill_fn, batched=True)
    assert set(distilled["reasoning_completion_tokens"]) <= set(range(1, 9))
    assert not [error for error in distilled["reasoning_error"] if "vLLM" in error]
    assert len(set(distilled["reasoning"])) > 1


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL], ids=lambda how: how.name)
def test_where_its_process_dies_or_hangs_it_is_said_within_a_minute_and_nothing_is_lost(smollm2, prompts, how):
    generator = make(smollm2)
    whole = generate(generator, prompts, range(len(prompts)))
    jobs = make_jobs(prompts, range(len(prompts)))
    writing = generator.generate(JobList(jobs))
    kept: dict[Job, object] = dict(next(writing))

    def write_the_rest() -> None:
        for written in writing:
            kept.update(written)

    os.kill(find_engine_process(generator).pid, how)
    with ThreadPoolExecutor(1) as pool:
        rest_is_written = pool.submit(write_the_rest)
        with pytest.raises(GenerationError, match=r"(its process has died|it has given no sign of life)"):
            rest_is_written.result(timeout=60)
    assert 0 < len(kept) < len(jobs)
    assert not generator.is_loaded
    rest = [i for i, job in enumerate(jobs) if job not in kept]
    again = dict(zip(rest, generate(generator, [prompts[i] for i in rest], rest), strict=True))
    assert [kept.get(job, again.get(i)) for i, job in enumerate(jobs)] == whole
