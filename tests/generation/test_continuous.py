"""The continuous batching of transformers: the text of the other engines, handed over as it is finished."""

import logging
import subprocess
import sys
import threading

import pytest
import torch
import transformers

from hf_rare import ReasonDistiller, TransformersGenerator
from hf_rare.compat.transformers import attention_of
from hf_rare.errors import ConfigError
from hf_rare.generation.engines import continuous
from hf_rare.generation.engines.continuous import TAKE_AHEAD, ContinuousEngine
from hf_rare.generation.protocol import EncodedPrompt, Job, JobList
from tests.generation.test_static import CONVERSATIONS, MODELS, llama, make, tokenizer
from tests.generation.test_transformers import TokenList, complete, make_jobs
from tests.support.plain import PlainGenerator
from tests.support.tiny import make_model
from tests.support.waiting import wait_until

__all__ = ["llama", "tokenizer"]  # fixtures

CONTINUOUS = {"engine": "continuous", "continuous_batching": {"page_size": 32}}
SAMPLING = {"temperature": 0.95, "top_p": 0.7, "top_k": 50}


UNPAGED = {
    "GPTJ": {"n_embd": 32, "n_layer": 2, "n_head": 2, "rotary_dim": 8},
    "CodeGen": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 8},
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "Mpt": {"d_model": 32, "n_layers": 2, "n_heads": 2, "expansion_ratio": 2, "max_seq_len": 2048},
    "XGLM": {"d_model": 32, "ffn_dim": 64, "num_layers": 2, "attention_heads": 2},
    "GPTNeo": {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
}
"""Models to whose attention continuous batching gives other logits, or nothing that it takes, in some versions."""
STATE_SPACES = ("Mamba", "Lfm2", "Qwen3Next")
MAY_BE_REFUSED = {*STATE_SPACES, *UNPAGED, "GPTNeoX", "OPT"}
"""OPT and GPT-NeoX by transformers 5.24, and no longer GPT-J and CodeGen."""


def make_unpaged(name: str, tokenizer):
    torch.manual_seed(0)
    special = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(tokenizer), initializer_range=0.4, **special, **UNPAGED[name]
    )
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


def count_threads():
    return sum("_run_generation_loop" in thread.name for thread in threading.enumerate())


def test_the_greedy_text_is_that_of_generate_and_comes_row_by_row(llama, tokenizer):
    ends = {"eos_token_id": list(range(3, 30)), "suppress_tokens": [40, 41]}
    settings = {"max_new_tokens": 16, "generation_kwargs": ends}
    generator = TransformersGenerator(llama, tokenizer, **settings, **CONTINUOUS)
    jobs, told = make_jobs(generator, CONVERSATIONS), TokenList()
    written = list(generator.generate(JobList(jobs), told))
    assert isinstance(generator.engine, ContinuousEngine)
    assert [len(completions) for completions in written] == [1] * len(jobs)
    completions = dict(completion for completions in written for completion in completions)
    expected = complete(PlainGenerator(llama, tokenizer, **settings), CONVERSATIONS)
    assert [completions[job] for job in jobs] == expected
    assert len({completion.completion_tokens for completion in expected}) > 2
    assert sum(count for _, count in told) == sum(completion.completion_tokens for completion in expected)


@pytest.mark.slow
def test_sampled_texts_are_those_of_the_other_engines_whatever_the_batch_and_the_order(llama, tokenizer):
    settings = {"max_new_tokens": 16, "generation_kwargs": SAMPLING | {"min_p": 0.01}}
    expected = complete(PlainGenerator(llama, tokenizer, **settings), CONVERSATIONS)
    assert complete(TransformersGenerator(llama, tokenizer, **settings), CONVERSATIONS) == expected
    assert len({completion.text for completion in expected}) == len(expected)
    for rows in (1, 3, 1024):
        few = {"page_size": 32, "max_requests_per_batch": rows}
        generator = TransformersGenerator(llama, tokenizer, **settings, engine="continuous", continuous_batching=few)
        assert complete(generator, CONVERSATIONS) == expected
        seeds = list(range(len(CONVERSATIONS)))
        assert complete(generator, CONVERSATIONS[::-1], seeds[::-1])[::-1] == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS, *UNPAGED])
