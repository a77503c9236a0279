"""Traces that suit a student are chosen, and teachers compared by them."""

import logging
import math
import pickle
import statistics
from functools import partial

import pytest
from datasets import Dataset, Features, LargeList, List, Value
from datasets.fingerprint import Hasher

from hf_rare import compare_teachers, select_traces
from hf_rare.errors import BatchTypeError, ColumnError, ConfigError
from hf_rare.scoring.candidates import Candidates
from hf_rare.scoring.suitability import LocalNaturalnessMeasure, RankSurprisalMeasure
from hf_rare.training.one_trace import keep_one_trace

TRACES = ["By [1] it is so.", "The question turns on the situation. It follows from document [1].", "xq zz 77 ##"]


@pytest.fixture
def several() -> Dataset:
    base = {
        "question": "What?",
        "scenario": "",
        "hard_negatives": ["Parts are blue."],
        "reasoning_document_order": [1, 0],
    }
    kept = {"reasoning_answer": ["A", "B", "C"], "reasoning_status": ["ok"] * 3}
    rows = [
        {"reasoning_verdict": ["right"] * 3},
        {"reasoning_verdict": ["unchecked", "wrong", "wrong"]},
        {"reasoning_status": ["truncated", "ok", "ok"], "reasoning_verdict": ["unchecked"] * 3},
        {"reasoning_verdict": ["wrong"] * 3},
    ]
    made = [base | {"text": f"Part {i} counts."} | {"reasoning": TRACES} | kept | row for i, row in enumerate(rows)]
    return Dataset.from_list(made)


@pytest.mark.parametrize(
    ("measure", "kind", "best"),
    [("rank_surprisal", RankSurprisalMeasure, min), ("local_naturalness", LocalNaturalnessMeasure, max)],
)
def test_the_best_of_the_candidates_is_kept(measure, kind, best, several, tiny, caplog):
    column = f"reasoning_{measure}"
    values = kind(tiny).apply(several)[column][:]
    assert len({value for row in values for value in row}) >= 3
    with caplog.at_level(logging.WARNING):
        chosen = select_traces(several, tiny, measure)
    expected = [best(values[0]), values[1][0], best(values[2][1:])]
    assert chosen[column][:] == pytest.approx(expected)
    assert chosen["reasoning"][:] == [TRACES[values[row].index(value)] for row, value in enumerate(expected)]
    assert chosen["reasoning_answer"][1] == "A"
    assert chosen.features["reasoning"] == Value("string")
    assert "1 of 4 rows are left out" in caplog.text


@pytest.mark.parametrize(
    ("measure", "kind"), [("rank_surprisal", RankSurprisalMeasure), ("local_naturalness", LocalNaturalnessMeasure)]
)
def test_only_candidates_are_measured(measure, kind, several, tiny, caplog):
    long = "word " * 900
    rows = several.select([0]).map(
        lambda row: {"reasoning": [*TRACES[:2], long], "reasoning_status": ["ok", "ok", "truncated"]}
    )
    name = f"reasoning_{measure}"
    expected = kind(tiny).apply(several)[name][0]
    settings = {"context_length": 400}
    with caplog.at_level(logging.WARNING):
        chosen = select_traces(rows, tiny, measure, keep=3, **settings)
        table = compare_teachers({"one": rows}, tiny, measure, **settings)
    assert sorted(chosen[name][0]) == pytest.approx(sorted(expected[:2]), rel=1e-4)
    assert table.scores[0].traces == 2
    assert "could not be measured" not in caplog.text
    everything = select_traces(rows, tiny, measure, keep=3, statuses=None, **settings)
    assert sorted(everything[name][0]) == pytest.approx(sorted(expected[:2]), rel=1e-4)
    assert "1 texts could not be measured" in caplog.text


