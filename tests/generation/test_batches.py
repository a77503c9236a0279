"""Batches of a server: every row is written once, whatever becomes of files, batches, connections and processes."""

import json
import os
import re
import signal
from collections import Counter

import pytest

from hf_rare import BudgetReachedError, EndpointError, ReasonDistiller
from hf_rare.generation.endpoints import batch_api, batches
from hf_rare.generation.protocol import EncodedPrompt, Job, JobList
from hf_rare.runs.journal_list import export_journal, list_journals
from tests.support import fault_job
from tests.support.batch_server import Fault, Lost, serving_batches
from tests.support.chat_server import Answer, complete
from tests.support.commands import command
from tests.support.rule_rows import make_plain_rows
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Wait for hundredths of what servers are given in earnest."""
    monkeypatch.setattr(batch_api, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(batch_api, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """A journal of the test's own."""
    monkeypatch.setenv("HF_RARE_JOURNAL", str(tmp_path / "journal"))
    return tmp_path / "journal"


def distiller(base_url: str, **settings) -> ReasonDistiller:
    settings = {"mode": "batch", "requests_per_batch": 4, "poll_seconds": 0.01, **settings}
    return ReasonDistiller.from_endpoint("m", base_url=base_url, **settings)


def number_of(body) -> int:
    """The number of the row that is asked about."""
    return int(re.findall(r"What of (\d+)\?", body["messages"][-1]["content"])[-1])


def tell(body):
    """Answer with the number of the row."""
    return complete(f"<think>Because of the rule.</think>{number_of(body)}")


def refuse(message: str) -> Answer:
    return Answer({"error": {"message": message}}, status=400)


def answers(distilled) -> list[str]:
    assert set(distilled["reasoning_status"]) == {"ok"}
    return list(distilled["reasoning_answer"])


def expected(count: int) -> list[str]:
    return [str(i) for i in range(count)]


@pytest.mark.parametrize("keeps", [True, False], ids=["with a journal", "without"])
@pytest.mark.parametrize("order", [lambda lines: lines, lambda lines: lines[::-1], sorted])
def test_every_row_is_written_once_and_read_in_any_order(keeps, order, tmp_path):
    with serving_batches(tell, looks=2, order=order) as (server, url):
        distill_fn = distiller(url, journal_dir=tmp_path if keeps else None, token="a-key")
        assert answers(distill_fn.apply(make_plain_rows(10))) == expected(10)
    assert set(server.written.values()) == {1}
    assert sorted(len(batch.lines) for batch in server.batches.values()) == [2, 4, 4]
    assert {request.headers["authorization"] for request in server.requests} == {"bearer a-key"}
    for batch in server.batches.values():
        assert {(line["method"], line["url"]) for line in batch.lines} == {("POST", "/v1/chat/completions")}


def test_a_request_of_a_batch_is_that_of_a_request_of_its_own():
    settings = {"generation_kwargs": {"temperature": 0.6}, "extra_body": {"top_k": 20}, "max_new_tokens": 9}
    with serving_batches(tell) as (server, url):
        distiller(url, **settings).apply(make_plain_rows(1))
        distiller(url, mode="requests", stream=False, **settings).apply(make_plain_rows(1))
    assert server.requests[-1].body == {**server.bodies[0], "stream": False}
    assert "stream" not in server.bodies[0]


def test_a_file_has_no_more_bytes_than_servers_take(monkeypatch):
    monkeypatch.setattr(batches, "MOST_BYTES", 3000)
    rows = make_plain_rows(9).map(lambda row: {"text": row["text"] * 30})
    rows = rows.map(lambda row, i: {"text": row["text"] * (20 if i == 4 else 1)}, with_indices=True)
    with serving_batches(tell) as (server, url):
        assert answers(distiller(url, requests_per_batch=100).apply(rows)) == expected(9)
    sizes = [len(file) for name, file in server.files.items() if name.startswith("file")]
    assert len(sizes) > 3
    assert [size for size in sizes if size > 3000] == [max(sizes)]  # a row that has more is alone in its file


