"""What only a GPU can show: that all engines write the same there, and what happens where its memory ends.

`make gpu` runs this, and nothing else does: it takes the whole card. `HF_RARE_GPU_SUITE_DEVICE=cpu python -m pytest
tests/gpu` lets what has a meaning there run on the CPU, which proves these tests, and no more.
"""

import contextlib
import gc
import importlib.util
import logging
import os
import random
import subprocess
import sys
from functools import partial

import pytest
import torch
from datasets import Dataset

from hf_rare import EncodedPrompt, TransformersGenerator, VLLMGenerator
from hf_rare.generation.engines.continuous import ContinuousEngine
from hf_rare.generation.engines.plain import PlainEngine
from hf_rare.generation.engines.static import StaticEngine
from hf_rare.generation.memory import bytes_per_token
from hf_rare.generation.protocol import Job, JobList
from tests.conftest import REPOSITORY
from tests.runs.test_ranks import free_port
from tests.support.large import EIGHT_BILLION, make_plain_tokenizer
from tests.support.large import make_model as make_large_model
from tests.support.plain import PlainGenerator
from tests.support.rule_rows import write_rule_rows
from tests.support.tiny import make_model, make_tokenizer, save_tiny_model

DEVICE = os.environ.get("HF_RARE_GPU_SUITE_DEVICE", "cuda")
ON_CUDA = pytest.mark.skipif(DEVICE != "cuda", reason="memory ends in another way on a CPU")

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1200), pytest.mark.filterwarnings("default")]

WIDE = {"num_key_value_heads": 2, "head_dim": 64}
"""Heads that every attention can compute; keys and values of a token take 2 KiB."""

ENDS = {"eos_token_id": list(range(3, 30))}
KINDS = {"greedy": ENDS, "sampled": ENDS | {"temperature": 0.95, "top_p": 0.7, "top_k": 50}}
ENGINES = {"plain": PlainEngine, "static": StaticEngine, "continuous": ContinuousEngine}
SIZES = ((1, 1), (700, 5), (30_000, 1024))
"""`max_batch_tokens`, and the rows that continuous batching takes at a time."""

SMALL_CACHE = {"page_size": 32, "max_memory_percent": 0.1}
"""What continuous batching needs for a tiny model: it would take nearly all of the card."""

NEW = 24
"""`max_new_tokens`."""

MIB, GIB = 2**20, 2**30
BROKEN = ("failed", "again", "cannot begin", "broken down")
"""What is logged where memory has run out."""


@pytest.fixture(scope="module", autouse=True)
def _needs_the_device():
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device; HF_RARE_GPU_SUITE_DEVICE=cpu runs the suite on the CPU")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    return make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id, **WIDE).to(DEVICE)


@pytest.fixture(scope="module")
def prompts(tokenizer):
    return make_prompts(16, range(4, 160), len(tokenizer))


@pytest.fixture(scope="module")
def alone(model, tokenizer, prompts):
    """What `generate` writes for each row alone."""

    def write_alone(kind: str) -> list:
        return write(make_generator(model, tokenizer, "plain", kind, max_batch_tokens=1), prompts)

    return {kind: write_alone(kind) for kind in KINDS}


def make_prompts(count: int, lengths: range, vocab_size: int) -> list[EncodedPrompt]:
    dice = random.Random(0)
    sizes = [dice.choice(lengths) for _ in range(count)]
    return [EncodedPrompt([], "", [dice.randrange(30, vocab_size - 2) for _ in range(size)]) for size in sizes]


def make_generator(model, tokenizer, engine, kind, rows=1024, **settings):
    settings |= {"max_new_tokens": NEW, "generation_kwargs": KINDS[kind]}
    if engine == "plain":
        return PlainGenerator(model, tokenizer, **settings)
    if engine == "continuous":
        settings["continuous_batching"] = {"max_requests_per_batch": rows, **SMALL_CACHE}
    return TransformersGenerator(model, tokenizer, engine=engine, **settings)


