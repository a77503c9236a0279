"""A judge of answers: on its own, and within rejection sampling."""

import pickle
import time

import pytest
from datasets import Dataset
from datasets.fingerprint import Hasher

from hf_rare import ReasonDistiller
from hf_rare.checks.verify import verify
from hf_rare.errors import ConfigError, RecipeError
from hf_rare.generation.protocol import Completion
from hf_rare.writers.judge import AnswerJudge, parse_verdict
from hf_rare.writers.recipe import make_recipe
from tests.support.scripted import ScriptedGenerator

ANSWERS = Dataset.from_dict(
    {
        "question": ["When is it high?", "When is it low?", "Where?", "Why?"],
        "gold": ["at flood", "at ebb", "here", None],
        "answer": ["When the flood comes in.", "At flood.", "no idea", "because"],
    }
)


def judge_by_words(text: str, seed: int) -> str | Completion:
    gold = text.partition("The right answer: ")[2].split("\n")[0].removeprefix("at ")
    answer = text.partition("A student's answer: ")[2].split("\n")[0]
    if answer == "no idea":
        return "I cannot tell."
    verdict = "right" if gold in answer.lower() else "wrong"
    return f'<think>Is it right or wrong?</think>{{"reason": "it says {gold}", "verdict": "{verdict}"}}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"reason": "same", "verdict": "Right"}', ("right", "same")),
        ('Draft {"verdict": "right"} then {"verdict": "wrong", "reason": 3}', ("wrong", "")),
        ("The answer is incorrect.", ("wrong", "The answer is incorrect.")),
        ("Correct.", ("right", "Correct.")),
        ("It is right here and wrong there.", ("unchecked", "")),
        ("verdict: wrong", ("wrong", "verdict: wrong")),
        ("It says flood.\n\n**Verdict:** Right", ("right", "It says flood.\n\n**Verdict:** Right")),
        ("At first it seems wrong. So the student\u2019s answer is correct!", None),
        ("The student's answer is not correct.", ("wrong", "The student's answer is not correct.")),
        ("The student's answer isn't right.", ("wrong", "The student's answer isn't right.")),
        ("The student's answer isn't wrong.", ("unchecked", "")),
        ("The student's answer does not match the right answer.", ("unchecked", "")),
        ("Is it right?", ("unchecked", "")),
        ("Is it right? Correct.", None),
        ("Correct. But the student names another place.", ("unchecked", "")),
        ("The gold answer is the right answer.", ("unchecked", "")),
        ('{"reason": "The right answer names flood, and the', ("unchecked", "")),
        ('{"verdict": "maybe"}', ("unchecked", "")),
        ("", ("unchecked", "")),
    ],
)
def test_verdicts_are_read(text, expected):
    assert parse_verdict(text) == (expected or ("right", text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"reason": "The right answer names flood, and the', ("truncated", "unchecked")),
        ("The right answer is wrong", ("truncated", "unchecked")),
        ("The answer is correct", ("truncated", "unchecked")),
        ('{"reason": "same", "verdict": "right"} This is', ("ok", "right")),
    ],
)
def test_of_a_judgement_that_is_cut_json_alone_counts(text, expected):
    judge = AnswerJudge(ScriptedGenerator(lambda prompt, seed: Completion(text, "length", 7, 9)), max_attempts=1)
    (row,) = judge.apply(ANSWERS.select([0])).to_list()
    assert (row["verdict_status"], row["verdict"]) == expected


def test_a_long_judgement_without_an_end_takes_no_time():
    start = time.process_time()
    assert parse_verdict("right answer " * 10_000) == ("unchecked", "")
    assert parse_verdict("\n " * 10_000 + "{") == ("unchecked", "")
    assert time.process_time() - start < 2


