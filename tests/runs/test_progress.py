import logging
import re
import time

import datasets
import pytest

from hf_rare import Completion, ReasonDistiller
from hf_rare.runs.progress import RowProgress
from hf_rare.writers.summary import Summary


class EagerBar(datasets.utils.tqdm):
    """A bar that is redrawn with every change."""

    def __init__(self, **settings):
        super().__init__(**{**settings, "mininterval": 0, "miniters": 0, "delay": 0})


def test_the_bar_counts_rows_and_tokens_per_second(capsys, monkeypatch):
    monkeypatch.setattr("hf_rare.runs.progress.tqdm", EagerBar)
    with RowProgress(4) as progress:
        progress.add_tokens(1000, 10)
        progress.finish([0], done=1)
        progress.finish([1, 2], done=3)
        bar = capsys.readouterr().err
    assert "Writing" in bar
    assert "3/4" in bar.split("\r")[-1]
    assert "prompt + " in bar
    assert "generated tokens/s" in bar
    assert "at most" not in bar, "a generator that does not say how long its completions can be"


def test_tokens_per_second_are_those_of_the_whole_time(capsys, monkeypatch):
    monkeypatch.setattr("hf_rare.runs.progress.tqdm", EagerBar)
    now = 100.0
    monkeypatch.setattr("hf_rare.runs.progress.time.perf_counter", lambda: now)
    with RowProgress(4) as progress:
        progress.start()
        now += 4
        progress.add_tokens(800, 64)  # as a server tells it, whose answers come whole
        now += 4
        progress.add_tokens(0, 16)
        progress.add_tokens(0, 0)
        assert "100 prompt + 10 generated tokens/s" in capsys.readouterr().err


def test_the_bar_says_how_many_tokens_there_are_of_the_most_that_there_can_be(capsys, monkeypatch):
    monkeypatch.setattr("hf_rare.runs.progress.tqdm", EagerBar)
    with RowProgress(4, most_tokens=100) as progress:
        list(progress.follow(iter([range(3)])))
        progress.take(3)
        progress.add_tokens(15, 3)
        begun = capsys.readouterr().err
        progress.add_completions([Completion("", "stop", 5, tokens) for tokens in (40, 70)])
        progress.add_tokens(0, 137)
        later = capsys.readouterr().err
        progress.add_tokens(0, 1100)
        beyond = capsys.readouterr().err
    assert "3 begun, 3 of at most 300 tokens, " in begun
    assert "3 begun, 140 of at most 210 tokens, " in later
    assert "1,240 of at most 1,240 tokens" in beyond, "a server may count more than it was asked for"


def test_where_nothing_is_generated_the_bar_says_rows_alone(capsys, monkeypatch):
    monkeypatch.setattr("hf_rare.runs.progress.tqdm", EagerBar)
    with RowProgress(4) as progress:
        list(progress.follow(iter([range(3)])))
        progress.add_tokens(0, 0)
        bar = capsys.readouterr().err
    assert "3 begun" in bar
    assert "tokens" not in bar


def test_a_log_gets_a_line_a_minute_in_the_place_of_a_bar(capsys, caplog, monkeypatch):
    datasets.disable_progress_bars()
    now = 1000.0
    monkeypatch.setattr("hf_rare.runs.progress.time.perf_counter", lambda: now)
    try:
        with caplog.at_level(logging.INFO), RowProgress(14, description="Distilling") as progress:
            list(progress.follow(iter([range(8), range(4)])))
            for _ in range(130):
                now += 1.0
                progress.add_tokens(0, 10)
                progress.finish([], done=3)
    finally:
        datasets.enable_progress_bars()
    lines = [record.message for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("Distilling: 3 of 14 rows ended, 12 begun, 600 tokens, ")
    assert capsys.readouterr().err == ""


def test_the_time_that_is_left_is_reckoned_from_what_is_written_and_not_from_what_was_found(capsys, monkeypatch):
    monkeypatch.setattr("hf_rare.runs.progress.tqdm", EagerBar)
    with RowProgress(1_000_000) as progress:
        progress.finish(range(999_000), done=999_000)
        progress.start()
        for done in range(999_001, 999_011):
            time.sleep(0.01)
            progress.finish([0], done)
        last = capsys.readouterr().err.split("\r")[-1]
    left = re.search(r"<(?:(\d+):)?(\d\d):(\d\d)", last)
    assert int(left[2]) * 60 + int(left[3]) >= 9  # 990 rows of at least 0.01 seconds each


def test_the_bar_obeys_the_switch_of_datasets(capsys, rows, distill_fn):
    datasets.disable_progress_bars()
    try:
        rows.map(distill_fn, batched=True, keep_in_memory=True)
    finally:
        datasets.enable_progress_bars()
    assert "row/s" not in capsys.readouterr().err


def test_the_summary_of_a_run_is_that_of_its_columns(rows, distill_fn, caplog):
    bad = rows.add_item({**rows[0], "question": ""})
    with caplog.at_level(logging.INFO, logger="hf_rare"):
        distilled = bad.map(distill_fn, batched=True, batch_size=3)
    summary = distill_fn.summary
    assert summary.statuses.total() == len(bad)
    assert summary.statuses["invalid_input"] == 1
    assert summary.prompt_tokens == sum(distilled["reasoning_prompt_tokens"])
    assert summary.completion_tokens == sum(distilled["reasoning_completion_tokens"])
    assert summary.seconds > 0
    assert summary.generated == len(rows)
    assert summary.generated_tokens == summary.completion_tokens
    counted = Summary.of_dataset(distilled)
    assert (counted.statuses, counted.prompt_tokens) == (summary.statuses, summary.prompt_tokens)
    assert counted.completion_tokens == summary.completion_tokens
    assert "1 invalid_input" in str(summary)
    assert f"{len(rows)} generated now in" in str(summary)
    assert len([record for record in caplog.records if record.message.startswith("Distilling")]) == 3


@pytest.mark.parametrize("expand", [False, True])
def test_the_summary_counts_samples_as_traces(rows, tiny, expand):
    distill_fn = ReasonDistiller.from_pretrained(
        tiny, max_new_tokens=4, num_samples=2, expand=expand, generation_kwargs={"temperature": 1.0}
    )
    distilled = distill_fn.apply(rows)
    summary = Summary.of_dataset(distilled)
    assert summary.statuses.total() == 2 * len(rows)
    assert summary.statuses == distill_fn.summary.statuses
    assert summary.completion_tokens == distill_fn.summary.completion_tokens
    assert summary.prompt_tokens == distill_fn.summary.prompt_tokens


def test_an_empty_summary():
    assert str(Summary()) == "0 traces: none; 0 prompt tokens, 0 tokens of traces"