def write(generator, prompts, order=1, samples=1) -> list:
    """Write each row, or several samples of each; give the completions in the order of the rows."""
    jobs = [Job(prompt, samples * row + i) for row, prompt in enumerate(prompts) for i in range(samples)]
    completions = dict(pair for written in generator.generate(JobList(jobs[::order])) for pair in written)
    assert [completion.error for completion in completions.values() if completion.finish_reason == "error"] == []
    return [completions[job] for job in jobs]


def texts(completions) -> list[str]:
    return [completion.text for completion in completions]


def close(generator) -> None:
    """Free what a manager of continuous batching holds."""
    if isinstance(generator.engine, ContinuousEngine):
        generator.engine.close()


# texts


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "reversed"])
@pytest.mark.parametrize(("tokens", "rows"), SIZES, ids=[f"{tokens} tokens" for tokens, _ in SIZES])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_writes_what_generate_writes_for_each_row_alone(
    model, tokenizer, prompts, alone, engine, kind, tokens, rows, order
):
    generator = make_generator(model, tokenizer, engine, kind, rows, max_batch_tokens=tokens)
    assert isinstance(generator.engine, ENGINES[engine])
    assert texts(write(generator, prompts, order)) == texts(alone[kind])
    close(generator)
    assert len(set(texts(alone[kind]))) > len(prompts) * 3 // 4
    assert len({completion.completion_tokens for completion in alone[kind]}) > 5


@pytest.mark.parametrize("engine", ["static", "continuous"])
def test_four_samples_of_a_row_are_those_that_generate_writes(model, tokenizer, prompts, engine):
    settings = {"max_batch_tokens": 30_000}
    expected = write(make_generator(model, tokenizer, "plain", "sampled", **settings), prompts[:8], samples=4)
    generator = make_generator(model, tokenizer, engine, "sampled", **settings)
    assert texts(write(generator, prompts[:8], samples=4)) == texts(expected)
    close(generator)
    assert len(set(texts(expected))) > 16


def test_auto_is_continuous_batching_on_a_gpu(model, tokenizer, prompts, alone):
    generator = TransformersGenerator(
        model, tokenizer, max_new_tokens=NEW, max_batch_tokens=30_000, generation_kwargs=KINDS["sampled"]
    )
    assert isinstance(generator.engine, ContinuousEngine if DEVICE == "cuda" else StaticEngine)
    assert texts(write(generator, prompts)) == texts(alone["sampled"])
    close(generator)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: hf-rare[vllm]")
def test_vllm_writes_the_same_greedily_and_draws_whatever_the_order(tmp_path, prompts, alone):
    folder = str(save_tiny_model(tmp_path, **WIDE))
    engine = {"enforce_eager": True, "gpu_memory_utilization": 0.1, "max_num_seqs": 5}
    settings = {"max_new_tokens": NEW, "context_length": 1024, "engine_kwargs": engine}

    def make(kind: str) -> VLLMGenerator:
        return VLLMGenerator.from_pretrained(folder, generation_kwargs=KINDS[kind], **settings)

    greedy, sampled = make("greedy"), make("sampled")
    try:
        assert texts(write(greedy, prompts)) == texts(alone["greedy"])
        drawn = texts(write(sampled, prompts))
        assert texts(write(sampled, prompts, order=-1)) == drawn
        assert len(set(drawn)) > len(prompts) * 3 // 4
    finally:
        greedy.unload()


# memory


def free_all() -> None:
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()


@contextlib.contextmanager
def limited_to(more: int):
    """Let this process have so many bytes more than it has."""
    free_all()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        free_all()


@ON_CUDA
@pytest.mark.parametrize("engine", ENGINES)
def test_where_memory_runs_out_fewer_rows_are_written_together_and_the_texts_are_the_same(
    model, tokenizer, caplog, engine
):
    many = make_prompts(128, range(500, 600), len(tokenizer))
    expected = write(make_generator(model, tokenizer, "plain", "sampled", max_batch_tokens=8000), many)
    generator = make_generator(model, tokenizer, engine, "sampled")
    assert texts(write(generator, many[:4])) == texts(expected[:4])  # and all that a library keeps for itself is kept
    close(generator)
    before = generator.packer.max_tokens
    assert len(many) * (500 + NEW) * bytes_per_token(model) > 128 * MIB
    with limited_to(64 * MIB), caplog.at_level(logging.WARNING, logger="hf_rare"):
        assert texts(write(generator, many)) == texts(expected)
        close(generator)
    assert "OutOfMemoryError" in caplog.text
    assert generator.packer.max_tokens < before
    assert texts(write(generator, many)) == texts(expected)  # and with all the memory again
    close(generator)