def test_rows_that_are_left_out_are_counted_by_their_reasons(several, tiny, caplog):
    changes = [
        {"reasoning_status": ["truncated", "failed", "truncated"]},
        {"reasoning": ["word " * 900, TRACES[0], TRACES[1]], "reasoning_verdict": ["unchecked", "wrong", "wrong"]},
        {},
    ]
    rows = Dataset.from_list([several[0] | change for change in changes])
    with caplog.at_level(logging.WARNING):
        assert len(select_traces(rows, tiny, context_length=400)) == 1
    assert (
        "2 of 3 rows are left out: no trace of theirs can be chosen. Of their 6 traces: 1 with no text, no prompt or "
        "no room in the student, 1 with status 'failed', 2 with status 'truncated', 2 with verdict 'wrong'. "
        "Pass statuses=None to choose from traces of all statuses." in caplog.text
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert len(select_traces(rows, tiny, context_length=400, statuses=None)) == 2
    assert "1 of 3 rows are left out" in caplog.text
    assert "statuses=None" not in caplog.text


def test_a_row_without_a_list_of_traces_has_none_that_can_be_chosen(several, tiny, caplog):
    names = ["reasoning", "reasoning_answer", "reasoning_status", "reasoning_verdict"]
    rows = Dataset.from_list([several[0], several[1] | dict.fromkeys(names)], features=several.features)
    assert len(select_traces(rows, tiny)) == 1
    assert "1 of 2 rows are left out: no trace of theirs can be chosen. Of their 0 traces: none." in caplog.text


def test_a_selection_is_not_answered_from_the_cache_of_another(several, tiny):
    prints = {
        Hasher.hash(RankSurprisalMeasure(tiny, candidates=one)) for one in (None, Candidates(), Candidates(("ok",)))
    }
    assert len(prints) == 3
    made = pickle.loads(pickle.dumps(RankSurprisalMeasure(tiny, candidates=Candidates(("ok",)))))
    assert made.candidates == Candidates(("ok",))


@pytest.mark.parametrize(("kind", "expected"), [(partial(List, length=3), List), (LargeList, LargeList)])
def test_several_are_kept_of_lists_of_one_length(kind, expected, several, tiny):
    lists = {name: kind(Value("string")) for name in several.features if name.startswith("reasoning_")}
    lists.pop("reasoning_document_order")
    rows = several.cast(Features({**several.features, **lists, "reasoning": kind(Value("string"))}))
    chosen = select_traces(rows, tiny, keep=2)
    assert chosen["reasoning"][:] == select_traces(several, tiny, keep=2)["reasoning"][:]
    assert chosen.features["reasoning"] == expected(Value("string"))


def test_several_are_kept_in_lists_the_best_first(several, tiny):
    values = RankSurprisalMeasure(tiny).apply(several)["reasoning_rank_surprisal"][:]
    chosen = select_traces(several, tiny, keep=2, statuses=None)
    assert chosen["reasoning_rank_surprisal"][:] == [sorted(values[0])[:2], values[1][:1], sorted(values[2])[:2]]
    assert chosen.features["reasoning"] == List(Value("string"))
    assert keep_one_trace(chosen)["reasoning"][1] == TRACES[0]


def test_an_empty_dataset_gets_the_columns(several, tiny):
    assert select_traces(several.select([]), tiny).features["reasoning_rank_surprisal"] == Value("float64")


def test_teachers_are_compared_by_hand(several, tiny):
    column, right = "reasoning_rank_surprisal", several.select([0, 2])
    other = right.map(lambda row: {"reasoning": [TRACES[2]] * 3})
    plain = keep_one_trace(right)
    table = compare_teachers({"mixed": right, "noise": other, "one trace": plain}, tiny)
    values = RankSurprisalMeasure(tiny).apply(right)[column][:]
    means = [statistics.fmean(values[0]), statistics.fmean(values[1][1:])]
    half = 1.959964 * statistics.stdev(means) / math.sqrt(2)
    found = {score.teacher: score for score in table.scores}
    assert found["mixed"].mean == pytest.approx(statistics.fmean(means))
    assert (found["mixed"].low, found["mixed"].high) == pytest.approx(
        (found["mixed"].mean - half, found["mixed"].mean + half)
    )
    assert [(found[name].rows, found[name].traces) for name in ("mixed", "noise", "one trace")] == [
        (2, 5),
        (2, 5),
        (2, 2),
    ]
    assert [score.mean for score in table.scores] == sorted(score.mean for score in table.scores)
    lines = str(table).splitlines()
    assert lines[0] == "| teacher | rank_surprisal | 95 % interval | rows | traces |"
    assert len(lines) == 5
    assert table.to_list()[0]["teacher"] == table.scores[0].teacher


def test_a_teacher_without_traces_comes_last(several, tiny):
    nothing = several.select([3])
    table = compare_teachers({"none": nothing, "some": several.select([0])}, tiny, "local_naturalness")
    assert [score.teacher for score in table.scores] == ["some", "none"]
    assert table.scores[1].rows == 0
    assert math.isnan(table.scores[1].mean)
    assert math.isnan(table.scores[0].low)


def test_what_cannot_be_chosen_or_compared_is_an_error(several, tiny):
    with pytest.raises(ConfigError, match="measure='perplexity' cannot be right: expected 'rank_surprisal' or 'local"):
        select_traces(several, tiny, "perplexity")
    with pytest.raises(ConfigError, match="keep=0 cannot be right"):
        select_traces(several, tiny, keep=0)
    with pytest.raises(ColumnError, match="nothing to choose from"):
        select_traces(keep_one_trace(several), tiny)
    with pytest.raises(ConfigError, match="expected a dict of names and distilled datasets"):
        compare_teachers({}, tiny)
    with pytest.raises(BatchTypeError, match="this is a list"):
        compare_teachers({"a": []}, tiny)
    with pytest.raises(ColumnError, match="no column 'reasoning_status'"):
        compare_teachers({"a": several.remove_columns("reasoning_status")}, tiny)
