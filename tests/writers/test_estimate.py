from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_rare import ReasonDistiller
from hf_rare.cli.main import main
from hf_rare.errors import ColumnError, ConfigError
from hf_rare.generation.protocol import EncodedPrompt, Job
from hf_rare.writers.estimate import Clock, count_steps, expected_longest, spread

PROMPT = EncodedPrompt([], "", [1, 2, 3])


def test_an_estimate_counts_tokens_and_leaves_no_trace(rows, tiny, tmp_path):
    distill_fn = ReasonDistiller.from_pretrained(tiny, max_new_tokens=12, journal_dir=tmp_path / "journal")
    bad = rows.add_item({**rows[0], "question": ""})
    estimate = distill_fn.estimate(bad, rows=4)
    assert not (tmp_path / "journal").exists()
    distilled = distill_fn.apply(bad)
    assert (estimate.rows, estimate.invalid_rows, estimate.sample) == (7, 1, 4)
    assert estimate.prompt_tokens == sum(distilled["reasoning_prompt_tokens"])
    assert estimate.completion_tokens == pytest.approx(sum(distilled["reasoning_completion_tokens"]), rel=0.5)
    assert estimate.hours > 0
    assert 0.2 <= estimate.error <= 1
    assert estimate.rows_together == 6
    assert "7 rows (1 invalid)" in str(estimate)


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (2.04, "2.0 hours"),
        (59.97 / 60, "1.0 hours"),
        (0.5, "30.0 minutes"),
        (0.0166, "1.0 minutes"),
        (0.01, "36 seconds"),
        (1e-5, "about a second"),
    ],
)
def test_a_time_is_said_in_units_that_fit(rows, tiny, hours, text):
    estimate = ReasonDistiller.from_pretrained(tiny, max_new_tokens=2).estimate(rows, rows=2)
    assert text in str(replace(estimate, hours=hours))


def test_samples_and_smaller_micro_batches_count(rows, tiny):
    settings = {"max_new_tokens": 12, "generation_kwargs": {"temperature": 1.0}}
    one = ReasonDistiller.from_pretrained(tiny, **settings).estimate(rows, rows=6)
    three = ReasonDistiller.from_pretrained(tiny, **settings, num_samples=3, max_batch_tokens=1000).estimate(
        rows, rows=6
    )
    assert three.completion_tokens == pytest.approx(3 * one.completion_tokens, abs=2)
    assert three.rows_together < one.rows_together


def test_a_step_of_several_tokens_is_timed_by_the_token(monkeypatch):
    times = iter([0.0, 1.0, 4.0])
    monkeypatch.setattr("hf_rare.writers.estimate.time.perf_counter", lambda: next(times))
    clock = Clock(refills=True)
    clock.begin([Job(PROMPT, 0), Job(PROMPT, 1)])
    clock.add_tokens(0, 2)
    clock.add_tokens(0, 6)  # three tokens of each row
    assert clock.steps == {2: [1.0, 1.0]}


@pytest.mark.parametrize("refills", [True, False])
def test_a_step_without_tokens_is_timed(monkeypatch, refills):  # each row has written what counts as padding
    times = iter([0.0, 3.0])
    monkeypatch.setattr("hf_rare.writers.estimate.time.perf_counter", lambda: next(times))
    clock = Clock(refills)
    clock.begin([Job(PROMPT, 0)])
    clock.add_tokens(0, 0)
    assert clock.steps == {1: [3.0]}


def test_what_cannot_be_estimated(rows, tiny):
    distill_fn = ReasonDistiller.from_pretrained(tiny, max_new_tokens=12)
    with pytest.raises(ConfigError, match="needs 2 rows"):
        distill_fn.estimate(rows.select([0]))
    with pytest.raises(ConfigError, match="rows=1 cannot be right: expected a number of at least 2"):
        distill_fn.estimate(rows, rows=1)
    with pytest.raises(ColumnError, match="'question'"):
        distill_fn.estimate(rows.remove_columns("question"))


def test_the_command_line_estimates(rows, tiny, tmp_path, capsys):
    rows.to_json(tmp_path / "rows.jsonl")
    arguments = ["estimate", str(tmp_path / "rows.jsonl"), "--model", tiny, "--max-new-tokens", "8", "--rows", "3"]
    assert main(arguments) == 0
    assert "Estimated from 3 rows." in capsys.readouterr().out


@given(st.lists(st.integers(1, 100), min_size=1, max_size=8), st.integers(1, 50))
def test_the_expected_longest_lies_between_mean_and_maximum(lengths, draws):
    expected = expected_longest(lengths, draws)
    assert sum(lengths) / len(lengths) - 1e-6 <= expected <= max(lengths) + 1e-6
    assert expected <= expected_longest(lengths, draws + 1) + 1e-6


@given(st.lists(st.integers(0, 100), max_size=20), st.integers(1, 8))
def test_rows_that_take_each_others_place_are_never_idle_while_others_wait(lengths, places):
    counted = count_steps(lengths, places)
    assert sum(rows * steps for rows, steps in counted) == sum(lengths)
    assert all(0 < rows <= places for rows, _ in counted)
    taken = sum(steps for _, steps in counted)
    assert max([0, *lengths]) <= taken <= sum(lengths) / places + max([0, *lengths])


@given(st.integers(0, 50), st.integers(0, 50))
def test_a_spread_has_both_ends(length, count):
    items = list(range(length))
    picked = spread(items, min(count, length))
    assert len(picked) == len(set(picked)) == min(count, length)
    assert picked == sorted(picked)
    if len(picked) > 1:
        assert (picked[0], picked[-1]) == (0, length - 1)