def test_what_the_server_says_of_a_row_is_its_status():
    def write(body):
        number = number_of(body)
        if number == 1:
            return refuse("maximum context length is 10 tokens")
        if number == 2:
            return refuse("it breaks the content management policy")
        if number == 3:
            return complete("", reasoning="Because", finish="length")
        return refuse("a bad row") if number == 4 else tell(body)

    with serving_batches(write) as (server, url):
        distilled = distiller(url).apply(make_plain_rows(6))
    assert distilled["reasoning_status"][:] == ["ok", "prompt_too_long", "failed", "truncated", "failed", "ok"]
    assert "maximum context length is 10 tokens" in distilled[1]["reasoning_error"]
    assert "the server's filter has refused it" in distilled[2]["reasoning_error"]
    assert distilled[4]["reasoning_error"] == "HTTP 400: a bad row"
    assert set(server.sent.values()) == {1}


NOT_WRITTEN = {
    "no line": lambda: None,
    "HTTP 500": lambda: Answer({"error": {"message": "oops"}}, status=500),
    "HTTP 429": lambda: Answer({"error": {"message": "slow down"}}, status=429),
    "status 200 and nothing": lambda: Answer(None),
    "no choice": lambda: {"choices": []},
    "no end": lambda: complete("It is", finish=None),
    "expired": lambda: Lost(),
    "cancelled": lambda: Lost("batch_cancelled", "The batch was cancelled."),
}


@pytest.mark.parametrize("name", NOT_WRITTEN)
def test_a_row_that_was_not_written_is_sent_again(name, journal):
    left = {2: 2, 5: 1}

    def write(body):
        number = number_of(body)
        if left.get(number, 0):
            left[number] -= 1
            return NOT_WRITTEN[name]()
        return tell(body)

    with serving_batches(write) as (server, url):
        assert answers(distiller(url).apply(make_plain_rows(7))) == expected(7)
    assert sorted(server.sent.values()) == [1, 1, 1, 1, 1, 2, 3]


def test_a_row_that_is_never_written_says_why():
    with serving_batches(lambda body: None if number_of(body) == 3 else tell(body)) as (server, url):
        distilled = distiller(url, max_retries=2).apply(make_plain_rows(6))
    assert distilled["reasoning_status"][:] == ["ok"] * 3 + ["failed"] + ["ok"] * 2
    assert distilled[3]["reasoning_error"].endswith("without an answer for this row (3 tries)")
    assert max(server.sent.values()) == 3


@pytest.mark.parametrize("ends", ["expired", "cancelled"])
def test_what_is_left_of_a_batch_that_ends_early_is_sent_again(ends, journal):
    with serving_batches(tell, end=lambda number: ends if number < 2 else "completed") as (server, url):
        assert answers(distiller(url).apply(make_plain_rows(8))) == expected(8)
    assert set(server.written.values()) == {1}
    assert sorted(server.sent.values()) == [1] * 4 + [2] * 4


def test_a_batch_that_the_server_refuses_ends_the_run_with_its_words_and_is_not_held_against_the_next(journal):
    ends = {"now": "failed"}
    with serving_batches(tell, end=lambda number: ends["now"]) as (server, url):
        with pytest.raises(EndpointError, match="The model is not there for batches"):
            distiller(url).apply(make_plain_rows(4))
        with pytest.raises(EndpointError, match="The model is not there for batches"):
            distiller(url).apply(make_plain_rows(4))
        assert server.begun == 2
        ends["now"] = "completed"
        assert answers(distiller(url).apply(make_plain_rows(4))) == expected(4)
    assert set(server.written.values()) == {1}


@pytest.mark.parametrize(
    ("answer", "words"), [(Answer("who?", status=401), "HTTP 401: who?"), (refuse("Unknown field: top_x"), "top_x")]
)
def test_a_server_that_refuses_every_row_ends_the_run_until_that_is_mended(answer, words, journal):
    well = {"is": False}
    with serving_batches(lambda body: tell(body) if well["is"] else answer) as (server, url):
        with pytest.raises(EndpointError, match=words):
            distiller(url, requests_per_batch=30).apply(make_plain_rows(60))
        well["is"] = True
        assert answers(distiller(url, requests_per_batch=30).apply(make_plain_rows(60))) == expected(60)
    assert set(server.written.values()) == {1}


@pytest.mark.parametrize("what", ["batch", "results"])
def test_what_the_server_has_lost_is_sent_again(what, journal):
    with serving_batches(tell, end=lambda number: "never" if number == 0 else "completed") as (server, url):
        ends_run = Fault(Answer("who?", status=401))
        server.faults["look"] = [ends_run]
        with pytest.raises(EndpointError, match="401"):
            distiller(url).apply(make_plain_rows(3))
        (batch,) = server.batches.values()
        if what == "batch":
            server.batches.clear()
        else:
            batch.ends, batch.files = "completed", {"output_file_id": "file-that-is-gone"}
        assert answers(distiller(url).apply(make_plain_rows(3))) == expected(3)
    assert set(server.sent.values()) == {2}


