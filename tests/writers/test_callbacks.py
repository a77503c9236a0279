"""Callbacks: what they are told of a run equals its summary, and nothing that they do changes it."""

import contextlib
import itertools
import logging
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import datasets
import pytest
from datasets import Dataset, DatasetDict
from datasets.fingerprint import Hasher

from hf_rare import (
    AnswerJudge,
    BudgetReachedError,
    Callback,
    Completion,
    ConfigError,
    GenerationError,
    QueryGenerator,
    ReasonDistiller,
    RunEnd,
    RunProgress,
    Summary,
    evaluate,
)
from hf_rare.writers.recipe import make_recipe
from tests.conftest import REPOSITORY
from tests.support import loggers
from tests.support.pages import Page, enter_fixture, run_blocks, stand_ins_fixture  # noqa: F401
from tests.support.scripted import ScriptedGenerator


class Noting(Callback):
    """Notes what it is told. A lock makes sure that nobody pickles it."""

    def __init__(self, interval=0.0):
        self.interval = interval
        self.lock = threading.Lock()
        self.events = []

    def on_run_begin(self, begin):
        self.events.append(begin)

    def on_progress(self, progress):
        self.events.append(progress)

    def on_run_end(self, end):
        self.events.append(end)

    @property
    def names(self):
        return [type(event).__name__ for event in self.events]

    @property
    def progress(self) -> list[RunProgress]:
        return [event for event in self.events if isinstance(event, RunProgress)]

    @property
    def end(self) -> RunEnd:
        (end,) = (event for event in self.events if isinstance(event, RunEnd))
        assert self.events[-1] is end
        return end


class ByName(ScriptedGenerator):
    """Answers a question's last word; it pickles to nothing, as a generator must to little."""

    def __init__(self):
        super().__init__(answer, is_sampling=False)

    def __reduce__(self):
        return type(self), ()


def answer(text, seed):
    if "rule 3" in text:
        return Completion("", "error", 0, 0, "it fails")
    return "<think>It follows." if "rule 4" in text else "<think>It follows.</think><answer>So.</answer>"


def make(*callbacks, write=answer, **settings):
    settings = {"journal_dir": None, **settings}
    return ReasonDistiller(ScriptedGenerator(write, is_sampling=False), callbacks=list(callbacks), **settings)


@pytest.fixture
def bad(rows) -> Dataset:
    """The rows, with one that has no question."""
    return rows.add_item({**rows[0], "question": ""})


STATUSES = {"ok": 4, "failed": 1, "unparsed": 1, "invalid_input": 1}


@pytest.mark.parametrize("journal", [None, "journal"])
def test_a_run_is_told_from_its_beginning_to_its_end(bad, tmp_path, journal):
    noting = Noting()
    distill_fn = make(noting, journal_dir=journal and tmp_path / journal)
    distill_fn.apply(bad, batch_size=2)
    begin, *_, last, end = noting.events
    assert noting.names == ["RunBegin", *["RunProgress"] * len(noting.progress), "RunEnd"]
    assert (begin.kind, begin.rows, begin.rank, begin.world_size) == ("distill", len(bad), 0, 1)
    assert begin.recipe == make_recipe(make())
    assert (end.how, end.error) == ("finished", "")
    assert end.progress is last
    assert end.summary == last.summary == distill_fn.summary
    assert dict(end.summary.statuses) == STATUSES
    assert end.summary.generated == len(bad) - 1
    assert (last.rows, last.rows_begun, last.rows_ended, last.rows_ended_by_all, last.found) == (7, 7, 7, 7, 0)
    for name in ("rows_begun", "rows_ended", "rows_ended_by_all"):
        numbers = [getattr(progress, name) for progress in noting.progress]
        assert numbers == sorted(numbers)
    assert all(0 <= one.rows_ended <= one.rows_begun <= one.rows for one in noting.progress)
    assert len({one.summary.statuses.total() for one in noting.progress}) > 4


def test_the_numbers_are_those_of_the_summary(bad):
    noting = Noting()
    make(noting).apply(bad)
    numbers = noting.progress[-1].numbers()
    assert numbers.items() >= noting.end.summary.numbers().items()
    assert {name: numbers[f"status/{name}"] for name in STATUSES} == STATUSES
    assert numbers["generated_tokens"] == 3 * 5
    assert numbers["tokens_per_second"] == pytest.approx(numbers["generated_tokens"] / numbers["seconds"])
    assert all(isinstance(number, int | float) for number in numbers.values())