@pytest.fixture(scope="module")
def eight_billion():
    free_all()
    needed = 16 * GIB + 7 * GIB
    if (free := torch.cuda.mem_get_info()[0]) < needed:
        pytest.skip(f"{free / GIB:.1f} GiB are free, and 8 billion weights and their rows take {needed / GIB:.0f}")
    model = make_large_model(EIGHT_BILLION, "cuda")
    yield model, make_plain_tokenizer(model.config)
    del model
    free_all()


@ON_CUDA
@pytest.mark.parametrize("engine", ENGINES)
def test_by_default_rows_take_what_is_free_and_it_does_not_run_out(eight_billion, caplog, engine):
    model, tokenizer = eight_billion
    room = 6 * GIB
    settings = {"max_new_tokens": NEW, "generation_kwargs": KINDS["sampled"]}
    kind = PlainGenerator if engine == "plain" else partial(TransformersGenerator, engine=engine)
    assert isinstance(kind(model, tokenizer, **settings).engine, ENGINES[engine])  # tried with texts of 16,000 tokens
    free_all()
    others = torch.empty(torch.cuda.mem_get_info()[0] - room, dtype=torch.uint8, device="cuda")
    generator = kind(model, tokenizer, **settings)
    try:
        with caplog.at_level(logging.WARNING, logger="hf_rare"):
            taken = generator.packer.max_tokens * bytes_per_token(model)
            assert room / 2 < taken < room
            assert isinstance(generator.engine, ENGINES[engine])
            completions = write(generator, make_prompts(48, range(1000, 1900), model.config.vocab_size))
        assert len(set(texts(completions))) > 40
        assert not [word for word in BROKEN if word in caplog.text], caplog.text
    finally:
        close(generator)
        del others, generator
        free_all()


# several devices


@pytest.fixture(scope="module")
def rule_rows(tmp_path_factory) -> str:
    return write_rule_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", [1 + i % 7 for i in range(64)])


def distill(tmp_path, rows: str, name: str, *launcher: str) -> tuple[Dataset, int]:
    """Run the command line; give the dataset, and how many rows were written to the journal."""
    teacher = tmp_path / "teacher"
    if not teacher.exists():
        save_tiny_model(teacher, **WIDE)
    output, journal = tmp_path / f"{name}.parquet", tmp_path / f"{name}-journal"
    command = [sys.executable, "-m", *launcher, "hf_rare", "distill", rows, "--model", str(teacher)]
    command += ["--output", str(output), "--journal-dir", str(journal), "--max-new-tokens", "24"]
    own = {"HF_DATASETS_CACHE": str(tmp_path / name), **({"ACCELERATE_USE_CPU": "true"} if DEVICE == "cpu" else {})}
    environment = {name: value for name, value in os.environ.items() if name != "HF_RARE_JOURNAL"} | own
    run = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False
    )
    assert run.returncode == 0, run.stderr
    written = sum(path.read_text().count('{"key"') for path in journal.rglob("*.jsonl"))
    return Dataset.from_parquet(str(output)), written


def test_two_ranks_write_each_row_once_and_what_one_process_writes(tmp_path, rule_rows):
    if DEVICE == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("there is one CUDA device only")
    one, written_by_one = distill(tmp_path, rule_rows, "one")
    port = str(free_port())
    launcher = ("torch.distributed.run", "--nproc_per_node", "2", "--master_port", port, "-m")
    two, written_by_two = distill(tmp_path, rule_rows, "two", *launcher)
    assert two.to_list() == one.to_list()
    assert written_by_one == written_by_two == len(one) == 64
    assert set(one["reasoning_status"]) <= {"ok", "unparsed", "truncated"}
    assert len(set(one["reasoning"])) > 32
