"""Endpoints from the command line, pipelines, launchers and cards; a run that is killed asks again for little."""

import json
import os
import signal
import subprocess
import sys

import pytest
from datasets import Dataset, load_dataset

from hf_rare import ReasonDistiller, build_card, run_pipeline
from hf_rare.cli.main import main
from hf_rare.hub.card.provenance import describe_reproduction
from hf_rare.writers.recipe import make_recipe
from tests.conftest import REPOSITORY
from tests.support.chat_server import Answer, complete, serving
from tests.support.waiting import wait_until

TEXT = "<think>Because of the rule.</think>It is so."
SCRIPT = """
import sys
from datasets import load_dataset
from hf_rare import ReasonDistiller
rows, base_url, output = sys.argv[1:]
if __name__ == "__main__":
    distill_fn = ReasonDistiller.from_endpoint("m", base_url=base_url, max_concurrency=8, stream=False)
    distill_fn.apply(load_dataset("json", data_files=rows, split="train")).to_json(output)
"""


def write_rows(path, count: int) -> str:
    rows = [
        {"text": f"Rule {i} says so.", "question": f"What of {i}?", "scenario": "", "hard_negatives": ["a", "b"]}
        for i in range(count)
    ]
    Dataset.from_list(rows).to_json(path)
    return str(path)


@pytest.fixture
def script(tmp_path) -> str:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return str(path)


def run_script(*arguments, tmp_path, launcher=(), **environment):
    paths = f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    places = {"PYTHONPATH": paths, "HF_RARE_JOURNAL": str(tmp_path / "journal"), "HF_HOME": str(tmp_path / "home")}
    return subprocess.Popen(
        [sys.executable, *launcher, *arguments],
        env={**os.environ, **places, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_line_asks_endpoints(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("A_KEY", "key-of-the-environment")
    prices = '{"prompt": 1000, "completion": 2000}'
    flags = ["--token-variable", "A_KEY", "--price-per-million", prices, "--no-stream"]
    with serving(complete(TEXT, provider="somebody")) as server:
        arguments = ["distill", write_rows(tmp_path / "rows.jsonl", 5), "--model", "m", "--base-url", server.base_url]
        assert main([*arguments, *flags, "--output", str(tmp_path / "out.jsonl")]) == 0
        assert server.requests[0].headers["authorization"] == "bearer key-of-the-environment"
        assert main(["estimate", *arguments[1:], *flags, "--rows", "2"]) == 0
    shown = capsys.readouterr().out
    assert "5 traces: 5 ok" in shown
    assert shown.count("cost 0.065") == 2  # 5 rows of 7 and 3 tokens
    recipe = json.loads((tmp_path / "out.recipe.json").read_text())
    assert recipe["served_by"] == {"served by somebody": 5}
    assert recipe["cost"] == pytest.approx(0.065)
    assert "key-of-the-environment" not in json.dumps(recipe)


def test_a_server_that_ends_leaves_the_rows_that_are_done(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_RARE_JOURNAL", str(tmp_path / "journal"))

    def script(request):
        is_gone = "What of 3?" in request.prompt
        return Answer({"error": "gone"}, status=410) if is_gone or request.number > 3 else Answer(complete(TEXT))

    with serving(script) as server:
        flags = ["--model", "m", "--base-url", server.base_url, "--max-concurrency", "1", "--max-retries", "99"]
        monkeypatch.setattr("hf_rare.generation.endpoints.level.FIRST_PAUSE", 0.01)
        monkeypatch.setattr("hf_rare.generation.endpoints.writing.LONGEST_BACK_OFF", 0.01)
        output = str(tmp_path / "out.jsonl")
        assert main(["distill", write_rows(tmp_path / "rows.jsonl", 30), *flags, "--output", output]) == 4
    shown = capsys.readouterr().out
    assert "3 rows are in" in shown
    assert "of 30: m at http" in shown
    assert "HTTP 410: gone" in shown


def test_a_pipeline_asks_endpoints(tmp_path):
    items = complete('[{"question": "What is it about?", "scenario": "At work."}]')
    Dataset.from_dict({"text": [f"Document {i} is about rule {i} of tides." for i in range(4)]}).to_json(
        tmp_path / "corpus.jsonl"
    )

    def script(request):
        return Answer(complete(TEXT) if "Document" in request.prompt and "[1]" in request.prompt else items)

    with serving(script) as server:
        sections = {
            "input": str(tmp_path / "corpus.jsonl"),
            "output": str(tmp_path / "out"),
            "model": {"model_id": "m", "base_url": server.base_url, "max_concurrency": 2},
            "questions": True,
            "negatives": {"num_negatives": 1},
            "distill": True,
            "card": True,
        }
        rows = run_pipeline(sections)
    assert len(rows) == 4
    assert server.most <= 3
    card = (tmp_path / "out" / "README.md").read_text()
    assert "127.0.0.1" not in card
    assert "served" in card


def test_a_card_says_who_has_answered_and_what_it_cost(rows):
    with serving(complete(TEXT, provider="somebody")) as server:
        prices = {"prompt": 1000, "completion": 1000}
        distill_fn = ReasonDistiller.from_endpoint("me/model", base_url=server.base_url, price_per_million=prices)
        card = str(build_card(distill_fn.apply(rows), recipe=make_recipe(distill_fn)))
    assert "served by somebody (6)" in card
    assert "0.06, by the prices that were given" in card
    assert "127.0.0.1" not in card
    steps = describe_reproduction(make_recipe(distill_fn), "recipe.json", "me/rows", "default")
    assert 'ReasonDistiller.from_recipe("me/rows", base_url="ADDRESS")' in steps
    assert "The address is in no recipe" in steps


@pytest.mark.timeout(120)
def test_a_run_that_is_killed_asks_again_for_what_was_under_way(script, tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 60), str(tmp_path / "out.jsonl")
    with serving(Answer(complete(TEXT), delay=0.05)) as server:
        process = run_script(script, rows, server.base_url, output, tmp_path=tmp_path)
        wait_until(lambda: len(server.requests) >= 25 or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        before = len(server.requests)
        again = run_script(script, rows, server.base_url, output, tmp_path=tmp_path)
        assert again.wait() == 0, again.stderr.read()
        again.stderr.close()
    assert 25 <= before < 60
    assert len(server.requests) <= 60 + 2 * 8  # those under way, and those that were answered in that moment
    written = load_dataset("json", data_files=output, split="train")
    assert set(written["reasoning_status"]) == {"ok"}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_processes_of_a_launcher_share_rows_and_requests(script, tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 60), str(tmp_path / "out.jsonl")
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d")
    launcher += ("--rdzv-endpoint", "127.0.0.1:0")
    with serving(Answer(complete(TEXT), delay=0.02)) as server:
        process = run_script(script, rows, server.base_url, output, tmp_path=tmp_path, launcher=launcher)
        assert process.wait() == 0, process.stderr.read()
        process.stderr.close()
    assert len(server.requests) == 60
    assert server.most <= 10  # 4 and one more for each
