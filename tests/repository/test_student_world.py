"""The made-up world of the student's benchmark: its splits share nothing, its answers and its teacher are right."""

import pickle
import re

import pytest
from datasets import Dataset

from benchmarks.student_rules import KINDS
from benchmarks.student_world import (
    ABSTENTION,
    TEMPLATE,
    ScriptedTeacher,
    leave_out_positives,
    list_places,
    make_problems,
    make_rows,
)
from hf_rare import ReasonDistiller, check_answer, to_sft
from hf_rare.checks.citations import find_citations

COUNT = 300


def numbers_in(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def answer_by_hand(row: dict, text: str) -> str:
    """The answer that a document gives, read out of the row's texts alone."""
    numbers = numbers_in(text)
    given = numbers_in(row["scenario"])
    if "Boats leave" in text or "the first boat" in text:
        first, interval = (numbers[2], numbers[0]) if "Boats leave" in text else (numbers[1], numbers[2])
        minute, arrival = 480 + first, 60 * given[0] + given[1]
        while minute < arrival:
            minute += interval
        return f"{minute // 60}:{minute % 60:02}"
    if "erry" in text:
        return str(sum([numbers[0]] * given[0]))
    if "ibrary" in text:
        return str(sum([numbers[1]] * given[0]))
    if "useum" in text:
        return str(numbers[0] - numbers[1])
    if "ermit" in text:
        days = numbers[1] if text.startswith("Whoever") else numbers[0]
        return str(given[0] + days)
    return str(numbers[1] - numbers[0])


@pytest.fixture(scope="module", params=["train", "test"])
def rows(request) -> Dataset:
    return make_rows(request.param, COUNT)


def test_answers_are_what_the_documents_say(rows):
    for row in rows:
        assert row["answer"] == answer_by_hand(row, row["text"]), row
        assert row["changed_answer"] == answer_by_hand(row, row["changed_text"]), row
        others = [answer_by_hand(row, text) for text in row["hard_negatives"]]
        assert len({row["answer"], row["changed_answer"], *others}) == 2 + len(others)


def test_no_place_and_no_wording_of_a_question_is_in_both_splits():
    assert not set(list_places("train")) & set(list_places("test"))
    for kind in KINDS.values():
        train, test = (kind.questions[split] for split in ("train", "test"))
        for part in (0, 1):
            assert not {wording[part] for wording in train} & {wording[part] for wording in test}
    asked = {}
    for split in ("train", "test"):
        problems = make_problems(split, COUNT)
        places = [rule.place for one in problems for rule in (one.rule, *one.negatives)]
        assert len(set(places)) == len(places) == 4 * COUNT
        assert set(places) <= set(list_places(split))
        assert {one.rule.kind for one in problems} == set(KINDS)
        masked = [f"{one.scenario} {one.question.replace(one.rule.place, 'X')}" for one in problems]
        asked[split] = {re.sub(r"\d+", "0", text) for text in masked}
    assert not asked["train"] & asked["test"]


def test_rows_are_unique_and_always_the_same(rows):
    assert len(set(rows["text"])) == len(set(rows["question"])) == len(rows)
    assert make_rows("train", 20).to_list() == make_rows("train", 40).select(range(20)).to_list()
    assert set(make_rows("train", 40, seed=1)["text"]) != set(make_rows("train", 40)["text"])
    assert max(len(row["text"].split()) for row in rows) < 30
    with pytest.raises(ValueError, match="places"):
        make_rows("train", 5000)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_teachers_traces_are_right_and_cite_the_positive(split, tmp_path):
    rows = make_rows(split, 60)
    teacher = ScriptedTeacher(split, 60)
    distiller = ReasonDistiller(teacher, template=TEMPLATE, gold_column="answer", require_answer=True)
    traces = distiller.apply(rows)
    assert set(traces["reasoning_status"]) == {"ok"}
    assert set(traces["reasoning_verdict"]) == {"right"}
    for row in traces:
        assert row["reasoning_answer"] == row["answer"]
        assert check_answer(row["answer"], row["reasoning_answer"]).outcome == "right"
        assert check_answer(row["changed_answer"], row["reasoning_answer"]).outcome == "wrong"
        place = row["reasoning_positive_position"]
        assert find_citations(row["reasoning"]) == [place]
        (quote,) = [line for line in row["reasoning"].splitlines() if line.startswith(f"[{place}] says: ")]
        assert row["text"].startswith(quote.removeprefix(f"[{place}] says: "))
    assert len(set(traces["reasoning"])) == 60
    exported = to_sft(traces, recipe=distiller)
    assert exported[0]["completion"][0]["content"].endswith(f"<answer>{traces[0]['answer']}</answer>")


def test_the_teacher_goes_by_what_its_documents_say():
    rows = make_rows("test", 30)
    teacher = ScriptedTeacher("test", 30)
    changed = rows.map(lambda row: {"text": row["changed_text"], "answer": row["changed_answer"]})
    asked = {"template": TEMPLATE, "gold_column": "answer"}
    assert set(ReasonDistiller(teacher, **asked).apply(changed)["reasoning_verdict"]) == {"right"}
    without = ReasonDistiller(teacher, **asked).apply(leave_out_positives(rows))
    assert set(without["reasoning_answer"]) == {ABSTENTION}
    assert set(without["reasoning_verdict"]) == {"right"}
    assert all("None of the documents is about" in trace for trace in without["reasoning"])
    assert all(len(row["hard_negatives"]) == 2 for row in without)
    assert teacher.write(rows[0]["question"]).endswith(f"<answer>{ABSTENTION}</answer>")
    with pytest.raises(ValueError, match="made for these rows"):
        teacher.write("What of it?")
    again = pickle.loads(pickle.dumps(teacher))
    assert again.identity() == teacher.identity()