def test_every_architecture_writes_what_generate_writes_or_is_refused(name, tokenizer):
    model = make_unpaged(name, tokenizer) if name in UNPAGED else make(name, tokenizer)
    settings = {"max_new_tokens": 8, "generation_kwargs": {"temperature": 1.2}}
    expected = complete(PlainGenerator(model, tokenizer, max_batch_tokens=1, **settings), CONVERSATIONS)
    generator = TransformersGenerator(model, tokenizer, **settings, **CONTINUOUS)
    try:
        completions = complete(generator, CONVERSATIONS)
    except ConfigError as err:
        assert "engine='continuous' cannot be used" in str(err)
        assert name in MAY_BE_REFUSED
    else:
        assert completions == expected
        assert name not in STATE_SPACES


def test_a_model_that_draws_something_else_is_refused(tokenizer):
    model = make("Llama", tokenizer)  # whether it can be used is tried once for each model

    def draw_something_else(_, __, given, output):
        if any("Paged" in type(value).__name__ for value in given.values()):
            output.logits = output.logits.flip(-1)

    model.register_forward_hook(draw_something_else, with_kwargs=True)
    generator = TransformersGenerator(model, tokenizer, max_new_tokens=8, **CONTINUOUS)
    with pytest.raises(ConfigError, match=r"away from what the model's probabilities say.*Pass engine='static'"):
        complete(generator, CONVERSATIONS)


def test_the_samples_of_a_row_share_the_reading_of_their_prompt(llama, tokenizer):
    settings = {"max_new_tokens": 12, "generation_kwargs": SAMPLING}
    many = [conversation for conversation in CONVERSATIONS[:4] for _ in range(4)]
    generator, told = TransformersGenerator(llama, tokenizer, **settings, **CONTINUOUS), TokenList()
    complete(generator, CONVERSATIONS[:1])
    read = []
    hook = llama.model.embed_tokens.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].numel()))
    try:
        completions = complete(generator, many, observer=told)
    finally:
        hook.remove()
    assert completions == complete(PlainGenerator(llama, tokenizer, **settings), many)
    assert len({completion.text for completion in completions}) > 12
    prompts = sum(completion.prompt_tokens for completion in completions[::4])
    written = sum(completion.completion_tokens for completion in completions)
    # each sample reads the last token of the prompt itself, and of its own tokens all but the last
    assert sum(read) == prompts - 4 + len(many) + written - len(many)
    assert sum(prompt for prompt, _ in told) == prompts
    assert sum(written for _, written in told) == written


def test_a_prompt_of_one_token_has_samples_too(llama, tokenizer):
    settings = {"max_new_tokens": 6, "generation_kwargs": SAMPLING}
    jobs = [Job(EncodedPrompt([], "", [60]), seed) for seed in range(3)]
    texts = [
        dict(pair for written in generator.generate(JobList(jobs)) for pair in written)
        for generator in (
            TransformersGenerator(llama, tokenizer, **settings, **CONTINUOUS),
            PlainGenerator(llama, tokenizer, **settings),
        )
    ]
    assert texts[0] == texts[1]


def test_a_manager_is_made_once_and_the_caller_has_the_model_as_it_was(llama, tokenizer, monkeypatch):
    made, real = [], type(llama).init_continuous_batching
    monkeypatch.setattr(
        type(llama), "init_continuous_batching", lambda *args, **kwargs: made.append(1) or real(*args, **kwargs)
    )
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    model.set_attn_implementation("eager")
    model.train()
    before = model.generation_config
    generator = TransformersGenerator(model, tokenizer, max_new_tokens=8, **CONTINUOUS)
    expected = complete(PlainGenerator(model, tokenizer, max_new_tokens=8), CONVERSATIONS)
    for _ in range(3):
        assert complete(generator, CONVERSATIONS) == expected
        assert (model.generation_config, model.training, attention_of(model)) == (before, True, "eager")
    assert len(made) == 2  # the trial's, and the one that is kept
    with torch.inference_mode():
        assert complete(generator, CONVERSATIONS) == expected
    threads = count_threads()
    generator.engine.close()
    assert count_threads() == threads - 1
    with torch.inference_mode():  # a manager that was made in it would fail
        assert complete(generator, CONVERSATIONS[:2]) == expected[:2]
    del generator.__dict__["engine"]  # as `unload` does
    wait_until(lambda: count_threads() == threads - 1)