def test_answers_are_judged_in_map():
    judge = AnswerJudge(ScriptedGenerator(judge_by_words))
    judged = ANSWERS.map(judge, batched=True)
    assert judged["verdict"][:] == ["right", "wrong", "unchecked", "unchecked"]
    assert judged["verdict_reason"][:2] == ["it says flood", "it says ebb"]
    assert judged["verdict_status"][:] == ["ok", "ok", "unparsed", "invalid_input"]
    assert judged["verdict_attempts"][:] == [1, 1, 3, 0]
    assert judge.compare([]) == []


def test_a_judge_decides_on_attempts(tmp_path):
    written = {}

    def teacher(text, seed):
        attempt = written[text] = written.get(text, 0) + 1
        return f"<think>Attempt {attempt}.</think>It comes with the {'ebb' if attempt < 3 else 'flood'}."

    def make():
        judge = AnswerJudge(ScriptedGenerator(judge_by_words, "judge"), journal_dir=tmp_path)
        return ReasonDistiller(
            ScriptedGenerator(teacher), gold_column="gold", judge=judge, max_attempts=4, journal_dir=tmp_path
        )

    rows = (
        ANSWERS.select([0]).add_column("text", ["t"]).add_column("hard_negatives", [[]]).add_column("scenario", [""])
    )
    distill_fn = make()
    (row,) = distill_fn.apply(rows).to_list()
    assert (row["reasoning"], row["reasoning_verdict"], row["reasoning_attempts"]) == ("Attempt 3.", "right", 3)
    assert len(distill_fn.judge.generator.asked) == 2  # the first two answers are equal
    again = make()
    assert again.apply(rows, load_from_cache_file=False).to_list() == [row]
    assert again.generator.asked == again.judge.generator.asked == []  # both have a journal
    assert len(again.select_finished(rows)) == 1


def test_a_judge_travels_with_the_distiller(tiny):
    judge = AnswerJudge.from_pretrained(tiny, max_new_tokens=5)
    distill_fn = ReasonDistiller.from_pretrained(tiny, max_new_tokens=4, gold_column="answer", judge=judge)
    copy = pickle.loads(pickle.dumps(distill_fn))
    assert copy.judge.config == judge.config
    assert Hasher.hash(copy) == Hasher.hash(distill_fn)
    other = ReasonDistiller.from_pretrained(tiny, max_new_tokens=4, gold_column="answer")
    assert Hasher.hash(other) != Hasher.hash(distill_fn)
    recipe = make_recipe(distill_fn)
    assert recipe["judge"]["kind"] == "judge"
    assert "judge" not in make_recipe(other)
    with pytest.raises(RecipeError, match="were made with a judge"):
        ReasonDistiller.from_recipe(recipe, model_id=tiny)
    judge = AnswerJudge.from_recipe(recipe["judge"], model_id=tiny)
    again = ReasonDistiller.from_recipe(recipe, model_id=tiny, judge=judge)
    assert Hasher.hash(again) == Hasher.hash(distill_fn)


def test_a_judge_needs_gold_answers(tiny):
    with pytest.raises(ConfigError, match="needs gold_column"):
        ReasonDistiller.from_pretrained(tiny, judge=AnswerJudge(ScriptedGenerator(str)))


def test_verify_by_a_judge():
    rows = Dataset.from_dict(
        {
            "question": ["When?", "When?", "When?", "Where?"],
            "gold": ["at flood", "at flood", None, "here"],
            "reasoning": [["Flood it is.", "Ebb it is."], ["At flood", ""], ["At flood."], ["It is here"]],
            "reasoning_status": [["ok", "ok"], ["truncated", "empty"], ["ok"], ["ok"]],
        }
    )
    judge = AnswerJudge(ScriptedGenerator(judge_by_words))
    checked = verify(rows, "gold", judge=judge)
    assert checked["reasoning_verdict"][:] == [["right", "wrong"], ["wrong", "unchecked"], ["unchecked"], ["right"]]
    assert len(judge.generator.asked) == 3  # neither what is not whole nor what has no gold answer
