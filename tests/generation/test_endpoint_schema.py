"""JSON schemas behind an address: sent to servers that keep them, and asked about first."""

import json

import pytest

from hf_rare import ConfigError, EndpointError
from hf_rare.generation.endpoints import probe
from tests.support.asking import distiller, impatient_fixture  # noqa: F401
from tests.support.chat_server import Answer, complete, serving

JSON_TEXT = json.dumps({"colour": "red", "letters": 3})


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def holds(request) -> bool:
    return "response_format" in request.body


def refuse(request):
    return Answer({"error": "response_format is unknown"}, status=400) if holds(request) else Answer(complete("Red"))


def fail_with_schema(request):
    return Answer({"error": "validation error"}, status=500) if holds(request) else Answer(complete("Red"))


def think_without_schema(request):
    return Answer(complete(JSON_TEXT) if holds(request) else complete("Red", reasoning="Hm."))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (refuse, "refuses a JSON schema"),
        (fail_with_schema, "refuses a JSON schema"),
        (complete("Red has three."), "ignores the JSON schema"),
        (complete('["red"]'), "ignores the JSON schema"),
        (think_without_schema, "leaves the thought out"),
        (complete("", reasoning="Hm", finish="length"), "max_new_tokens is too low"),
    ],
)
def test_schemas_are_sent_only_to_servers_that_keep_them(script, words, rows):
    with serving(script) as server, pytest.raises(ConfigError, match=words):
        distiller(server, json_schema=SCHEMA).apply(rows)


@pytest.mark.parametrize("reasoning", [None, "Hm."])
def test_a_schema_reaches_a_server_that_keeps_it(reasoning, rows):
    answer = complete(JSON_TEXT, reasoning=reasoning)
    with serving(answer) as server:
        distiller(server, json_schema=SCHEMA).apply(rows)
        assert server.requests[-1].body["response_format"]["json_schema"]["schema"] == SCHEMA
        assert server.requests[0].body["response_format"]["json_schema"]["schema"] == probe.SCHEMA


def test_a_server_that_does_not_answer_the_first_question(rows):
    with serving(Answer("", status=500)) as server, pytest.raises(EndpointError, match="first question"):
        distiller(server, json_schema=SCHEMA).apply(rows)


def test_a_first_question_waits_for_room(rows):
    busy = Answer("", status=429, headers={"retry-after": "0.02"})
    with serving(lambda request: busy if request.number < 3 else Answer(complete(JSON_TEXT))) as server:
        distiller(server, json_schema=SCHEMA).apply(rows)
        assert len(server.requests) == 3 + 2 + len(rows)