@pytest.mark.parametrize("settings", [{"num_samples": 2}, {"num_samples": 2, "expand": True}, {"max_attempts": 3}])
def test_samples_and_attempts_are_counted_as_the_summary_does(bad, tmp_path, settings):
    noting = Noting()
    generator = ScriptedGenerator(lambda text, seed: answer(text, seed) if seed % 2 else "<think>So")
    distill_fn = ReasonDistiller(generator, callbacks=[noting], journal_dir=tmp_path, **settings)
    distill_fn.apply(bad, batch_size=3)
    assert noting.progress[-1].summary == noting.end.summary == distill_fn.summary


def test_what_the_journal_has_is_found_and_not_generated(bad, tmp_path):
    make(journal_dir=tmp_path).apply(bad.select(range(2)))
    noting = Noting()
    make(noting, journal_dir=tmp_path).apply(bad, load_from_cache_file=False)
    last = noting.progress[-1]
    assert (last.found, last.summary.generated, last.rows_ended) == (2, 4, 7)


def test_another_run_is_counted_by_itself(rows):
    noting = Noting(interval=1000)
    distill_fn = make(noting)
    distill_fn.apply(rows.select(range(2)))
    del noting.events[:]
    distill_fn.apply(rows.select(range(2, 6)))
    assert noting.names == ["RunBegin", "RunProgress", "RunEnd"]  # the last progress comes however soon that is
    assert noting.end.summary.generated == noting.end.summary.statuses.total() == 4
    assert noting.progress[-1].summary.generated_tokens == noting.end.summary.generated_tokens == 3 * 3
    assert distill_fn.summary.generated == 6


def test_progress_comes_at_most_once_in_an_interval(rows, monkeypatch):
    now = 0.0
    monkeypatch.setattr("hf_rare.writers.reporter.time", SimpleNamespace(monotonic=lambda: now))

    def write(text, seed):
        nonlocal now
        now += 0.03
        time.sleep(0.03)
        return "So."

    class Timing(Noting):
        def on_progress(self, progress):
            super().on_progress(progress)
            times.append(now)

    times: list[float] = []
    often, seldom = Noting(), Timing(interval=0.08)
    make(often, seldom, write=write).apply(datasets.concatenate_datasets([rows, rows.map(another)]))
    assert len(often.progress) > 2 * len(rows) + 1
    assert len(times) > 2
    assert all(second - first >= 0.08 - 1e-9 for first, second in itertools.pairwise(times[:-1]))
    rates = [progress.tokens_per_second for progress in seldom.progress]
    assert all(0 <= rate <= 3 * 2 / 0.03 for rate in rates)
    assert max(rates[:-1]) > 0


def another(row):
    return {"question": f"{row['question']} And then?"}


def test_a_function_gets_every_progress(rows):
    seen = []
    make(seen.append).apply(rows)
    assert [type(event) for event in seen] == [RunProgress]
    assert seen[0].rows_ended == len(rows)


def test_map_is_a_run_that_ends_where_one_says_so(rows, tmp_path):
    noting = Noting()
    distill_fn = make(noting, journal_dir=tmp_path)
    with distill_fn.running(len(rows)):
        distill_fn.apply(rows.select([0]).map(another))
        for part in (rows.select(range(2)), rows.select(range(2, 6))):
            part.map(distill_fn, batched=True, batch_size=1)
    assert noting.names.count("RunBegin") == 1
    assert noting.end.how == "finished"
    assert noting.end.summary == noting.progress[-1].summary == distill_fn.summary
    assert noting.progress[-1].rows == 6
    assert noting.progress[-1].rows_ended == 7


def test_map_alone_is_a_run_whose_end_is_not_known(rows):
    noting = Noting()
    distill_fn = make(noting)
    rows.map(distill_fn, batched=True, batch_size=2)
    assert noting.events[0].rows is None
    assert noting.names.count("RunBegin") == 1
    assert "RunEnd" not in noting.names
    distill_fn.apply(rows.map(another))
    first, second = (event for event in noting.events if isinstance(event, RunEnd))
    assert (first.how, second.how) == ("unknown", "finished")
    assert first.summary.statuses.total() == second.summary.statuses.total() == 6


