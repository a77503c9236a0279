"""Servers that people run, on loopback, with SmolLM2: what they make of our requests, and we of their answers."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import Dataset

from hf_rare import ConfigError, EndpointError, ReasonDistiller
from hf_rare.cli.demo import find_demo_model
from hf_rare.generation.endpoints import level
from hf_rare.rows.demo import load_demo_dataset
from hf_rare.runs.journal import Journal
from hf_rare.writers.recipe import make_recipe
from tests.support import fault_job
from tests.support.chat_server import Relay, serving
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SETTINGS = {"max_new_tokens": 16, "template": "plain", "generation_kwargs": {"do_sample": False}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}, "required": ["a"]}
CONTEXT = 512
"""Tokens that llama.cpp is given."""


@contextlib.contextmanager
def running(folder: Path, *command: str) -> Iterator[str]:
    """Run a server until the tests are over; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        arguments = [sys.executable, "-m", *command, "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(arguments, stdout=log, stderr=log)
        try:
            wait_until(lambda: is_up(process, folder, port))
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


def is_up(process: subprocess.Popen, folder: Path, port: int) -> bool:
    assert process.poll() is None, (folder / "log").read_text()
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.fixture(scope="module")
def transformers_serve(smollm2, tmp_path_factory) -> Iterator[str]:
    """Address of `transformers serve`."""
    for name in ("fastapi", "uvicorn", "openai"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("transformers")
    with running(folder, "transformers.cli.transformers", "serve", smollm2, "--device", "cpu") as base_url:
        yield base_url


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory) -> Iterator[str]:
    """Address of the server of llama-cpp-python."""
    for name in ("llama_cpp", "uvicorn", "sse_starlette", "pydantic_settings"):
        pytest.importorskip(name)
    model = ["--model", str(find_demo_model()), "--model_alias", "smollm2", "--n_ctx", str(CONTEXT)]
    with running(
        tmp_path_factory.mktemp("llama"), "llama_cpp.server", *model, "--interrupt_requests", "false"
    ) as base_url:
        yield base_url


@pytest.fixture(scope="module")
def few_rows() -> Dataset:
    """Four real rows, whose documents are cut."""

    def cut(row):
        return {"text": shorten(row["text"]), "hard_negatives": [shorten(row["hard_negatives"][0])]}

    return load_demo_dataset().select(range(4)).map(cut)


def shorten(text):
    return " ".join(text.split()[:40])


@pytest.fixture(scope="module")
def in_process(smollm2, few_rows) -> Dataset:
    """What the same model writes in this process."""
    return ReasonDistiller.from_pretrained(smollm2, dtype="float32", **SETTINGS).apply(few_rows)


def ask(base_url, model_id, **settings) -> ReasonDistiller:
    return ReasonDistiller.from_endpoint(model_id, base_url=base_url, max_retries=1, **{**SETTINGS, **settings})


def row(text: str, question: str = "What does it say?") -> Dataset:
    return Dataset.from_list([{"text": text, "question": question, "scenario": "", "hard_negatives": ["No."]}])


@pytest.mark.parametrize("stream", [True, False])
def test_transformers_serve_writes_what_is_written_in_process(
    transformers_serve, smollm2, few_rows, in_process, stream
):
    with serving(Relay(transformers_serve)) as server:
        distill_fn = ask(server.base_url, smollm2, stream=stream, max_concurrency=4)
        distilled = distill_fn.apply(few_rows)
    assert distilled.to_dict() == in_process.to_dict()  # statuses and tokens too
    assert distilled.features == in_process.features
    assert set(distilled["reasoning_status"]) == {"truncated"}
    served_by = {name.removesuffix("@main"): count for name, count in make_recipe(distill_fn)["served_by"].items()}
    assert served_by == {"SmolLM2-135M-Instruct": len(few_rows)}
    asked = [request.body["messages"] for request in server.requests]
    local = ReasonDistiller.from_pretrained(smollm2, **SETTINGS).prepare(few_rows[:])
    assert sorted(map(str, asked)) == sorted(str([dict(message) for message in row.prompt.messages]) for row in local)
    assert server.most == 4


@pytest.mark.parametrize("stream", [True, False])
def test_transformers_serve_says_when_an_answer_is_whole(transformers_serve, smollm2, stream):
    rows = row("The capital of France is Paris.", "Say yes.")
    distill_fn = ask(transformers_serve, smollm2, stream=stream, max_new_tokens=100)
    local = ReasonDistiller.from_pretrained(smollm2, dtype="float32", **{**SETTINGS, "max_new_tokens": 100})
    distilled = distill_fn.apply(rows)
    assert distilled.to_dict() == local.apply(rows).to_dict()
    assert distilled["reasoning_status"][:] == ["ok"]


def test_transformers_serve_draws_the_same_for_a_seed_when_it_is_asked_for_one_row_at_a_time(
    transformers_serve, smollm2, few_rows
):
    # it samples only where the model's generation config does: SmolLM2's does not
    drawing = {"generation_config": json.dumps({"do_sample": True})}
    settings = {"generation_kwargs": {"temperature": 1.0}, "extra_body": drawing, "max_concurrency": 1}
    first, second, other = (
        ask(transformers_serve, smollm2, **settings, seed=seed).apply(few_rows)["reasoning"][:] for seed in (0, 0, 1)
    )
    assert first == second != other


def test_transformers_serve_ignores_schemas_and_that_is_said(transformers_serve, smollm2, few_rows):
    with pytest.raises(ConfigError, match="The server ignores the JSON schema"):
        ask(transformers_serve, smollm2, json_schema=SCHEMA, max_new_tokens=60).apply(few_rows)


def test_transformers_serve_refuses_other_models_and_unknown_fields(
    transformers_serve, smollm2, few_rows, monkeypatch
):
    monkeypatch.setattr(level, "FIRST_PAUSE", 0.02)
    with pytest.raises(EndpointError, match=r"requested 'other/model'.* \(there is no such model"):
        ask(transformers_serve, "other/model").apply(few_rows)
    distilled = ask(transformers_serve, smollm2, extra_body={"top_k": 5}).apply(few_rows)
    assert set(distilled["reasoning_error"]) == {"HTTP 422: Unexpected fields in the request: {'top_k'}"}


def test_tokens_are_counted_as_transformers_serve_counts_them(transformers_serve, smollm2):
    rows = row("The rule says that it is so. " * 100)
    distilled = ask(transformers_serve, smollm2, tokenizer=smollm2, context_length=300).apply(rows)
    assert distilled["reasoning_documents_truncated"][:] == [1]
    assert 270 <= distilled["reasoning_prompt_tokens"][0] <= 300 - SETTINGS["max_new_tokens"]


def test_after_a_kill_only_the_requests_in_flight_are_sent_again(context, transformers_serve, smollm2, tmp_path):
    rows = Dataset.from_list([row(f"Rule {i} says so.", f"What of {i}?")[0] for i in range(8)])
    paths = [str(tmp_path / name) for name in ("rows.jsonl", "journal", "out.jsonl")]
    rows.to_json(paths[0])
    relay = Relay(transformers_serve)
    with serving(relay) as server:
        arguments = [paths[0], smollm2, server.base_url, *paths[1:]]
        relay.limit = 5
        process = context.Process(target=fault_job.distill_from_endpoint, args=arguments, daemon=True)
        process.start()
        wait_until(lambda: len(server.requests) == 7 and count_written(tmp_path) == 5)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        relay.limit = float("inf")
        process = context.Process(target=fault_job.distill_from_endpoint, args=arguments, daemon=True)
        process.start()
        process.join()
        assert process.exitcode == 0
        prompts = [request.prompt for request in server.requests]
    assert len(prompts) == len(rows) + 2
    assert sorted(prompts[7:]) == sorted({*prompts} - {*prompts[:5]})
    assert set(Dataset.from_json(paths[2])["reasoning_status"]) == {"truncated"}


def count_written(folder: Path) -> int:
    return sum(len(Journal(path, {})) for path in folder.glob("journal/*"))


@pytest.mark.parametrize("stream", [True, False])
def test_llama_cpp_writes_traces(llama_cpp, smollm2, few_rows, in_process, stream):
    with serving(Relay(llama_cpp)) as server:
        known = {"tokenizer": smollm2} if stream else {}  # it says nothing of tokens in a stream
        distill_fn = ask(server.base_url, "smollm2", stream=stream, max_concurrency=4, **known)
        distilled = distill_fn.apply(few_rows)
    assert distilled.features == in_process.features
    for name in ("reasoning_status", "reasoning_document_order"):
        assert distilled[name][:] == in_process[name][:]
    assert all(distilled["reasoning"])
    assert distilled["reasoning_completion_tokens"][:] == [SETTINGS["max_new_tokens"]] * len(few_rows)
    for theirs, ours in zip(distilled["reasoning_prompt_tokens"], in_process["reasoning_prompt_tokens"], strict=True):
        assert abs(theirs - ours) <= 2  # where it begins a text, it adds a token
    assert make_recipe(distill_fn)["served_by"] == {"smollm2": len(few_rows)}
    assert server.most == 4


def test_llama_cpp_says_which_prompt_is_too_long(llama_cpp, few_rows):
    rows = Dataset.from_list([few_rows[0], {**few_rows[1], "text": "word " * (CONTEXT + 100)}])
    for stream in (True, False):
        distilled = ask(llama_cpp, "smollm2", stream=stream).apply(rows)
        assert distilled["reasoning_status"][:] == ["truncated", "prompt_too_long"], distilled["reasoning_error"][:]
        assert "context" in distilled["reasoning_error"][1]


def test_llama_cpp_python_refuses_schemas_and_that_is_said(llama_cpp, few_rows):
    with pytest.raises(ConfigError, match="The server refuses a JSON schema"):
        ask(llama_cpp, "smollm2", json_schema=SCHEMA, max_new_tokens=60).apply(few_rows)