def test_a_server_that_loses_every_batch_is_not_asked_for_ever():
    with serving_batches(tell) as (server, url):
        server.faults["look"] = [Fault(Answer("", status=404))] * 100
        distilled = distiller(url, max_retries=2).apply(make_plain_rows(3))
    assert set(distilled["reasoning_status"]) == {"failed"}
    assert "the batch was lost" in distilled[0]["reasoning_error"]
    assert server.begun == 3


def test_a_key_that_is_refused_later_is_no_lost_batch(journal):
    with serving_batches(tell, looks=3) as (server, url):
        server.faults["look"] = [Fault(Answer("who?", status=401))]
        with pytest.raises(EndpointError, match=r"HTTP 401: who\?"):
            distiller(url).apply(make_plain_rows(3))
        assert answers(distiller(url).apply(make_plain_rows(3))) == expected(3)
    assert set(server.sent.values()) == {1}


FAULTS = {
    "500": Answer("<html>oops</html>", status=500),
    "429": Answer({"error": "slow down"}, status=429),
    "429 with Retry-After": Answer("", status=429, headers={"retry-after": "0.01"}),
    "cut before": Answer("", cut="before"),
    "cut within": Answer({"id": "x" * 100}, cut="within"),
    "silence": Answer("", cut="silent"),
    "half JSON": Answer('{"id": "ba'),
    "HTML": Answer("<html>It works!</html>"),
    "a list": Answer([1]),
}


NO_RESULT = ("half JSON", "HTML", "a list")
"""What a file of results may be without an answer to any row: then rows are sent again, and this is no fault."""


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (call, name)
        for call in ("upload", "create", "look", "read")
        for name in FAULTS
        if call != "read" or name not in NO_RESULT
    ],
)
def test_a_call_that_fails_is_made_again_and_no_row_is_paid_for_twice(call, name, is_done, journal):
    with serving_batches(tell, looks=1) as (server, url):
        server.faults[call] = [Fault(FAULTS[name], is_done)] * 2
        assert answers(distiller(url, read_timeout=0.2).apply(make_plain_rows(6))) == expected(6)
        assert not server.faults[call]
    assert set(server.sent.values()) == {1}


def test_a_batch_is_found_among_many_whose_answer_was_lost():
    with serving_batches(tell, page=2) as (server, url):
        distiller(url, requests_per_batch=1).apply(make_plain_rows(7))
        server.faults["create"] = [Fault(Answer("", cut="before"), is_done=True)] * 2
        distiller(url, requests_per_batch=10, seed=5).apply(make_plain_rows(7))
        assert set(server.sent.values()) == {1}
        server.faults = {"create": [Fault(Answer("", cut="before"))], "list": [Fault(Answer("", status=404))]}
        distiller(url, requests_per_batch=10, seed=6).apply(make_plain_rows(7))  # a server without a list of them
    assert set(server.sent.values()) == {1}


@pytest.mark.parametrize("call", ["upload", "create", "look", "read"])
def test_a_server_that_is_gone_for_good_ends_the_run_and_the_next_goes_on(call, journal, monkeypatch):
    monkeypatch.setattr(batches, "PATIENCE", 2)
    with serving_batches(tell, looks=1) as (server, url):
        server.faults[call] = [Fault(Answer("down", status=502))] * 12
        with pytest.raises(EndpointError, match=r"502: down.*run the same script later"):
            distiller(url).apply(make_plain_rows(4))
        server.faults.clear()
        assert answers(distiller(url).apply(make_plain_rows(4))) == expected(4)
    assert set(server.sent.values()) == {1}


def test_a_server_that_is_away_while_a_batch_is_written_does_not_end_the_run():
    with serving_batches(tell, looks=1) as (server, url):
        server.faults["look"] = [Fault(Answer("down", status=502))] * 20
        assert answers(distiller(url).apply(make_plain_rows(3))) == expected(3)
    assert set(server.sent.values()) == {1}


