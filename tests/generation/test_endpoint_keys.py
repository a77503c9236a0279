"""Keys of servers: where they go, and that they are in nothing that is written or shown."""

import json
import logging
import pickle
import subprocess
import sys
import traceback

import pytest

from hf_rare import EndpointError, ReasonDistiller
from hf_rare.generation.endpoints.chat import may_have_hub_token
from hf_rare.generation.endpoints.faults import Fault, Kind
from hf_rare.writers.recipe import make_recipe
from tests.support.asking import TEXT, distiller, impatient_fixture, make_rows  # noqa: F401
from tests.support.chat_server import Answer, complete, serving


def test_the_key_of_the_hub_goes_to_hugging_face_alone(rows, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    with serving(complete(TEXT)) as server:
        distiller(server).apply(rows)
        assert "authorization" not in server.requests[0].headers
    yes = [
        "https://router.huggingface.co/v1",
        "https://x.us-east-1.aws.endpoints.huggingface.cloud",
    ]
    no = [
        "http://router.huggingface.co/v1",
        "https://huggingface.co.evil.org",
        "https://a.hf.space",  # which runs anybody's code
        "https://0123456789abcdef--8000.hf.jobs/v1",
        "https://eviljhuggingface.co",
        "https://x.com",
    ]
    assert all(map(may_have_hub_token, yes))
    assert not any(map(may_have_hub_token, no))


def test_keys_are_in_nothing_that_is_written(rows, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("HF_RARE_JOURNAL", str(tmp_path / "journal"))
    caplog.set_level(logging.DEBUG)
    key = "sk-very-secret-key-0123456789"

    def script(request):
        if request.number == 0:
            return Answer({"error": {"message": f"Incorrect key {key}"}}, status=500)
        return Answer(complete(TEXT))

    with serving(script) as server:
        distill_fn = distiller(server, token=key)
        distill_fn.apply(rows)
    with serving(Answer({"error": f"Incorrect key {key}"}, status=401)) as other:
        failing = distiller(other, token=key)
        with pytest.raises(EndpointError) as caught:
            failing.apply(make_rows(9))
    journals = "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
    shown = "".join(traceback.format_exception(caught.value))
    for text in (journals, caplog.text, json.dumps(make_recipe(distill_fn)), repr(pickle.dumps(distill_fn)), shown):
        assert key not in text
    assert "***" in shown


def test_an_address_with_a_key_is_not_shown():
    with pytest.raises(EndpointError, match="cannot be reached") as caught:
        ReasonDistiller.from_endpoint("m", base_url="http://me:secret@127.0.0.1:9/v1").apply(make_rows(20))
    assert "127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_each_callable_has_the_key_that_it_was_given(rows, tmp_path, monkeypatch):
    monkeypatch.setenv("A_KEY", "third")
    with serving(complete(TEXT)) as server:
        keys = ({"token": "first"}, {"token": "second"}, {"token_variable": "A_KEY"}, {})
        asking = [distiller(server, journal_dir=tmp_path / str(i), **given) for i, given in enumerate(keys)]
        for distill_fn in asking:
            pickle.loads(pickle.dumps(distill_fn)).apply(rows.select(range(1)))
    given = [request.headers.get("authorization") for request in server.requests]
    assert given == ["bearer first", "bearer second", "bearer third", None]


def test_a_key_that_was_given_to_another_process_is_missed(tmp_path):
    distill_fn = ReasonDistiller.from_endpoint("m", base_url="http://localhost:9/v1", token="a-key", journal_dir=None)
    path = tmp_path / "pickled"
    path.write_bytes(pickle.dumps(distill_fn.generator))
    code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb')).generate(None).__next__()"
    ended = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "pass token_variable=" in ended.stderr
    assert "ConfigError" in ended.stderr


def test_a_key_at_the_end_of_what_is_shown_is_hidden_whole():
    key = "sk-very-secret-key-0123456789"
    fault = Fault(Kind.BROKEN, "HTTP 500", "x" * 290 + key)
    fault.hide(key)
    assert "sk-" not in str(fault)
