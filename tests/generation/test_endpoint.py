"""A model behind an address: requests, what comes back, faults, and how many are under way."""

import asyncio
import contextlib
import json
import logging
import pickle
import random
import subprocess
import sys
import threading
import traceback

import pytest
from datasets import Dataset

from hf_rare import (
    BudgetReachedError,
    ConfigError,
    EndpointError,
    InferenceClientGenerator,
    QueryGenerator,
    ReasonDistiller,
    RecipeError,
    read_recipe,
)
from hf_rare.generation.endpoints import level, probe, writing
from hf_rare.generation.endpoints.chat import may_have_hub_token
from hf_rare.generation.endpoints.faults import Fault, Kind
from hf_rare.generation.endpoints.level import Level
from hf_rare.writers.recipe import make_recipe
from tests.support.chat_server import Answer, complete, serving, stream
from tests.support.quick import mostly_slow

TEXT = "<think>Because of the rule.</think>It is so."


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Wait for hundredths of what servers are given in earnest."""
    monkeypatch.setattr(level, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(level, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(probe, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(writing, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(writing, "LONGEST_BACK_OFF", 0.05)


def make_rows(count: int) -> Dataset:
    return Dataset.from_list(
        [
            {"text": f"Rule {i} says so.", "question": f"What of {i}?", "scenario": "", "hard_negatives": ["a", "b"]}
            for i in range(count)
        ]
    )


def distiller(server, **settings) -> ReasonDistiller:
    return ReasonDistiller.from_endpoint("m", base_url=server.base_url, max_new_tokens=50, **settings)


def test_a_request_has_what_the_settings_say(rows):
    kwargs = {"temperature": 0.6, "top_p": 0.9, "stop_strings": "END"}
    with serving(complete(TEXT)) as server:
        distill_fn = distiller(
            server, token="a-key", generation_kwargs=kwargs, extra_body={"top_k": 20}, stream=False, num_samples=2
        )
        distilled = distill_fn.apply(rows.select(range(1)))
    assert distilled[0]["reasoning"] == ["Because of the rule."] * 2
    assert distilled[0]["reasoning_prompt_tokens"] == 7
    first, second = (request.body for request in server.requests)
    seeds = {first.pop("seed"), second.pop("seed")}
    assert len(seeds) == 2
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert first == second
    messages = first.pop("messages")
    assert messages[-1]["role"] == "user"
    assert rows[0]["question"] in messages[-1]["content"]
    assert first == {
        "model": "m", "max_tokens": 50, "temperature": 0.6, "top_p": 0.9, "stop": ["END"], "top_k": 20, "stream": False
    }  # fmt: skip
    assert server.requests[0].path == "/v1/chat/completions"
    assert server.requests[0].headers["authorization"] == "bearer a-key"


def test_prompts_are_those_of_other_generators(rows, tiny):
    local = ReasonDistiller.from_pretrained(tiny, max_new_tokens=5)
    with serving(complete(TEXT)) as server:
        remote = distiller(server)
        ours, theirs = ([row.prompt.messages for row in one.prepare(rows[:])] for one in (local, remote))
    assert ours == theirs


def test_answers_that_stream_are_read_and_counted(rows):
    answer = stream({"reasoning": "Because of "}, {"reasoning": "the rule."}, "It is so.")
    with serving(answer) as server:
        distilled = distiller(server).apply(rows)
    assert set(distilled["reasoning"]) == {"Because of the rule."}
    assert set(distilled["reasoning_answer"]) == {"It is so."}
    assert set(distilled["reasoning_completion_tokens"]) == {3}
    assert server.requests[0].body["stream_options"] == {"include_usage": True}


def test_tokens_are_counted_where_a_stream_does_not_say_how_many(rows, tiny):
    answer = stream("It ", "is ", "so.")
    answer.body = "".join(line for line in answer.body.splitlines(True) if "usage" not in line)
    with serving(answer) as server:
        distilled = distiller(server, tokenizer=tiny).apply(rows)
    assert set(distilled["reasoning_completion_tokens"]) == {3}
    assert all(distilled["reasoning_prompt_tokens"])


@pytest.mark.parametrize("cut", ["", "role", "before", "head"])
def test_a_stream_without_a_word_is_asked_for_its_reason(cut):
    def script(request):
        if request.body["stream"]:
            begun = Answer('data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n' if cut == "role" else " ")
            begun.headers = {"content-type": "text/event-stream"}
            begun.cut = cut if cut != "role" else ""
            return begun
        return Answer({"error": {"message": "maximum context length is 10 tokens"}}, status=400)

    with serving(script) as server:
        distilled = distiller(server).apply(make_rows(1))
        assert distilled["reasoning_status"][:] == ["prompt_too_long"]
        assert len(server.requests) == 2


def test_streams_that_have_ended_leave_nothing_behind(rows, caplog):
    with serving(stream("It is so.")) as server:
        for _ in range(20):
            distiller(server, journal_dir=None).apply(rows.select(range(2)))
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_server_that_cannot_stream_is_read_too(rows):
    with serving(complete(TEXT)) as server:
        assert set(distiller(server, stream=True).apply(rows)["reasoning_status"]) == {"ok"}


def test_the_same_in_a_running_loop_in_a_thread_and_in_workers(rows, monkeypatch, tmp_path):
    monkeypatch.setenv("A_KEY", "from-the-environment")

    async def within():
        return distiller(server).apply(rows)

    with serving(complete(TEXT)) as server:
        expected = distiller(server).apply(rows)["reasoning"][:]
        assert asyncio.run(within())["reasoning"][:] == expected
        found = []
        thread = threading.Thread(target=lambda: found.append(distiller(server).apply(rows)["reasoning"][:]))
        thread.start()
        thread.join()
        assert found == [expected]
        before = len(server.requests)
        with_key = distiller(server, token_variable="A_KEY", journal_dir=tmp_path)
        assert with_key.apply(rows, num_proc=2)["reasoning"][:] == expected
        assert {r.headers["authorization"] for r in server.requests[before:]} == {"bearer from-the-environment"}


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


BAD = {
    "no address": ({}, "Neither base_url nor provider"),
    "two": ({"base_url": "http://x/v1", "provider": "auto"}, "Both base_url and provider"),
    "no address at all": ({"base_url": "localhost:8000"}, "an address that begins with http://"),
    "no prices": ({"base_url": "http://x", "max_cost": 1}, "max_cost=1 bounds nothing without prices"),
    "top_k": ({"base_url": "http://x", "generation_kwargs": {"top_k": 5}}, "extra_body={'top_k': 5}"),
    "engine": ({"base_url": "http://x", "engine": "static"}, "the server writes"),
    "template": ({"base_url": "http://x", "chat_template_kwargs": {"a": 1}}, "extra_body"),
    "loops": ({"base_url": "http://x", "repetition_detection": {"min_count": 9}}, "repetition_detection"),
    "own field": ({"base_url": "http://x", "extra_body": {"temperature": 1}}, "generation_kwargs"),
    "prices": ({"base_url": "http://x", "price_per_million": {"prompt": 1}}, "price_per_million"),
    "negative": ({"base_url": "http://x", "price_per_million": {"prompt": 1, "completion": -1}}, "price_per_million"),
    "batch": ({"provider": "auto", "mode": "batch"}, "base_url"),
    "unknown": ({"base_url": "http://x", "bse_url": "y"}, "bse_url"),
    "dtype": ({"base_url": "http://x", "dtype": "float32"}, "dtype"),
}


@pytest.mark.parametrize("name", BAD)
def test_settings_that_cannot_be_right(name):
    settings, words = BAD[name]
    with pytest.raises(ConfigError, match=words.replace("{", r"\{").replace("(", r"\(")):
        ReasonDistiller.from_endpoint("m", **settings)


def test_settings_of_endpoints_need_one_and_those_of_models_none(tiny):
    with pytest.raises(ConfigError, match="max_concurrency=3 is a setting of endpoints"):
        ReasonDistiller.from_pretrained(tiny, max_concurrency=3)
    with pytest.raises(ConfigError, match="dtype='float32' is a setting of local models"):
        ReasonDistiller.from_pretrained("m", base_url="http://x", dtype="float32")
    assert isinstance(ReasonDistiller.from_pretrained("m", provider="auto").generator, InferenceClientGenerator)


def test_a_variable_that_is_not_set_is_said(rows):
    with serving(complete(TEXT)) as server, pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        distiller(server, token_variable="NO_SUCH_KEY").apply(rows)


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
        assert "run the same script again" in str(caught.value)
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


def test_tokens_that_are_not_told_are_missed_where_there_are_prices(rows, caplog):
    with serving(complete(TEXT) | {"usage": None}) as server:
        distiller(server, price_per_million={"prompt": 1, "completion": 2}).apply(rows)
    assert caplog.text.count("does not say how many tokens") == 1


def test_a_server_that_is_not_there_ends_the_run():
    with serving(complete(TEXT)) as server:
        base_url = server.base_url
    with pytest.raises(EndpointError, match="cannot be reached"):
        ReasonDistiller.from_endpoint("m", base_url=base_url).apply(make_rows(20))


def test_the_number_of_requests_finds_its_level():
    most = 8
    seen = []

    def script(request):
        seen.append(server.under_way)
        if server.under_way > most:
            return Answer("", status=429, headers={"retry-after": "0.02"})
        return Answer(complete(TEXT), delay=0.02)

    with serving(script) as server:
        distilled = distiller(server, max_concurrency=40).apply(make_rows(400))
    assert set(distilled["reasoning_status"]) == {"ok"}
    later = seen[len(seen) // 2 :]
    assert sum(later) / len(later) > most / 3
    assert max(later) <= most + 12


async def fail(places: Level, fault: Fault, together: int = 1) -> None:
    """Let some requests fail that were under way together."""
    async with contextlib.AsyncExitStack() as stack:
        began = [await stack.enter_async_context(places.place()) for _ in range(min(together, places.places))]
        for at in began:
            places.fail(fault, at, object())


def test_a_level_falls_once_for_a_burst_and_rises_one_by_one():
    overload = Fault(Kind.OVERLOAD, "HTTP 429", wait=0.0)

    async def check():
        places = Level(20)
        await fail(places, overload, together=9)
        assert places.places == 15
        await fail(places, overload)
        assert places.places == 11
        for _ in range(25):
            places.succeed()
        assert places.places == 12
        for _ in range(25 * 40):
            places.succeed()
        assert places.places == 22  # a tenth above where it began
        for _ in range(50):
            await fail(places, overload)
            places.succeed()
        assert (places.places, places.is_down) == (1, False)
        for _ in range(6):
            assert not places.is_down
            await fail(places, Fault(Kind.BROKEN, "HTTP 500"))
        assert places.is_down

    asyncio.run(check())


def test_no_more_requests_are_under_way_than_there_are_places():
    places_taken = []

    async def hold(places):
        async with places.place():
            places_taken.append(1)
            await asyncio.sleep(0)
            under_way = len(places_taken)
            places_taken.pop()
            return under_way

    async def check():
        places = Level(3)
        return await asyncio.gather(*(hold(places) for _ in range(20)))

    assert max(asyncio.run(check())) == 3


def test_limits_on_cost_end_a_run_and_cost_is_shown(rows):
    prices = {"prompt": 1000, "cached_prompt": 100, "completion": 10_000}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}}
    each = (40 * 1000 + 60 * 100 + 10 * 10_000) / 1e6
    with serving(complete(TEXT) | {"usage": usage}) as server:
        distill_fn = distiller(server, price_per_million=prices)
        distill_fn.apply(rows)
        assert distill_fn.summary.cost == pytest.approx(each * len(rows))
        assert f"cost {each * len(rows):.2f}" in str(distill_fn.summary)
        estimate = distill_fn.estimate(make_rows(100), rows=4)
        assert estimate.cost == pytest.approx(each * 100)
        assert f"cost {each * 100:.2f}" in str(estimate)
        limited = distiller(server, price_per_million=prices, max_cost=each * 2.5, max_concurrency=1)
        with pytest.raises(BudgetReachedError, match=r"max_cost=.* is reached"):
            limited.apply(make_rows(50))
        assert each * 2.5 <= limited.completer.cost <= each * 12


def test_documents_are_shortened_where_the_tokenizer_is_known(tiny):
    rows = Dataset.from_list(
        [{"text": "long " * 300, "question": "What?", "scenario": "", "hard_negatives": ["word " * 300]}]
    )
    with serving(complete(TEXT)) as server:
        distilled = distiller(server, tokenizer=tiny, context_length=450).apply(rows)
        assert distilled[0]["reasoning_documents_truncated"] == 2
        assert len(server.requests[0].prompt.split()) < 500
        plain = distiller(server).apply(rows)
    assert plain[0]["reasoning_documents_truncated"] == 0


def test_equal_settings_are_equal_wherever_the_server_is(rows, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_RARE_JOURNAL", str(tmp_path))
    with serving(complete(TEXT)) as first, serving(complete(TEXT)) as second:
        distiller(first).apply(rows)
        distiller(second, max_concurrency=3).apply(rows)
        assert len(second.requests) == 0
        distiller(second, generation_kwargs={"temperature": 0.5}).apply(rows)
        assert len(second.requests) == len(rows)


def test_a_recipe_has_no_folders_of_a_server():
    distill_fn = ReasonDistiller.from_endpoint("/home/me/models/teacher", base_url="http://localhost/v1")
    recipe = make_recipe(distill_fn)
    assert recipe["endpoint"]["model_id"] == recipe["identity"]["model_id"] == "teacher"
    assert "/home/me" not in json.dumps(recipe)


def test_a_recipe_says_who_has_answered_and_never_where(rows, tmp_path):
    with serving(complete(TEXT, provider="together")) as server:
        distill_fn = distiller(server, token_variable=None, extra_body={"top_k": 5})
        distill_fn.apply(rows)
        recipe = make_recipe(distill_fn)
        assert recipe["served_by"] == {"served by together": len(rows)}
        assert "127.0.0.1" not in json.dumps(recipe)
        path = tmp_path / "recipe.json"
        path.write_text(json.dumps(recipe))
        with pytest.raises(ConfigError, match="base_url"):
            ReasonDistiller.from_recipe(path)
        again = ReasonDistiller.from_recipe(path, base_url=server.base_url)
        assert again.generator.identity() == distill_fn.generator.identity()
        assert set(again.apply(rows)["reasoning_status"]) == {"ok"}
    for name, value in {"base_url": "http://evil", "token_variable": "HF_TOKEN", "bill_to": "me"}.items():
        with pytest.raises(RecipeError, match=name):
            read_recipe({**recipe, "endpoint": {**recipe["endpoint"], name: value}})
    with pytest.raises(RecipeError, match="tokenizer"):
        read_recipe({**recipe, "endpoint": {**recipe["endpoint"], "tokenizer": "/etc/passwd"}})


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


def test_a_recipe_of_rows_from_an_address_needs_one(rows):
    with serving(complete(TEXT)) as server:
        recipe = make_recipe(distiller(server))
        with pytest.raises(RecipeError, match="Pass base_url="):
            ReasonDistiller.from_recipe(recipe)
        assert set(ReasonDistiller.from_recipe(recipe, base_url=server.base_url).apply(rows)["reasoning_status"]) == {
            "ok"
        }


def test_other_writers_ask_endpoints_too():
    documents = Dataset.from_list([{"text": f"Document {i} is about rules."} for i in range(3)])
    answer = complete('[{"question": "What is it about?", "scenario": "At work."}]')
    with serving(answer) as server:
        writer = QueryGenerator.from_endpoint("m", base_url=server.base_url)
        assert len(writer.apply(documents)) == 3


@pytest.mark.parametrize(
    "answer", [complete(TEXT), stream({"reasoning": "Because."}, "It is so.")], ids=["whole", "streamed"]
)
def test_connections_are_used_again(answer):
    with serving(answer) as server:
        assert set(distiller(server, max_concurrency=3).apply(make_rows(60))["reasoning_status"]) == {"ok"}
    assert server.connections <= 4


def test_a_stream_that_does_not_end_behind_its_end_is_read():
    def script(request):
        whole = stream("It is so.")
        head = {**whole.headers, "content-length": str(len(whole.body) + 1)}
        return Answer(whole.body, headers=head)

    with serving(script) as server:
        assert set(distiller(server, max_concurrency=3).apply(make_rows(3))["reasoning_status"]) == {"ok"}
    assert len(server.requests) == 3


def test_who_gives_up_waiting_for_a_place_takes_none():
    async def check():
        places = Level(1)

        async def hold():
            async with places.place():
                await asyncio.sleep(0)

        async with places.place():
            waiting = [asyncio.create_task(hold()) for _ in range(4)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
        waiting[1].cancel()  # whose turn it is already
        await asyncio.gather(*waiting, return_exceptions=True)
        assert [task.cancelled() for task in waiting] == [True, True, False, False]
        async with places.place():
            pass

    asyncio.run(check())