@pytest.mark.slow
@pytest.mark.parametrize("judge_engine", ["continuous", "static", "same"])
def test_a_judge_with_the_same_model_writes_while_rows_are_held(llama, tokenizer, judge_engine):
    settings = {"max_new_tokens": 24, "generation_kwargs": SAMPLING}
    teacher = TransformersGenerator(llama, tokenizer, **settings, **CONTINUOUS)
    judge = teacher
    if judge_engine != "same":
        judge = TransformersGenerator(llama, tokenizer, max_new_tokens=6, **CONTINUOUS | {"engine": judge_engine})
    expected = complete(teacher, CONVERSATIONS)
    verdicts = complete(judge, CONVERSATIONS[:3])
    jobs, completions = make_jobs(teacher, CONVERSATIONS), {}
    for written in teacher.generate(JobList(jobs)):
        completions.update(written)
        assert complete(judge, CONVERSATIONS[:3]) == verdicts
    assert [completions[job] for job in jobs] == expected


@pytest.mark.slow
def test_a_call_that_is_left_in_the_middle_takes_its_rows_back(llama, tokenizer):
    long = {"max_new_tokens": 400, "generation_kwargs": {"eos_token_id": list(range(3, 30)), **SAMPLING}}
    generator = TransformersGenerator(llama, tokenizer, **long, **CONTINUOUS)
    expected = complete(generator, CONVERSATIONS)
    assert len({completion.completion_tokens for completion in expected}) > 3
    jobs = [job for conversation in CONVERSATIONS for job in make_jobs(generator, [conversation] * 3)]
    for _ in range(3):
        written = generator.generate(JobList(jobs))
        assert next(written)
        written.close()
        scheduler = generator.engine.live.manager.batch_processor.scheduler
        wait_until(lambda scheduler=scheduler: not scheduler.has_pending_requests())
        assert scheduler.cache.compute_free_capacity() > 0.5
    assert complete(generator, CONVERSATIONS) == expected


@pytest.mark.slow
def test_jobs_are_taken_as_rows_begin(llama, tokenizer):
    class Counted(JobList):
        taken = 0

        def take(self, at_most):
            jobs = super().take(at_most)
            self.taken += len(jobs)
            return jobs

    many = {"page_size": 32, "max_requests_per_batch": 4, "num_blocks": 40}
    generator = TransformersGenerator(
        llama, tokenizer, max_new_tokens=8, engine="continuous", continuous_batching=many
    )
    jobs, given = Counted(make_jobs(generator, CONVERSATIONS * 8)), 0
    for written in generator.generate(jobs):
        given += len(written)
        active = len(generator.engine.live.manager.batch_processor.scheduler.active_requests)
        assert jobs.taken - given <= TAKE_AHEAD + active + 8
    assert given == len(CONVERSATIONS) * 8


def test_rows_that_do_not_fit_are_written_by_generate(llama, tokenizer, caplog):
    few = {"engine": "continuous", "continuous_batching": {"page_size": 32, "num_blocks": 2}}
    generator = TransformersGenerator(llama, tokenizer, max_new_tokens=16, **few)
    with caplog.at_level(logging.WARNING, logger="hf_rare"):
        completions = complete(generator, CONVERSATIONS[:6])
    assert completions == complete(PlainGenerator(llama, tokenizer, max_new_tokens=16), CONVERSATIONS[:6])
    assert "written again by `generate`" in caplog.text


@pytest.mark.slow
def test_rows_that_are_put_aside_for_others_draw_as_if_they_were_not(llama, tokenizer):
    settings = {"max_new_tokens": 60, "generation_kwargs": SAMPLING | {"eos_token_id": [3]}}
    crowded = {"page_size": 16, "num_blocks": 14}
    generator = TransformersGenerator(llama, tokenizer, **settings, engine="continuous", continuous_batching=crowded)
    generator.load()
    aside = []
    manager = generator.engine.open_manager(make_jobs(generator, CONVERSATIONS[:1])).manager
    offload = manager.batch_processor.offloading_manager
    real = offload.offload_requests
    offload.offload_requests = lambda: aside.append(1) or real()
    assert complete(generator, CONVERSATIONS) == complete(PlainGenerator(llama, tokenizer, **settings), CONVERSATIONS)
    assert aside


@pytest.mark.slow
def test_a_manager_that_breaks_down_loses_no_row(llama, tokenizer, monkeypatch, caplog):
    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.CRITICAL)
    generator = TransformersGenerator(llama, tokenizer, max_new_tokens=8, **CONTINUOUS)
    expected = complete(generator, CONVERSATIONS * 6)
    passes, real = [], llama.model.forward

    def forward(*args, cache=None, **kwargs):
        passes.append(cache)
        if "Paged" in type(cache).__name__ and len(passes) > 5:
            raise RuntimeError("a cosmic ray")
        return real(*args, cache=cache, **kwargs) if cache is not None else real(*args, **kwargs)

    monkeypatch.setattr(llama.model, "forward", forward)
    with caplog.at_level(logging.WARNING, logger="hf_rare"):
        completions = complete(generator, CONVERSATIONS * 6)
    assert [completion.text for completion in completions] == [completion.text for completion in expected]
    assert "`generate` writes the rest" in caplog.text
    monkeypatch.undo()
    assert complete(generator, CONVERSATIONS) == expected[: len(CONVERSATIONS)]
    assert generator.engine.live.is_usable


