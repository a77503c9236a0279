"""Evidence under a launcher and after a kill: the same numbers, each row measured once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset

from hf_rare import measure_evidence
from tests.conftest import REPOSITORY
from tests.runs.test_ranks import free_port
from tests.support.distilled import distilled_rows

SCRIPT = """
import os, signal, sys
import datasets
from hf_rare import EvidenceMeasure

rows, model, journal, output, die_after = sys.argv[1:]
datasets.disable_progress_bars()
dataset = datasets.load_dataset("json", data_files=rows, split="train")
measure = EvidenceMeasure(model, journal_dir=journal)
if int(die_after):
    measured, engine = [], measure.scorer.engine

    def dying(texts, measure_texts=engine.measure):
        measured.append(1)
        if len(measured) > int(die_after):
            os.kill(os.getpid(), signal.SIGKILL)
        return measure_texts(texts)

    engine.measure = dying
done = measure.apply(dataset, load_from_cache_file=False)
done.to_json(output + os.environ.get("RANK", "0"))
print(measure.completer.generated)
"""


@pytest.fixture
def script(rows, tiny, tmp_path):
    path = tmp_path / "rows.jsonl"
    distilled_rows(rows).to_json(path)
    return path, [SCRIPT, str(path), tiny, str(tmp_path / "journal"), str(tmp_path / "out-")]


def read(path: Path) -> list[list[float]]:
    return [json.loads(line)["reasoning_evidence"] for line in path.read_text().splitlines()]


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "ACCELERATE_USE_CPU": "true",
        "HF_DATASETS_CACHE": str(tmp_path / "datasets"),
        "PYTHONPATH": str(REPOSITORY),
    }


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_ranks_share_what_is_left(script, tiny, tmp_path):
    path, (source, *arguments) = script
    file = tmp_path / "script.py"
    file.write_text(source)
    run = [sys.executable, str(file), *arguments]
    killed = subprocess.run([*run, "2"], env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port"]
    command = [*launcher, str(free_port()), str(file), *arguments, "0"]
    shared = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert shared.returncode == 0, shared.stderr
    assert shared.stdout.split() == ["4", "4"]  # six rows, of which two are in the journal; counted for the whole job
    expected = measure_evidence(Dataset.from_json(str(path)), tiny)["reasoning_evidence"][:]
    for rank in range(2):
        assert [pytest.approx(row, abs=1e-4) for row in expected] == read(tmp_path / f"out-{rank}")
