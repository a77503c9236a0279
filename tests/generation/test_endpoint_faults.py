"""Faults of a server: what each costs, what is tried again, and what ends a run."""

import json
import math
import random
import threading

import pytest

from hf_rare import EndpointError, ReasonDistiller
from hf_rare.generation.endpoints.faults import UNREACHABLE, Fault, Kind
from hf_rare.generation.endpoints.level import Level
from tests.support.asking import TEXT, distiller, impatient_fixture, make_rows  # noqa: F401
from tests.support.chat_server import Answer, complete, serving, stream
from tests.support.quick import mostly_slow


def test_what_the_server_says_of_a_row_is_its_status():
    def script(request):
        if "What of 1?" in request.prompt:
            return Answer({"error": {"message": "maximum context length is 10 tokens"}}, status=400)
        if "What of 2?" in request.prompt:
            return Answer({"error": {"code": "content_filter", "message": "content management policy"}}, status=400)
        if "What of 3?" in request.prompt:
            return Answer(complete("", reasoning="Because", finish="length"))
        if "What of 4?" in request.prompt:
            return Answer(complete("", finish="content_filter"))
        return Answer(complete(TEXT))

    with serving(script) as server:
        distilled = distiller(server, max_concurrency=1).apply(make_rows(6))
    assert distilled["reasoning_status"][:] == ["ok", "prompt_too_long", "failed", "truncated", "failed", "ok"]
    assert "maximum context length is 10 tokens" in distilled[1]["reasoning_error"]
    assert "the server's filter has refused it" in distilled[2]["reasoning_error"]
    assert distilled[3]["reasoning"] == "Because"
    assert distilled[4]["reasoning_error"] == "the server's filter has withheld the answer"
    assert len(server.requests) == 6


def test_rows_that_were_refused_are_asked_again_only_where_that_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_RARE_JOURNAL", str(tmp_path))
    refusal = Answer({"error": {"message": "the prompt is too long"}}, status=400)
    answers = {"now": refusal}
    with serving(
        lambda request: answers["now"] if "What of 1?" in request.prompt else Answer(complete(TEXT))
    ) as server:
        assert distiller(server).apply(make_rows(3))["reasoning_status"][:] == ["ok", "prompt_too_long", "ok"]
        answers["now"] = Answer(complete(TEXT))
        assert distiller(server).apply(make_rows(3))["reasoning_status"][1] == "prompt_too_long"
        assert len(server.requests) == 3
        assert distiller(server, retry_failed=True).apply(make_rows(3))["reasoning_status"][:] == ["ok"] * 3
        assert len(server.requests) == 4