def test_logits_that_are_not_finite_fail_alone(llama, tokenizer):
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    poison = 77
    with torch.no_grad():
        model.model.embed_tokens.weight[poison] = float("nan")
    settings = {"max_new_tokens": 8, "generation_kwargs": {"suppress_tokens": [poison], **SAMPLING}}
    generator = TransformersGenerator(model, tokenizer, **settings, **CONTINUOUS)
    jobs = make_jobs(generator, CONVERSATIONS[:5])
    jobs[2] = Job(EncodedPrompt([], "", [60, poison, 61]), 2)
    completions = dict(pair for written in generator.generate(JobList(jobs)) for pair in written)
    assert "not finite" in completions[jobs[2]].error
    others = [completions[job] for job in jobs if job is not jobs[2]]
    kept = CONVERSATIONS[:2] + CONVERSATIONS[3:5]
    assert others == complete(PlainGenerator(model, tokenizer, **settings), kept, [0, 1, 3, 4])


def test_a_row_can_be_ended_early(llama, tokenizer):
    settings = {"max_new_tokens": 300, "generation_kwargs": {"suppress_tokens": [tokenizer.eos_token_id]}}
    generator = TransformersGenerator(llama, tokenizer, **settings, **CONTINUOUS)
    jobs = make_jobs(generator, CONVERSATIONS[:2])
    with generator.engine.open_manager(jobs).session() as session:
        session.add(jobs)
        wait_until(lambda: all(state.generated_len() > 3 for state in session.active().values()) and session.active())
        name = next(name for name, job in session.left.items() if job is jobs[0])
        assert session.end_early(name) is jobs[0]
        assert list(session.left.values()) == jobs[1:]
        result = None
        while result is None:
            result = session.poll(1.0)
        assert session.left[result.request_id] is jobs[1]
        assert len(result.generated_tokens) == 300


def test_settings_arrive(llama, tokenizer):
    settings = {
        "page_size": 16,
        "num_blocks": 50,
        "max_batch_tokens": 128,
        "max_requests_per_batch": 7,
        "allow_block_sharing": False,
        "max_memory_percent": 0.2,
        "scheduler_type": "prefill_first",
        "use_cuda_graph": False,
    }
    generator = TransformersGenerator(
        llama, tokenizer, max_new_tokens=8, engine="continuous", continuous_batching=settings
    )
    assert complete(generator, CONVERSATIONS) == complete(
        PlainGenerator(llama, tokenizer, max_new_tokens=8), CONVERSATIONS
    )
    processor = generator.engine.live.manager.batch_processor
    assert processor.cache.allow_block_sharing is False
    assert processor.cache.num_blocks >= 50
    assert processor.scheduler.max_requests_per_batch == 7
    assert type(processor.scheduler).__name__ == "PrefillFirstScheduler"
    for name in ("page_size", "max_batch_tokens", "max_memory_percent"):
        assert getattr(processor.cb_config, name) == settings[name]
    plain, gpu = generator.make_plain_engine(), {"cpu_offload_space": 0.5, "use_cuda_graph": (True, False)}
    config = continuous.make_config(plain.decoding, [], gpu, 100)
    assert (config.cpu_offload_space, config.use_cuda_graph) == (0.5, (True, False))


@pytest.mark.parametrize(
    ("generation_kwargs", "reason"),
    [
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
    with pytest.raises(ConfigError, match="engine='fast' cannot be right"):
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


LEFT = """
import sys
from hf_rare import TransformersGenerator
from tests.generation.test_transformers import make_jobs
from hf_rare.generation.protocol import JobList
from tests.support.tiny import QUESTIONS
generator = TransformersGenerator.from_pretrained(sys.argv[1], max_new_tokens=500, engine="continuous")
written = generator.generate(JobList(make_jobs(generator, QUESTIONS * 9)))
next(written)
raise KeyError("a consumer that fails")
"""


@pytest.mark.slow
def test_a_process_ends_though_rows_are_being_written(tiny):
    done = subprocess.run([sys.executable, "-c", LEFT, tiny], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "KeyError: 'a consumer that fails'"
    assert "Exception ignored" not in done.stderr


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