SCRIPT = """
from hf_rare import Callback, ReasonDistiller, load_demo_dataset
from tests.support.scripted import ScriptedGenerator

class Saying(Callback):
    def on_run_end(self, end):
        print(end.how, end.summary.statuses.total())

distill_fn = ReasonDistiller(ScriptedGenerator(lambda text, seed: "So."), callbacks=[Saying()], journal_dir=None)
load_demo_dataset().select(range(3)).map(distill_fn, batched=True)
print("done")
"""


@pytest.mark.slow
def test_the_end_of_a_map_comes_with_that_of_the_process():
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=REPOSITORY, capture_output=True, text=True, timeout=100)
    assert done.stdout.split("\n") == ["done", "unknown 3", ""], done.stderr


def interrupt(text, seed):
    if "rule 2" in text:
        raise KeyboardInterrupt
    return "So."


ENDS = {
    "limit": ({"max_rows": 2}, answer, BudgetReachedError, "max_rows=2 is reached"),
    "failed": ({"on_error": "raise"}, answer, GenerationError, "A row failed: it fails"),
    "interrupted": ({}, interrupt, KeyboardInterrupt, "KeyboardInterrupt"),
}


@pytest.mark.parametrize("way", ["map", "apply", "apply with a journal"])
@pytest.mark.parametrize("how", ENDS)
def test_the_end_says_how_it_came(rows, tmp_path, how, way):
    settings, write, error, words = ENDS[how]
    noting = Noting()
    journal = tmp_path if way == "apply with a journal" else None
    distill_fn = make(noting, write=write, journal_dir=journal, **settings)
    with pytest.raises(error):
        rows.map(distill_fn, batched=True) if way == "map" else distill_fn.apply(rows)
    assert noting.end.how == how
    assert words in noting.end.error
    generated = noting.progress[-1].summary.generated
    assert generated == noting.end.summary.generated == distill_fn.completer.generated > 0


class Broken(Callback):
    interval = 0.0

    def __init__(self, name):
        self.calls = 0
        setattr(self, name, self.fail)

    def fail(self, event):
        self.calls += 1
        raise ValueError("the logger is down, with the key hf_abcdefghijklmnopqrstuvwxyzabcdefgh")


@pytest.mark.parametrize("name", ["on_run_begin", "on_progress", "on_run_end"])
def test_a_callback_that_raises_is_logged_once_and_left_out(rows, tmp_path, caplog, name):
    noting, broken = Noting(), Broken(name)
    distilled = make(broken, noting, journal_dir=tmp_path).apply(rows)
    assert distilled[:] == make().apply(rows)[:]
    assert broken.calls == 1
    assert noting.end.how == "finished"
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert f"The callback Broken has failed in {name} and is left out" in record.message
    assert "ValueError: the logger is down" in record.message
    assert "hf_abc" not in record.message


def test_callbacks_change_no_fingerprint_and_no_recipe_and_are_not_pickled(rows, tmp_path):
    rows.to_parquet(tmp_path / "rows.parquet")
    stored = Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path / "cache"))
    without = ReasonDistiller(ByName(), journal_dir=None)
    noting = Noting()
    with_callback = ReasonDistiller(ByName(), journal_dir=None, callbacks=[noting, lambda progress: None])
    assert Hasher.hash(with_callback) == Hasher.hash(without)
    assert make_recipe(with_callback) == make_recipe(without)
    expected = stored.map(without, batched=True)
    again = stored.map(with_callback, batched=True)
    assert again._fingerprint == expected._fingerprint
    assert with_callback.generator.asked == []  # it was in the cache of datasets, so that there was nothing to tell
    assert noting.events == []


def test_the_journal_of_a_run_without_callbacks_is_that_of_one_with(rows, tmp_path):
    make(Noting(), journal_dir=tmp_path).apply(rows)
    again = make(journal_dir=tmp_path)
    again.apply(rows, load_from_cache_file=False)
    assert again.generator.asked == []


@pytest.mark.slow
def test_with_workers_apply_tells_of_the_beginning_and_the_end(rows, tmp_path, monkeypatch):
    noting, logger = Noting(), logging.getLogger("hf_rare")
    distill_fn = ReasonDistiller(ByName(), journal_dir=None, callbacks=[noting])
    splits = DatasetDict(train=rows.select(range(4)), test=rows.select(range(4, 6)))
    with contextlib.closing(logging.FileHandler(tmp_path / "log")) as handler:
        monkeypatch.setattr(logger, "handlers", [*logger.handlers, handler])
        written = distill_fn.apply(splits, num_proc=2)
    begin, *_, last, end = noting.events
    assert (begin.rows, last.rows_ended) == (6, 6)
    summaries = [Summary.of_dataset(split) for split in written.values()]
    assert dict(end.summary.statuses) == dict(summaries[0].statuses + summaries[1].statuses)
    assert last.summary == end.summary
    assert "callbacks= stay with the process that calls map" in (tmp_path / "log").read_text()


