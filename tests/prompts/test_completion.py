import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_rare.prompts.completion import is_thought_open, parse_completion


def parse(completion: str, **settings) -> tuple[str, str, str]:
    parsed = parse_completion(completion, **settings)
    assert bool(parsed.error) == (parsed.status != "ok")
    return parsed.reasoning, parsed.answer, parsed.status


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think>a b</think>c", ("a b", "c", "ok")),
        ("<think>\na\n</think>\n\nc\n", ("a", "c", "ok")),
        ("  <think>a</think><answer> B </answer>", ("a", "B", "ok")),
        ("<think>a</think>I say <answer>B</answer>.", ("a", "B", "ok")),
        ("<think>a</think>", ("a", "", "ok")),
        ("a </think> c", ("a", "c", "ok")),
        ("Well. <think>a</think> c", ("a", "Well.  c", "ok")),
        ("step one, step two", ("step one, step two", "", "ok")),
        ("steps <answer>B</answer>", ("steps", "B", "ok")),
        ("steps <answer>B", ("steps", "B", "ok")),
        ("steps <answer>B</answer> as shown", ("steps\n\nas shown", "B", "ok")),
        ("<answer>B</answer> for these reasons", ("for these reasons", "B", "ok")),
        ("is it <answer>A</answer>? no <answer>B</answer>", ("is it <answer>A</answer>? no", "B", "ok")),
        ("<think></think>steps", ("steps", "", "ok")),
        ("<think>\n\n</think>\n\nsteps <answer>B</answer>", ("steps", "B", "ok")),
        ("<think>a <answer>A</answer>? no</think><answer>B</answer>", ("a <answer>A</answer>? no", "B", "ok")),
        ("<think>a b", ("a b", "", "unparsed")),
        ("I write <think> never. So B.", ("I write <think> never. So B.", "", "unparsed")),
        ("steps <answer>B</answer> (between <answer> tags)", ("steps\n\n(between <answer> tags)", "B", "ok")),
        ("<think>a</think>x <think>b</think>y", ("a\n\nb", "x y", "ok")),
        ("<think>a</think>The answer is B.<think>hmm", ("a", "The answer is B.<think>hmm", "unparsed")),
        ("<think>a</think>x <think>b</think>y<think>", ("a\n\nb", "x y<think>", "unparsed")),
        ("<think>a <answer>B</answer></think>", ("a", "B", "ok")),
        ("<think>a b <answer>C</answer>", ("a b", "C", "unparsed")),
        ("", ("", "", "empty")),
        (" \n", ("", "", "empty")),
        ("<think></think>", ("", "", "empty")),
        ("<think> </think><answer>B</answer>", ("", "B", "empty")),
        ("<answer>B</answer>", ("", "B", "empty")),
    ],
)
def test_completions(completion, expected):
    assert parse(completion) == expected


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("a b</think>c", ("a b", "c", "ok")),
        ("<think>a b</think>c", ("a b", "c", "ok")),
        ("</think>steps", ("steps", "", "ok")),
        ("a b", ("a b", "", "unparsed")),
        ("", ("", "", "empty")),
    ],
)
def test_completions_after_a_template_that_opened_the_thought(completion, expected):
    assert parse(completion, thought_is_open=True) == expected


@pytest.mark.parametrize("completion", ["<think>a", "<think>a</think>c", "a b", "steps <answer>B</answer>", ""])
def test_what_the_token_limit_cut_is_truncated_and_kept(completion):
    reasoning, answer, status = parse(completion, is_cut=True)
    assert status == "truncated"
    assert (reasoning, answer) == parse(completion)[:2]


def test_other_tags():
    tags = {"thought_tags": ("[THINK]", "[/THINK]"), "answer_tags": ("\\boxed{", "}")}
    assert parse("[THINK]a[/THINK]so \\boxed{42}", **tags) == ("a", "42", "ok")
    assert parse("<think>a</think>c", **tags) == ("<think>a</think>c", "", "unparsed")
    assert parse("so \\boxed{\\frac{1}{2}} of {x}", **tags) == ("so\n\nof {x}", "\\frac{1}{2}", "ok")


def test_a_required_answer():
    assert parse("steps", require_answer=True) == ("steps", "", "unparsed")
    assert parse("steps <answer>B</answer>", require_answer=True) == ("steps", "B", "ok")


def test_the_open_thought_is_seen_at_the_end_of_the_prompt_only():
    tags = ("<think>", "</think>")
    assert is_thought_open("<|assistant|>\n<think>\n", tags)
    assert not is_thought_open("<|assistant|>\n<think>\n\n</think>\n\n", tags)
    assert not is_thought_open("say <think> if you like<|assistant|>\n", tags)


@given(st.text(), st.booleans(), st.booleans())
def test_any_text_gives_a_status_and_loses_no_letter(completion, is_cut, thought_is_open):
    parsed = parse_completion(completion, is_cut=is_cut, thought_is_open=thought_is_open)
    assert parsed.status in ("ok", "truncated", "empty", "unparsed")
    assert (parsed.status == "truncated") == is_cut
    assert parsed.status != "ok" or parsed.reasoning
    for tag in ("<think>", "</think>", "<answer>", "</answer>"):
        completion = completion.replace(tag, "")
    assert sorted("".join(parsed.reasoning + parsed.answer).split()) == sorted(completion.split())


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "a", " b "]), max_size=8))
def test_any_order_of_tags_is_read_without_an_error(pieces):
    parsed = parse_completion("".join(pieces))
    assert (parsed.status == "ok") == (parsed.error == "")
    assert parsed.reasoning == parsed.reasoning.strip()
    assert parsed.answer == parsed.answer.strip()
    assert parsed.reasoning or parsed.status in ("empty", "unparsed")


def test_the_markers_of_known_models_are_followed_and_said():
    parsed = parse_completion("[THINK]a[/THINK]c")
    assert (parsed.reasoning, parsed.answer, parsed.models) == ("a", "c", "Magistral, Ministral")
    assert parse_completion("<think>a</think>c").models == ""


def test_tags_that_were_set_win_over_known_ones():
    assert parse("<a>x [THINK]y[/THINK]</a>z", thought_tags=("<a>", "</a>"))[:2] == ("x [THINK]y[/THINK]", "z")


def test_a_tag_that_the_template_opened_is_derived_from_it():
    assert parse("a</ponder>c", opening="<|assistant|><ponder>\n") == ("a", "c", "ok")
    assert parse("a</p>c", opening="<|assistant|><p>\n") == ("a</p>c", "", "ok")


@pytest.mark.parametrize(
    "marker", ["<|im_end|>", "<|channel|>", "<\uff5cAssistant\uff5c>", "[/INST]", "\u25c1think\u25b7"]
)
def test_what_still_holds_a_marker_is_not_ok_and_says_which(marker):
    parsed = parse_completion(f"So it is.{marker}", thought_tags=("<a>", "</a>"))
    assert parsed.status == "unparsed"
    assert marker in parsed.error and "thought_tags" in parsed.error
    assert parse(f"The token `{marker}` ends it.", thought_tags=("<a>", "</a>"))[2] == "ok"