FAULTS = {
    "429": lambda: Answer({"error": {"message": "slow down"}}, status=429),
    "429 with Retry-After": lambda: Answer("", status=429, headers={"retry-after": "0.05"}),
    "500": lambda: Answer("<html>oops</html>", status=500),
    "502": lambda: Answer("", status=502),
    "503": lambda: Answer("no", status=503),
    "529": lambda: Answer('{"type": "error"}', status=529),
    "401": lambda: Answer("who?", status=401),
    "404": lambda: Answer("where?", status=404),
    "cut before": lambda: Answer(complete(TEXT), cut="before"),
    "cut after the head": lambda: Answer(complete(TEXT), cut="head"),
    "cut within": lambda: Answer(complete(TEXT), cut="within"),
    "silence": lambda: Answer("", cut="silent"),
    "half JSON": lambda: Answer(json.dumps(complete(TEXT))[:40]),
    "HTML": lambda: Answer("<html>It works!</html>", headers={"content-type": "text/html"}),
    "a list": lambda: Answer([complete(TEXT)]),
    "a number": lambda: Answer("3"),
    "not UTF-8": lambda: Answer(b"\xff\xfe\x00"),
    "no choices": lambda: Answer(complete(TEXT) | {"choices": []}),
    "wrong types": lambda: Answer(complete(TEXT) | {"choices": {"a": [1]}, "usage": "many"}),
    "no end": lambda: Answer(complete(TEXT, finish=None)),
    "a stream without end": lambda: stream("It is", finish=None, done=False),
    "a stream of half JSON": lambda: Answer('data: {"choices": [', headers={"content-type": "text/event-stream"}),
    "an error in the stream": lambda: Answer(
        'data: {"error": {"message": "the worker has died"}}\n\n', headers={"content-type": "text/event-stream"}
    ),
    "a redirect in a circle": lambda: Answer("", status=307, headers={"location": "/v1/chat/completions"}),
    "a wrong length": lambda: Answer(complete(TEXT), headers={"content-length": "999999"}, cut="within"),
    "gzip that is none": lambda: Answer("plain", headers={"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_a_try_and_no_row(name):
    faulty = {"left": 2}

    def script(request):
        if "What of 3?" in request.prompt and faulty["left"]:
            faulty["left"] -= 1
            return FAULTS[name]()
        return Answer(complete(TEXT))

    with serving(script) as server:
        distilled = distiller(server, read_timeout=0.3, max_concurrency=4).apply(make_rows(8))
    assert set(distilled["reasoning_status"]) == {"ok"}
    assert faulty["left"] == 0


NEVER_COUNTED = ("429", "429 with Retry-After", "503", "529")


@pytest.mark.parametrize("name", mostly_slow(sorted(set(FAULTS) - set(NEVER_COUNTED)), ["a wrong length"]))
def test_a_row_that_fails_every_time_says_why(name):
    def script(request):
        return FAULTS[name]() if "What of 3?" in request.prompt else Answer(complete(TEXT), delay=0.01)

    with serving(script) as server:
        settings = {"read_timeout": 0.2, "max_concurrency": 2, "max_retries": 1}
        distilled = distiller(server, **settings).apply(make_rows(40))
    assert distilled["reasoning_status"][:] == ["ok"] * 3 + ["failed"] + ["ok"] * 36
    assert distilled[3]["reasoning_error"].endswith("(2 tries)")
    assert len(distilled[3]["reasoning_error"]) > len(" (2 tries)")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_no_row_is_lost_to_a_server_that_misbehaves_in_every_way():
    draw = random.Random(0)
    burst = threading.Event()
    named = sorted(set(FAULTS) - {"silence"})

    def script(request):
        if request.number % 400 == 50:
            burst.set()
            threading.Timer(0.15, burst.clear).start()
        if burst.is_set():
            return FAULTS[draw.choice(NEVER_COUNTED)]()
        if draw.random() < 0.15:
            return FAULTS[draw.choice(named)]() if draw.random() > 0.02 else FAULTS["silence"]()
        return (
            Answer(complete(request.prompt.split("What of ")[1].split("?")[0]))
            if draw.random() < 0.5
            else stream({"reasoning": "Because."}, request.prompt.split("What of ")[1].split("?")[0])
        )

    with serving(script) as server:
        settings = {"read_timeout": 0.5, "max_concurrency": 64, "max_retries": 12}
        distilled = distiller(server, **settings).apply(make_rows(2000))
    assert set(distilled["reasoning_status"]) == {"ok"}
    found = [row["reasoning_answer"] or row["reasoning"] for row in distilled]
    assert found == [str(i) for i in range(2000)]
    assert server.most <= 71


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer("who are you?", status=401), "token_variable"),
        (Answer({"error": {"message": "The model `m` does not exist"}}, status=404), "The model `m` does not exist"),
        (Answer({"error": {"message": "Unknown field: top_x"}}, status=400), "Unknown field: top_x"),
        (Answer("", status=503), "try later"),
        (Answer("oops", status=500), "Look whether the server is up"),
        (Answer("", status=429, headers={"retry-after": "86400"}), "asks to wait for 86400 seconds: try later"),
        (Answer("<html></html>"), "Look whether the server is up"),
    ],
)
def test_a_server_that_fails_altogether_ends_the_run_in_good_order(answer, words, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_RARE_JOURNAL", str(tmp_path))
    well = {"is": True}
    with serving(lambda request: Answer(complete(TEXT)) if well["is"] else answer) as server:
        distiller(server).apply(make_rows(5))
        well["is"] = False
        distill_fn = distiller(server, max_concurrency=4)
        with pytest.raises(EndpointError, match=words) as caught:
            distill_fn.apply(make_rows(200))
        assert "does not answer; last: " in str(caught.value)
        assert str(caught.value).endswith("This run has written nothing.")
        assert len(distill_fn.select_finished(make_rows(200))) >= 5
        asked = len(server.requests)
        assert asked < 120
        well["is"] = True
        again = distiller(server, retry_failed=True).apply(make_rows(200))
    assert set(again["reasoning_status"]) == {"ok"}
    assert len(server.requests) - asked <= 195


@pytest.mark.parametrize("places", [1, 64])
def test_the_last_rows_may_be_ones_that_the_server_fails_each_time(places, tmp_path):
    def script(request):
        is_bad = any(f"What of {i}?" in request.prompt for i in range(8, 11))
        return Answer("boom", status=500) if is_bad else Answer(complete(TEXT))

    with serving(script) as server:
        distilled = distiller(server, max_concurrency=places, journal_dir=tmp_path).apply(make_rows(11))
    assert distilled["reasoning_status"][:] == ["ok"] * 8 + ["failed"] * 3
    assert "HTTP 500: boom (6 tries)" in distilled["reasoning_error"][-1]


@pytest.mark.parametrize("status", [400, 403])
def test_a_filter_that_refuses_the_first_rows_does_not_end_the_run(status):
    refused = Answer({"error": {"message": "Flagged by moderation."}}, status=status)
    with serving(lambda request: refused if request.number < 30 else Answer(complete(TEXT))) as server:
        distilled = distiller(server, journal_dir=None).apply(make_rows(40))
        assert len(server.requests) == 40
    assert sorted(distilled["reasoning_status"]) == ["failed"] * 30 + ["ok"] * 10


def test_a_text_that_ends_with_a_call_is_not_asked_for_again():
    with serving(complete(TEXT, finish="tool_calls")) as server:
        distilled = distiller(server, journal_dir=None).apply(make_rows(1))
        assert len(server.requests) == 1
    assert "has called a tool" in distilled["reasoning_error"][0]


def test_a_server_that_is_not_there_ends_the_run(caplog):
    with serving(complete(TEXT)) as server:
        base_url = server.base_url
    with pytest.raises(EndpointError, match="cannot be reached"):
        ReasonDistiller.from_endpoint("m", base_url=base_url).apply(make_rows(20))
    first = next(record.message for record in caplog.records if "does not answer now" in record.message)
    assert "It is asked again before the run ends" in first  # said at once, and not after all pauses


def test_what_an_earlier_batch_has_written_is_said(tmp_path):
    def script(request):
        return Answer(complete(TEXT)) if len(server.requests) <= 4 else Answer("who are you?", status=401)

    with serving(script) as server:
        distill_fn = distiller(server, journal_dir=tmp_path, max_concurrency=1)
        with pytest.raises(EndpointError, match="does not answer any more") as caught:
            make_rows(12).map(distill_fn, batched=True, batch_size=4)
    assert distill_fn.completer.generated == 4
    assert str(caught.value).endswith("What was written is in the journal: run the same script again to go on.")


def test_an_outage_is_said_once_and_a_single_fault_not_at_all(caplog):
    level, broken = Level(4), Fault(Kind.BROKEN, UNREACHABLE)
    for _ in range(3):
        level.succeed()
        level.fail(broken, math.inf, 0)
    assert caplog.messages == []
    for _ in range(3):
        level.fail(broken, math.inf, 0)
    level.succeed()
    level.fail(Fault(Kind.OVERLOAD, "HTTP 429"), math.inf, 0)
    level.fail(Fault(Kind.OVERLOAD, "HTTP 429"), math.inf, 0)
    assert len(caplog.messages) == 1
