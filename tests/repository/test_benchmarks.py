"""The benchmarks can be run: what they name is there, and ways of writing that are compared write the same."""

import argparse
import importlib
from pathlib import Path

import pytest

import benchmarks
from benchmarks.journal_overhead import PARTS
from benchmarks.machine import run_in_process
from benchmarks.throughput import write_by_engine, write_by_hand
from benchmarks.throughput_workloads import LongTailedRows

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