def test_a_server_without_batches_is_said():
    with serving_batches(tell) as (server, url):
        server.faults["upload"] = [Fault(Answer("no such page", status=404))]
        with pytest.raises(EndpointError, match='leave mode="batch" out'):
            distiller(url).apply(make_plain_rows(3))


def test_texts_with_all_sorts_of_ends_of_lines_are_read():
    text = "<think>One\u2028two\x85three\x1cfour\r\nfive</think>It is\u2029so."
    with serving_batches(lambda body: complete(text)) as (server, url):
        distilled = distiller(url).apply(make_plain_rows(2))
    assert set(distilled["reasoning_answer"]) == {"It is\u2029so."}
    assert set(server.sent.values()) == {1}


def test_lines_of_a_result_that_are_none_are_left_out(journal):
    def spoil(lines):
        other = json.dumps({"custom_id": "another", "response": {"status_code": 200, "body": complete("Mine?")}})
        return ["", "[]", "{", '{"custom_id": 3}', other, *lines, *lines]

    with serving_batches(tell, order=spoil) as (server, url):
        assert answers(distiller(url).apply(make_plain_rows(5))) == expected(5)
    assert set(server.sent.values()) == {1}


def test_attempts_and_samples_go_through_batches(journal):
    seen = Counter()

    def write(body):
        number = number_of(body)
        seen[number] += 1
        is_right = seen[number] > number
        return complete(f"<think>Hm.</think>\\boxed{{{'7' if is_right else '8'}}}")

    rows = make_plain_rows(4).add_column("gold", ["7"] * 4)
    with serving_batches(write) as (server, url):
        distilled = distiller(url, gold_column="gold", max_attempts=3).apply(rows)
        assert seen == {0: 1, 1: 2, 2: 3, 3: 3}
        assert set(server.sent.values()) == {1}
        sampled = distiller(url, num_samples=3, seed=1).apply(make_plain_rows(4))
    assert distilled["reasoning_status"][:3] == ["ok"] * 3
    assert [len(texts) for texts in sampled["reasoning"]] == [3] * 4
    assert len({body["seed"] for body in server.bodies}) == 9 + 12


def test_limits_and_prices_hold_for_batches(journal):
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    settings = {"price_per_million": {"prompt": 1000, "completion": 10_000}, "requests_per_batch": 3}
    with serving_batches(lambda body: complete("<think>Hm.</think>So.", usage=usage)) as (server, url):
        limited = distiller(url, max_rows=5, **settings)
        with pytest.raises(BudgetReachedError, match="max_rows=5 is reached"):
            limited.apply(make_plain_rows(20))
        assert sum(server.sent.values()) == limited.completer.generated == 5
        assert limited.completer.cost == pytest.approx(5 * 0.2)
        whole = distiller(url, **settings)
        whole.apply(make_plain_rows(20))
        assert whole.summary.cost == pytest.approx(20 * 0.2)
    assert set(server.written.values()) == {1}


def test_batches_are_looked_at_as_often_as_is_said(monkeypatch):
    pauses = []
    monkeypatch.setattr(batches.time, "sleep", pauses.append)
    with serving_batches(tell, looks=3) as (server, url):
        distiller(url, poll_seconds=77.0).apply(make_plain_rows(2))
    assert pauses == [77.0] * 3
    assert server.calls.count("look") == 4


def test_no_more_rows_are_in_batches_than_are_held_in_memory(monkeypatch):
    monkeypatch.setattr(batches, "OPEN_BATCHES", 2)
    most = {"now": 0}

    def look(number: int) -> str:
        is_open = [batch for batch in server.batches.values() if batch.looks >= 0]
        most["now"] = max(most["now"], len(is_open) + 1)
        return "completed"

    with serving_batches(tell, looks=1, end=look) as (server, url):
        assert answers(distiller(url).apply(make_plain_rows(30))) == expected(30)
    assert most["now"] == 2


def test_one_name_is_given_to_no_two_rows_of_a_file():
    prompt = EncodedPrompt([{"role": "user", "content": "What of 1?"}], "", [])
    jobs = [Job(prompt, seed, key) for seed, key in enumerate(["a" * 32, "a" * 32, "", ""])]
    with serving_batches(tell) as (server, url):
        generator = distiller(url, requests_per_batch=10).generator
        (done,) = generator.generate(JobList(jobs))
    assert {job for job, _ in done} == set(jobs)
    assert {completion.finish_reason for _, completion in done} == {"stop"}
    assert len(server.sent) == 4


