"""What comes back from an endpoint: every shape that servers give is read, and what is no completion is a fault."""

import pytest

from hf_rare.generation.endpoints.faults import Fault, Kind
from hf_rare.generation.endpoints.reply import StreamedReply, read_reply
from hf_rare.prompts.completion import parse_completion
from tests.support.chat_server import complete

THOUGHT = "<think>\nWhy so.\n</think>\n\nIt is so."


def message(finish="stop", **fields):
    return complete() | {"choices": [{"index": 0, "message": fields, "finish_reason": finish}]}


READ = {
    "a text": (message(content="It is so."), "It is so."),
    "reasoning": (message(content="It is so.", reasoning="Why so."), THOUGHT),
    "reasoning_content": (message(content="\n\nIt is so.", reasoning_content="Why so.\n"), THOUGHT),
    "both names": (message(content="It is so.", reasoning="Why so.", reasoning_content="Why so."), THOUGHT),
    "thinking": (message(content="It is so.", thinking="Why so."), THOUGHT),
    "reasoning_details": (
        message(content="It is so.", reasoning_details=[{"type": "reasoning.text", "text": "Why so."}]),
        THOUGHT,
    ),
    "parts": (message(content=[{"type": "text", "text": "It is "}, {"type": "text", "text": "so."}]), "It is so."),
    "thinking parts": (
        message(
            content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Why so."}]}, {"text": "It is so."}]
        ),
        THOUGHT,
    ),
    "a thought in the text": (message(content=THOUGHT), THOUGHT),
    "a thought in the text and beside it": (message(content=THOUGHT, reasoning="Why so."), THOUGHT),
    "an open thought in the text": (
        message(content="Why so.\n</think>\n\nIt is so."),
        "Why so.\n</think>\n\nIt is so.",
    ),
    "nothing but a thought": (message(content=None, reasoning="Why so."), "<think>\nWhy so.\n</think>\n\n"),
    "an empty reasoning": (message(content="It is so.", reasoning=""), "It is so."),
    "TGI's end": (message(content="It is so.", finish="eos_token"), "It is so."),
    "another stop": (message(content="It is so.", finish="stop_sequence"), "It is so."),
}


@pytest.mark.parametrize("name", READ)
def test_answers_are_read_whole(name):
    answer, text = READ[name]
    completion = read_reply(answer)
    assert (completion.text, completion.finish_reason, completion.error) == (text, "stop", "")


def test_a_thought_that_the_server_has_separated_is_the_reasoning():
    parsed = parse_completion(read_reply(message(content="It is so.", reasoning="Why so.")).text)
    assert (parsed.reasoning, parsed.answer, parsed.status) == ("Why so.", "It is so.", "ok")


@pytest.mark.parametrize("finish", ["length", "max_tokens", "LENGTH"])
def test_a_budget_that_the_thought_has_eaten_is_cut(finish):
    completion = read_reply(message(content="", reasoning="Why s", finish=finish))
    assert (completion.text, completion.finish_reason) == ("<think>\nWhy s", "length")
    assert parse_completion(completion.text, is_cut=completion.is_cut).status == "truncated"
    assert read_reply(message(content=None, finish=finish)).finish_reason == "length"


def test_a_loop_that_the_server_has_ended_is_one():
    for fields in ({"content": "so, so, so, so"}, {"content": None, "reasoning": "so, so, so, so"}):
        completion = read_reply(message(**fields, finish="repetition"))
        assert completion.finish_reason == "repetition"
        assert completion.text.endswith("so, so, so, so")
        assert completion.error.startswith("repeats itself")
        assert parse_completion(completion.text, is_cut=completion.is_cut).status == "truncated"


FAILED = {
    "filtered": (message(content="", finish="content_filter"), "the server's filter has withheld the answer"),
    "refused": (message(content=None, refusal="I will not."), "the model has refused: I will not."),
    "a tool": (message(content=None, tool_calls=[{"id": "1"}], finish="tool_calls"), "the model has called a tool"),
}


@pytest.mark.parametrize("name", FAILED)
def test_what_is_no_trace_says_why(name):
    answer, error = FAILED[name]
    completion = read_reply(answer)
    assert (completion.text, completion.finish_reason) == ("", "error")
    assert completion.error.startswith(error)