def test_every_writer_and_its_companions_tell(rows, tmp_path):
    text = '{"questions": [{"question": "Why?", "scenario": ""}]}'
    noting = Noting()
    query_fn = QueryGenerator(ScriptedGenerator(lambda *prompt: text), journal_dir=tmp_path / "q", callbacks=[noting])
    query_fn.apply(rows.select_columns("text"))
    assert noting.events[0].kind == "questions"
    assert noting.progress[-1].summary == noting.end.summary == query_fn.summary
    judging, distilling = Noting(), Noting()
    verdict = ScriptedGenerator(lambda *prompt: '{"verdict": "right"}', is_sampling=False)
    judge = AnswerJudge(verdict, journal_dir=tmp_path / "judge", callbacks=[judging])
    make(distilling, gold_column="answer", judge=judge, journal_dir=tmp_path / "d").apply(rows)
    assert (judging.events[0].kind, distilling.events[0].kind) == ("judge", "distill")
    assert judging.end.how == distilling.end.how == "finished"
    assert judging.end.summary == judge.summary


def test_evaluate_tells_of_each_student(rows):
    noting = Noting(interval=1000)
    students = {name: ScriptedGenerator(answer, name, is_sampling=False) for name in ("small", "large")}
    evaluate(students, rows, conditions=["positive"], callbacks=[noting], journal_dir=None)
    assert noting.names == ["RunBegin", "RunProgress", "RunEnd"] * 2
    begins = noting.events[::3]
    assert [begin.recipe["identity"]["model_id"] for begin in begins] == ["small", "large"]
    assert {begin.kind for begin in begins} == {"evaluate"}
    assert [end.summary.statuses.total() for end in noting.events[2::3]] == [6, 6]


def test_a_writer_of_other_settings_keeps_the_callbacks(rows):
    noting = Noting()
    make(noting).with_run(max_hours=1).apply(rows)
    assert noting.end.summary.statuses.total() == 6


def test_a_stream_is_a_run_too(rows):
    noting = Noting()
    distill_fn = make(noting)
    stream = distill_fn.apply(rows.to_iterable_dataset(), batch_size=2)
    assert noting.events == []
    with distill_fn.running():
        assert len(list(stream)) == 6
    assert noting.end.summary.statuses.total() == 6


class Slow(Callback):
    interval = "often"


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        ([Callback], r"holds the class Callback; expected an object of it: Callback\(\)"),
        (["trackio"], "holds a str; expected a Callback, or a function that takes a RunProgress"),
        ("trackio", "callbacks='trackio' cannot be right: expected a list"),
        (Noting(), "expected a list of Callback objects"),
        ([Slow()], "interval of the callback Slow is 'often'; expected seconds"),
        ([Noting(-1)], "is -1; expected seconds"),
        ([Noting(float("nan"))], "is nan; expected seconds"),
    ],
)
def test_what_is_no_callback_is_refused(callbacks, words):
    with pytest.raises(ConfigError, match=words):
        ReasonDistiller(ScriptedGenerator(answer), callbacks=callbacks)


PAGE = Page(REPOSITORY / "docs" / "callbacks.md")


@pytest.mark.slow
def test_the_loggers_of_the_page_get_the_run(enter, monkeypatch, capsys):
    trackio, wandb = loggers.make_trackio(), loggers.make_wandb()
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    folder = enter("".join(block.text for block in PAGE.blocks_of("python")))
    for _ in run_blocks(PAGE, folder):
        pass
    assert "6 rows, " in capsys.readouterr().out
    assert (len(trackio.runs), len(wandb.runs)) == (1, 2)  # those of `apply`, and one of `map`
    for run in (*trackio.runs, *wandb.runs):
        assert run.is_finished
        assert run.config["kind"] == "distill"
        last = run.logged[-1]
        assert last["rows_begun"] == last["rows_ended"] == last["generated"] == 6
        assert sum(count for name, count in last.items() if name.startswith("status/")) == 6
    assert [run.exit_code for run in wandb.runs] == [0, 0]
