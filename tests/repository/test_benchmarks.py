"""The benchmarks can be run: what they name is there, and ways of writing that are compared write the same."""

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import benchmarks
from benchmarks import gpu_ways
from benchmarks.browser import CHROMIUM
from benchmarks.journal_overhead import PARTS
from benchmarks.machine import run_in_process
from benchmarks.roofline import CARDS, Bound
from benchmarks.throughput import write_by_engine, write_by_hand
from benchmarks.throughput_workloads import LongTailedRows
from hf_rare.generation.memory import bytes_per_token
from tests.conftest import REPOSITORY
from tests.support.large import EIGHT_BILLION, SMALL, make_config

MODULES = sorted(path.stem for path in Path(benchmarks.__file__).parent.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_all_that_a_benchmark_imports_is_there(name):
    assert importlib.import_module(f"benchmarks.{name}").__doc__


def test_the_parts_of_the_journal_that_are_timed_are_there():
    assert len(PARTS) > 2
    assert all(name in vars(owner) for owner, name in PARTS)


def test_rows_of_the_long_tailed_workload_have_the_lengths_they_are_made_for():
    workload = LongTailedRows(argparse.Namespace(long_tailed_rows=12))
    workload.load()
    by_hand = [workload.read(ids) for ids in write_by_hand(workload, 4)]
    assert write_by_engine(workload, "static") == by_hand
    assert sum(map(int, by_hand)) == workload.count(by_hand)
    assert len(set(by_hand)) > 6


def bound_of(card: str, memory: float = 80e9) -> Bound:
    operations, bandwidth = CARDS[card]
    rates = {"memory": memory, "operations/s": operations, "bytes/s": bandwidth}
    return Bound(make_config(EIGHT_BILLION), 2, rates, prompt_tokens=2048, new_tokens=1024)


def test_the_bound_of_a_card_is_that_of_the_model_it_is_for():
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(make_config(EIGHT_BILLION), dtype=torch.bfloat16)
    bound = bound_of("H100 80GB HBM3")
    assert bound.weight_bytes == pytest.approx(2 * model.num_parameters(), rel=1e-3)
    assert bound.token_bytes == bytes_per_token(model)
    assert bound.writing(1) == pytest.approx(3350e9 / (bound.step_bytes + 2560 * bound.token_bytes))
    assert bound.writing(100) < 100 * bound.writing(1)
    assert bound.reading() == pytest.approx(989e12 / 14e9, rel=0.05)
    few, many = bound_of("L4").describe(8, 1), bound_of("L4", 24e9).describe(800, 1)
    assert (few["texts together"], many["texts together"]) == (8, bound_of("L4", 24e9).count_places())
    assert bound.describe(2, 4)["seconds"] < bound.describe(8, 1)["seconds"]  # prompts are read once


@pytest.mark.parametrize("way", ["continuous", "static", "generate"])
def test_every_way_of_writing_on_a_gpu_writes_all_texts_to_the_end(way):
    write = gpu_ways.WAYS[way](gpu_ways.Load(SMALL, "cpu", prompt_tokens=12, new_tokens=5))
    prompts = [list(range(600 + row, 612 + row)) for row in range(3)]
    for samples in (1, 2):
        written = write(prompts, samples)
        assert written.tokens == [5] * 3 * samples
        assert written.seconds > 0


@pytest.mark.slow
def test_the_benchmark_of_gpus_goes_on_where_an_engine_fails(tmp_path):
    command = ["-m", "benchmarks.gpu", "--size", "tiny", "--ways", "SGLang", "LLM.generate", "static"]
    command += ["--folder", str(tmp_path), "--sglang-python", "/not/there", "--vllm-python", "/bin/false"]
    run = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    result = json.loads((tmp_path / "gpu.json").read_text())
    for name, samples in (("1 text of each row", 1), ("4 texts of each row", 4)):
        part = result[name]
        assert "/not/there" in part["ways"]["SGLang"]["failed"]
        assert part["ways"]["LLM.generate"]["failed"] == "exit status 1"
        assert part["rows"] * samples == part["ways"]["static"]["texts"] == 16
        assert 0 < part["ways"]["static"]["bound / seconds"] < 1
        assert f"| {name} | static | {part['ways']['static']['rows/s']} |" in run.stdout


@pytest.mark.slow
def test_the_suite_for_gpus_runs_on_a_cpu():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/gpu",
        "-k",
        "700 or samples or auto",
    ]
    environment = os.environ | {"HF_RARE_GPU_SUITE_DEVICE": "cpu"}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "15 passed" in run.stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_report_is_measured_in_a_browser(tmp_path):
    command = [sys.executable, "-m", "benchmarks.report", "--rows", "60", "--opened", "1", "--folder", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True)
    result = json.loads((tmp_path / "report.json").read_text())
    assert result["rows in the page"] == 60
    assert 0 < result["page, MB"] < 1
    assert result["all texts unpacked, ms"] >= result["list can be used, ms"] > 0


@pytest.mark.slow
def test_what_a_benchmark_costs_beside_the_model_is_measured(smollm2):
    result = run_in_process("own_cost", "--model", smollm2, "--rows", 64)
    assert set(result) == {
        "rows a second", "rows a second, tokenizer alone", "tokens of a prompt", "memory, MB",
    }  # fmt: skip
    assert 800 < result["tokens of a prompt"] < 1600
    assert 100 < result["memory, MB"] < 5000
    with pytest.raises(RuntimeError, match="missing"):
        run_in_process("own_cost", "--model", "missing", "--rows", 64)