KILLED = {
    "while waiting": ("look", 2, Fault(Answer("", cut="silent"))),
    "before its file is there": ("upload", 1, Fault(Answer("", cut="silent"))),
    "with a file and no note of it": ("upload", 1, Fault(Answer("", cut="silent"), is_done=True)),
    "between upload and creation": ("create", 1, Fault(Answer("", cut="silent"))),
    "between creation and note": ("create", 1, Fault(Answer("", cut="silent"), is_done=True)),
    "while results are read": ("read", 2, Fault(Answer("", cut="silent"))),
}


@pytest.mark.parametrize("when", KILLED)
def test_a_run_that_is_killed_goes_on_and_every_row_is_written_once(when, context, journal):
    call, count, fault = KILLED[when]
    with serving_batches(tell, looks=1) as (server, url):
        if call == "create":  # the second batch of the three
            server.faults[call] = [Fault(Answer("", status=500)), fault]
            count += 1
        else:
            server.faults[call] = [*[Fault(Answer("", status=500))] * (count - 1), fault]
        process = context.Process(target=fault_job.distil_by_batches, args=(url, str(journal), 10), daemon=True)
        process.start()
        wait_until(lambda: server.calls.count(call) >= count)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        begun = server.begun
        assert answers(distiller(url).apply(make_plain_rows(10))) == expected(10)
    assert server.begun - begun == 3 - begun
    assert set(server.sent.values()) == set(server.written.values()) == {1}
    assert len(server.sent) == 10


def test_rows_of_a_batch_are_found_in_whatever_order_they_come(journal):
    with serving_batches(tell, looks=1) as (server, url):
        server.faults["look"] = [Fault(Answer("who?", status=401))]
        with pytest.raises(EndpointError):
            distiller(url).apply(make_plain_rows(10))
        shuffled = make_plain_rows(14).shuffle(seed=0)
        distilled = distiller(url, requests_per_batch=3).apply(shuffled)
        assert answers(distilled) == [re.findall(r"\d+", question)[0] for question in shuffled["question"]]
        assert server.calls.count("read") <= len(server.batches)  # each is read once, however its rows come
    assert set(server.sent.values()) == {1}


def test_failures_that_are_tried_again_in_a_batch_are_counted_over_its_end(journal):
    settings = {"retry_failed": True, "max_tries": 3}
    with serving_batches(lambda body: refuse("a bad row") if number_of(body) == 1 else tell(body)) as (server, url):
        distiller(url).apply(make_plain_rows(3))
        server.looks = 1
        server.faults["look"] = [Fault(Answer("who?", status=401))]
        with pytest.raises(EndpointError):
            distiller(url, **settings).apply(make_plain_rows(3))
        for _ in range(4):
            assert distiller(url, **settings).apply(make_plain_rows(3))["reasoning_status"][1] == "failed"
    assert max(server.sent.values()) == 3


def test_what_is_under_way_is_no_entry_of_a_journal(journal, tmp_path, capsys, caplog):
    with serving_batches(tell, looks=1) as (server, url):
        distiller(url).apply(make_plain_rows(4))
        server.faults["look"] = [Fault(Answer("who?", status=401))]
        with pytest.raises(EndpointError):
            distiller(url).apply(make_plain_rows(10))
        limited = distiller(url, max_rows=2)
        with pytest.raises(BudgetReachedError, match=r"2 completions of this run are safe in .* \(6 in all\)"):
            limited.apply(make_plain_rows(10))
    (info,) = list_journals(journal)
    assert len(export_journal(info)) == 6
    for arguments in (["ls"], ["show", info.name], ["export", info.name, "--output", str(tmp_path / "out.jsonl")]):
        assert command("journal", *arguments).code == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 6
    assert "6 entries" in capsys.readouterr().out
    assert "spoilt" not in caplog.text


def test_batches_on_the_command_line(tmp_path):
    make_plain_rows(5).to_json(tmp_path / "in.jsonl")
    with serving_batches(tell) as (server, url):
        flags = ("--base-url", url, "--mode", "batch", "--requests-per-batch", "2", "--poll-seconds", "0.01")
        outcome = command("distill", tmp_path / "in.jsonl", "--model", "m", "--output", tmp_path / "out.jsonl", *flags)
    assert outcome.code == 0, outcome.said
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["reasoning_answer"] for row in rows] == expected(5)
    assert server.begun == 3
