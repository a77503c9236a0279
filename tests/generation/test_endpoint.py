"""A model behind an address: requests, and what comes back."""

import asyncio
import json
import threading

import pytest
from datasets import Dataset

from hf_rare import (
    BudgetReachedError,
    ConfigError,
    InferenceClientGenerator,
    QueryGenerator,
    ReasonDistiller,
    RecipeError,
    read_recipe,
)
from hf_rare.writers.recipe import make_recipe
from tests.support.asking import TEXT, distiller, impatient_fixture, make_rows  # noqa: F401
from tests.support.chat_server import Answer, complete, serving, stream


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


def test_tokens_that_are_not_told_are_missed_where_there_are_prices(rows, caplog):
    with serving(complete(TEXT) | {"usage": None}) as server:
        distiller(server, price_per_million={"prompt": 1, "completion": 2}).apply(rows)
    assert caplog.text.count("does not say how many tokens") == 1


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
