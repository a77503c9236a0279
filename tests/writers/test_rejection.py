"""Rejection sampling: attempts until a trace has the gold answer, and what is kept of them."""

import pytest
from datasets import Dataset

from hf_rare import ReasonDistiller
from hf_rare.errors import ConfigError
from hf_rare.generation.protocol import Completion
from hf_rare.writers.result import Result
from tests.support.scripted import ScriptedGenerator

ROWS = Dataset.from_list(
    [
        {
            "question": f"Question {name}?",
            "scenario": "",
            "text": "The positive.",
            "hard_negatives": ["A negative."],
            "options": ["ebb", "flood", "calm"],
            "answer": gold,
        }
        for name, gold in (("easy", "B"), ("hard", "C"), ("hopeless", "A"), ("open", None))
    ]
)


class Teacher:
    """Is right about the easy question at once, about the hard one at the third attempt, and never about another."""

    def __init__(self):
        self.attempts = {}

    def __call__(self, text: str, seed: int) -> str | Completion:
        name = text.split("Question ")[-1].partition("?")[0]
        attempt = self.attempts[name] = self.attempts.get(name, 0) + 1
        if name == "hard" and attempt == 2:
            return Completion("<think>on and on", "length", 7, 9)
        answer = {"easy": "B", "hard": "ABC"[attempt - 1] if attempt < 4 else "D", "open": "whatever"}.get(name, "B")
        return f"<think>Attempt {attempt}.</think><answer>{answer}</answer>"


def distill(rows=ROWS, **settings) -> tuple[list[dict], ReasonDistiller]:
    distill_fn = ReasonDistiller(ScriptedGenerator(Teacher()), **{"gold_column": "answer", **settings})
    return distill_fn.apply(rows, load_from_cache_file=False).to_list(), distill_fn


def test_the_first_right_trace_is_kept_or_else_the_first():
    rows, distill_fn = distill()
    assert [row["reasoning_attempts"] for row in rows] == [1, 3, 8, 1]
    assert [row["reasoning_answer"] for row in rows] == ["B", "C", "B", "whatever"]
    assert [row["reasoning"] for row in rows] == ["Attempt 1.", "Attempt 3.", "Attempt 1.", "Attempt 1."]
    assert [row["reasoning_verdict"] for row in rows] == ["right", "right", "wrong", "unchecked"]
    assert [row["reasoning_status"] for row in rows] == ["ok"] * 4
    asked = distill_fn.generator.asked
    assert len(asked) == len(set(asked)) == 13


@pytest.mark.parametrize(
    ("fallback", "reasoning", "status", "error"),
    [
        ("first", "Attempt 1.", "ok", ""),
        ("last", "Attempt 4.", "ok", ""),
        ("none", "", "failed", "none of 4 attempts will do; of the last one, its answer 'B' is wrong"),
    ],
)
def test_what_is_kept_when_none_is_right(fallback, reasoning, status, error):
    rows, _ = distill(fallback=fallback, max_attempts=4)
    hopeless = rows[2]
    assert (hopeless["reasoning"], hopeless["reasoning_status"]) == (reasoning, status)
    assert (hopeless["reasoning_error"], hopeless["reasoning_verdict"]) == (error, "wrong")
    assert rows[1]["reasoning_verdict"] == "right"


def test_the_fallback_counts_with_a_single_attempt():
    rows, _ = distill(fallback="none", max_attempts=1)
    assert [row["reasoning_status"] for row in rows] == ["ok", "failed", "failed", "ok"]
    assert rows[1]["reasoning_error"] == "the only attempt will not do: its answer 'A' is wrong"
    assert rows[1]["reasoning"] == ""
    assert distill(fallback="last", max_attempts=1)[0] == distill(max_attempts=1)[0]


def test_all_attempts_are_kept_for_preference_training():
    rows, _ = distill(keep_attempts=True, max_attempts=4)
    hard = rows[1]
    assert hard["reasoning"] == ["Attempt 1.", "on and on", "Attempt 3."]
    assert hard["reasoning_verdict"] == ["wrong", "wrong", "right"]
    assert hard["reasoning_status"] == ["ok", "truncated", "ok"]
    assert (hard["reasoning_attempts"], hard["reasoning_prompt_tokens"]) == (3, 7)
    assert [len(row["reasoning"]) for row in rows] == [1, 3, 4, 1]
    expanded, _ = distill(keep_attempts=True, max_attempts=4, expand=True)
    assert [row["question"][9:-1] for row in expanded] == ["easy"] + ["hard"] * 3 + ["hopeless"] * 4 + ["open"]
    assert [row["reasoning_sample"] for row in expanded] == [0, 0, 1, 2, 0, 1, 2, 3, 0]
    assert [row["reasoning_verdict"] for row in expanded[1:4]] == hard["reasoning_verdict"]


