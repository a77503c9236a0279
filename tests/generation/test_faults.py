"""What goes wrong with requests: what follows from it, and the words of the server."""

import email.utils
import json

import httpx2
import pytest

from hf_rare.generation.endpoints.faults import Fault, Kind, from_answer, from_error, from_words, read_wait

ANSWERS = [
    (400, '{"error": {"message": "bad"}}', Kind.ROW, "HTTP 400: bad"),
    (422, '{"detail": [{"msg": "top_k is unknown"}]}', Kind.ROW, "top_k is unknown"),
    (400, "{\"detail\": \"Server is pinned to 'a'; requested 'b'.\"}", Kind.REFUSED, "at the name of the model"),
    (400, '{"error": {"message": "The model `b` does not exist."}}', Kind.REFUSED, "at the name of the model"),
    (401, "", Kind.REFUSED, "token_variable"),
    (402, "{}", Kind.REFUSED, "account"),
    (403, '{"error": "no"}', Kind.REFUSED, "HTTP 403: no"),
    (404, '{"detail": "Not Found"}', Kind.REFUSED, "Not Found (there is no such model"),
    (429, '{"error": {"message": "slow down"}}', Kind.OVERLOAD, "HTTP 429: slow down"),
    (503, "", Kind.OVERLOAD, "HTTP 503"),
    (529, '{"error": {"type": "overloaded_error", "message": "Overloaded"}}', Kind.OVERLOAD, "Overloaded"),
    (500, '{"error": {"message": "The engine is overloaded"}}', Kind.OVERLOAD, "overloaded"),
    (500, "<html><head><style>p{}</style></head><body><h1>Oops</h1></body></html>", Kind.BROKEN, "HTTP 500: Oops"),
    (502, "Bad gateway", Kind.BROKEN, "Bad gateway"),
    (504, "[" * 100_000, Kind.BROKEN, "HTTP 504"),
    (418, "[]", Kind.BROKEN, "HTTP 418"),
]


@pytest.mark.parametrize(("status", "body", "kind", "words"), ANSWERS)
def test_answers(status, body, kind, words):
    fault = from_answer(status, {}, body)
    assert fault.kind is kind
    assert words in str(fault)
    assert len(str(fault)) < 500


TOO_LONG = {
    "vLLM": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4000 in the "
    "messages, 1000 in the completion). Please reduce the length of the messages or completion.",
    "vLLM 0.11": "You passed 9000 input tokens and requested 4096 output tokens. However, the model's context length "
    "is only 8192 tokens, resulting in a maximum input length of 4096 tokens.",
    "SGLang": "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
    "TGI": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens "
    "and 1000 `max_new_tokens`",
    "llama.cpp": "the request exceeds the available context size, try increasing it",
    "llama-cpp-python": "Requested tokens (5000) exceed context window of 2048",
    "OpenAI": "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens. "
    "Please reduce the length of the messages.",
    "Anthropic": "prompt is too long: 209000 tokens > 200000 maximum",
}


@pytest.mark.parametrize("server", TOO_LONG)
def test_prompts_that_are_too_long_for_a_server(server):
    assert from_answer(400, {}, json.dumps({"error": {"message": TOO_LONG[server]}})).kind is Kind.TOO_LONG


def test_filters_and_other_refusals_of_a_row():
    azure = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    fault = from_answer(400, {}, json.dumps({"error": {"message": azure}}))
    assert (fault.kind, fault.name) == (Kind.ROW, "the server's filter has refused it")
    for words in (
        "max_tokens must be at least 1",
        "unknown field top_k",
        "temperature is too high",
        "not a valid model",
    ):
        assert from_answer(400, {}, words).kind is Kind.ROW


def test_a_completion_that_has_no_room_is_not_the_prompts_fault():
    words = "'max_tokens' or 'max_completion_tokens' is too large: 9000. This model's maximum context length is 8192."
    assert from_answer(400, {}, words).kind is Kind.ROW


WAITS = [
    ({}, None),
    ({"retry-after": "7"}, 7.0),
    ({"retry-after": " 1.5 "}, 1.5),
    ({"retry-after": email.utils.formatdate(1_000_030, usegmt=True)}, 30.0),
    ({"retry-after": email.utils.formatdate(999_000, usegmt=True)}, 0.0),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "-3"}, None),
    ({"retry-after": "1e9999"}, None),
    ({"retry-after": "Fri, 99 Foo 2026"}, None),
    ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
    ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s"}, 90.0),
    ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "250ms"}, 0.25),
    ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "1m"}, None),
    ({"x-ratelimit-remaining-requests": "0"}, None),
]


@pytest.mark.parametrize(("headers", "seconds"), WAITS)
def test_how_long_a_server_asks_to_wait(headers, seconds):
    assert read_wait(headers, now=1_000_000) == seconds


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (httpx2.ConnectError("refused"), "the server cannot be reached"),
        (httpx2.ConnectTimeout("slow"), "the server cannot be reached"),
        (httpx2.ReadTimeout("slow"), "the server is silent"),
        (TimeoutError(), "the server is silent"),
        (httpx2.ReadError("reset"), "the connection was cut"),
        (httpx2.RemoteProtocolError("incomplete"), "the connection was cut"),
        (ConnectionResetError(), "the connection was cut"),
        (json.JSONDecodeError("what", "{", 1), "the answer cannot be read"),
        (RecursionError("deep"), "the answer cannot be read"),
        (KeyError("x"), "the answer cannot be read"),
    ],
)
def test_errors_of_the_way(error, name):
    fault = from_error(error)
    assert (fault.kind, fault.name) == (Kind.BROKEN, name)


def test_keys_are_not_in_the_words():
    fault = from_answer(401, {}, '{"error": {"message": "Incorrect API key provided: hf_abcdefghijklmnop"}}')
    assert "hf_abcdef" not in str(fault)


def test_a_fault_stays_what_it_is():
    fault = Fault(Kind.ROW, "so")
    assert from_error(fault) is fault
    assert from_words("Rate limit reached").kind is Kind.OVERLOAD