WRONG = {
    "null": None,
    "a text": "hello",
    "a number": 3,
    "a list": [1],
    "empty": {},
    "no choices": complete() | {"choices": []},
    "choices of another type": complete() | {"choices": "none"},
    "choices in a dict": complete() | {"choices": {"0": {}}},
    "a choice of another type": complete() | {"choices": [7]},
    "no message": complete() | {"choices": [{"finish_reason": "stop"}]},
    "a message of another type": complete() | {"choices": [{"message": "so", "finish_reason": "stop"}]},
    "no finish_reason": message(content="so", finish=None),
    "a finish_reason of another type": message(content="so", finish=3),
    "an aborted one": message(content="so", finish="abort"),
    "an unknown one": message(content="so", finish="who_knows"),
    "an error": {"error": {"message": "CUDA error", "code": 500}},
    "an error as text": {"error": "CUDA error"},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_answer_is_asked_for_again(name):
    with pytest.raises(Fault) as caught:
        read_reply(WRONG[name])
    assert caught.value.kind is Kind.BROKEN
    if "error" in name:
        assert caught.value.words == "CUDA error"


USAGE = [
    ({"prompt_tokens": 9, "completion_tokens": 4}, (9, 4, 0, 0)),
    ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}, (9, 4, 8, 0)),
    ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": None}, (9, 4, 0, 0)),
    ({"prompt_tokens": 9, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 3}}, (9, 4, 0, 3)),
    ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 5}, (9, 4, 5, 0)),
    ({"prompt_tokens": 9, "completion_tokens": 4, "cached_tokens": 500}, (9, 4, 9, 0)),
    ({"input_tokens": 9, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 2}}, (9, 4, 2, 0)),
    ({"prompt_tokens": "9", "completion_tokens": -4}, (0, 0, 0, 0)),
    (None, (0, 0, 0, 0)),
    ("much", (0, 0, 0, 0)),
    ({"prompt_tokens": True, "completion_tokens": 1e300}, (0, 0, 0, 0)),
]


@pytest.mark.parametrize(("usage", "counts"), USAGE)
def test_tokens_are_counted_as_the_server_says(usage, counts):
    completion = read_reply(complete() | {"usage": usage})
    read = (
        completion.prompt_tokens,
        completion.completion_tokens,
        completion.cached_tokens,
        completion.reasoning_tokens,
    )
    assert read == counts


def test_who_has_answered_is_kept():
    assert read_reply(complete(provider="together", system_fingerprint="fp_1")).served_by == "served by together, fp_1"
    assert read_reply(complete() | {"model": None}).served_by == ""
    for path in ("/home/me/models/a@main", "./models/a@main", "C:\\models\\a@main"):
        assert read_reply(complete() | {"model": path}).served_by == "a@main"
    for name in ("Qwen/Qwen3-8B", "accounts/fireworks/models/a"):
        assert read_reply(complete() | {"model": name}).served_by == name
    assert read_reply(complete() | {"model": ["x"]}).served_by == ""


def delta(finish=None, **fields):
    return {"choices": [{"delta": fields, "finish_reason": finish}]}


STREAMS = {
    "texts": ([delta(content="It "), delta(content="is so."), delta("stop")], "It is so."),
    "reasoning": (
        [delta(reasoning="Why "), delta(reasoning="so."), delta(content="It is so."), delta("stop")],
        THOUGHT,
    ),
    "both names": (
        [delta(reasoning="Why so.", reasoning_content="Why so."), delta(content="It is so."), delta("stop")],
        THOUGHT,
    ),
    "parts": (
        [
            delta(content=[{"type": "thinking", "thinking": "Why so."}]),
            delta(content=[{"type": "text", "text": "It is so."}]),
            delta("stop"),
        ],
        THOUGHT,
    ),
    "the end with the last text": ([delta(content="It is "), delta("stop", content="so.")], "It is so."),
    "empty pieces": (
        [delta(role="assistant"), {}, delta(content=""), delta(content="It is so."), delta("stop")],
        "It is so.",
    ),
    "usage at the end": ([delta(content="It is so."), delta("stop"), {"choices": [], "usage": {}}], "It is so."),
    "null deltas": ([{"choices": [{"delta": None}]}, delta(content="It is so."), delta("stop"), None], "It is so."),
}


@pytest.mark.parametrize("name", STREAMS)
def test_answers_that_come_in_pieces_are_read_as_whole_ones(name):
    pieces, text = STREAMS[name]
    reply = StreamedReply()
    for piece in pieces:
        reply.add(piece)
    assert read_reply(reply.whole()).text == text


@pytest.mark.parametrize(
    "pieces", [[], [delta(content="It ")], [delta(content="It "), {"error": {"message": "died"}}]]
)
def test_a_stream_that_does_not_end_is_asked_for_again(pieces):
    reply = StreamedReply()
    for piece in pieces:
        reply.add(piece)
    with pytest.raises(Fault) as caught:
        read_reply(reply.whole())
    assert caught.value.kind is Kind.BROKEN