def test_without_sampling_a_row_is_tried_once_and_it_is_said_once(caplog):
    generator = ScriptedGenerator(lambda text, seed: "<think>So.</think><answer>B</answer>", is_sampling=False)
    distill_fn = ReasonDistiller(generator, gold_column="answer", journal_dir=None)
    rows = distill_fn.apply(ROWS, batch_size=1).to_list()
    assert [row["reasoning_attempts"] for row in rows] == [1] * 4
    assert [row["reasoning_verdict"] for row in rows] == ["right", "wrong", "wrong", "unchecked"]
    assert len(generator.asked) == 4
    assert caplog.text.count("each row is tried once") == 1


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"num_samples": 2}, "num_samples=2"),
        ({"gold_column": "answer", "max_attempts": 2}, "max_attempts=2"),
        ({"gold_column": "answer", "keep_attempts": True}, "keep_attempts=True"),
        ({"max_attempts": 2, "keep_attempts": True}, "keep_attempts=True"),
    ],
)
def test_different_traces_of_a_model_that_does_not_sample_are_refused(settings, setting):
    generator = ScriptedGenerator(lambda text, seed: "<think>So.</think><answer>B</answer>", is_sampling=False)
    name = setting.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"{setting} asks for different traces.*or leave {name} out"):
        ReasonDistiller(generator, journal_dir=None, **settings).apply(ROWS)
    assert generator.asked == []


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"do_sample": False}, {}, {"temperature": 1.0}])
def test_sampling_of_an_endpoint_and_of_a_local_model(settings, tiny):
    endpoint = {"base_url": "http://localhost:1/v1", "num_samples": 2}
    for is_endpoint in (True, False):
        distill_fn = ReasonDistiller.from_pretrained(
            tiny, generation_kwargs=settings, **(endpoint if is_endpoint else {"num_samples": 2})
        )
        if settings == {"temperature": 1.0} or (is_endpoint and not settings):  # a server samples by default
            distill_fn.check_sampling()
            continue
        with pytest.raises(ConfigError, match="the model does not sample"):
            distill_fn.check_sampling()


def test_a_row_that_failed_may_be_tried_again_without_sampling(caplog):
    generator = ScriptedGenerator(lambda text, seed: Completion("<think>on", "length", 7, 9), is_sampling=False)
    (row,) = ReasonDistiller(generator, max_attempts=3).apply(ROWS.select([0])).to_list()
    assert (row["reasoning_status"], row["reasoning_attempts"]) == ("truncated", 1)
    assert "each row is tried once" in caplog.text


def test_attempts_without_a_gold_answer_go_on_until_a_trace_is_whole():
    rows, _ = distill(gold_column=None, max_attempts=3, require_answer=True)
    assert "reasoning_verdict" not in rows[0]
    assert [row["reasoning_attempts"] for row in rows] == [1, 1, 1, 1]
    generator = ScriptedGenerator(lambda text, seed: Completion("<think>on", "length", 7, 9))
    (row,) = ReasonDistiller(generator, max_attempts=3).apply(ROWS.select([0])).to_list()
    assert (row["reasoning_status"], row["reasoning_attempts"]) == ("truncated", 3)


def test_invalid_rows_are_not_tried_and_options_are_not_needed():
    rows, _ = distill(ROWS.remove_columns("options").add_item({**ROWS[0], "question": "", "options": None}))
    assert (rows[4]["reasoning_status"], rows[4]["reasoning_attempts"]) == ("invalid_input", 0)
    assert rows[4]["reasoning_verdict"] == "unchecked"
    assert [row["reasoning_verdict"] for row in rows[:2]] == ["right", "right"]


def test_a_gold_answer_can_be_the_number_of_an_option():
    numbered = ROWS.remove_columns("answer").add_column("answer", [1, 2, 0, None])
    assert [row["reasoning_verdict"] for row in distill(numbered)[0]] == ["right", "right", "wrong", "unchecked"]


def test_the_gold_answer_changes_neither_prompt_nor_seed(tiny, rows, tmp_path):
    settings = {"max_new_tokens": 6, "journal_dir": tmp_path, "generation_kwargs": {"temperature": 1.0}}
    plain = ReasonDistiller.from_pretrained(tiny, num_samples=3, **settings)
    plain.apply(rows, load_from_cache_file=False)
    checked = ReasonDistiller.from_pretrained(tiny, gold_column="answer", max_attempts=3, **settings)
    distilled = checked.apply(rows, load_from_cache_file=False)
    assert checked.completer.generated == 0  # the attempts are the samples
    assert set(distilled["reasoning_verdict"]) == {"wrong"}
    assert len(checked.select_finished(rows)) == len(rows)
    more = ReasonDistiller.from_pretrained(tiny, gold_column="answer", max_attempts=4, **settings)
    assert len(more.select_finished(rows)) == 0


def test_a_fixed_number_of_samples_and_attempts_do_not_go_together():
    with pytest.raises(ConfigError, match="num_samples=2 and 8 attempts"):
        distill(num_samples=2)


def test_a_result_counts_its_attempts():
    result = Result(prepared=None)
    result.take([Completion("a", "stop", 5, 1), Completion("b", "stop", 6, 1)], lambda completion: 0.0)
    assert (result.attempts, result.prompt_tokens) == (1, 6)
