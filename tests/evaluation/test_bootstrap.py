"""Intervals: by hand where there are few rows, and against resampling written anew."""

import numpy as np
import pytest

from hf_rare.evaluation.bootstrap import make_score, mean_of, resample_means


def test_two_rows_by_hand():
    """Of rows with 0 and 1, a quarter of the resamples is 0, half is 1/2, a quarter is 1."""
    means = resample_means(np.array([[0.0], [1.0]]), np.ones((2, 1)), 20_000, 0)[:, 0]
    shares = [float(np.mean(means == value)) for value in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.015)
    score = make_score(0.5, means, 0.95)
    assert (score.value, score.low, score.high) == (0.5, 0.0, 1.0)
    assert make_score(0.5, means, 0.4) == make_score(0.5, np.array([0.5]), 0.4)


def test_the_percentiles_are_those_of_the_resampled_values():
    score = make_score(0.3, np.arange(101) / 100, 0.9)
    assert (score.low, score.high) == pytest.approx((0.05, 0.95))


def test_a_mean_over_answers_of_rows_that_are_drawn_together():
    generator = np.random.default_rng(5)
    answers = [generator.integers(0, 2, count).tolist() for count in (3, 1, 4, 2, 2)]
    sums = np.array([[float(sum(row))] for row in answers])
    counts = np.array([[float(len(row))] for row in answers])
    assert mean_of(sums, counts)[0] == sum(map(sum, answers)) / sum(map(len, answers))
    draws = np.random.default_rng(7).integers(0, 5, (50, 5))
    expected = [
        sum(sum(answers[row]) for row in drawn) / sum(len(answers[row]) for row in drawn) for drawn in draws.tolist()
    ]
    assert resample_means(sums, counts, 50, 7)[:, 0].tolist() == expected


def test_draws_do_not_depend_on_how_many_are_made_at_once(monkeypatch):
    sums, counts = np.arange(40.0).reshape(20, 2) % 2, np.ones((20, 2))
    expected = resample_means(sums, counts, 33, 1)
    monkeypatch.setattr("hf_rare.evaluation.bootstrap.DRAWS_AT_ONCE", 60)
    assert np.array_equal(resample_means(sums, counts, 33, 1), expected)


def test_what_has_no_answer_is_left_out():
    sums, counts = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    assert np.isnan(mean_of(sums, counts)[1])
    means = resample_means(sums, counts, 100, 0)
    score = make_score(1.0, means[:, 0], 0.95)
    assert (score.low, score.high) == (1.0, 1.0)  # resamples with the second row alone say nothing
    assert np.isnan(means[:, 0]).any()
    empty = make_score(0.5, means[:, 1], 0.95)
    assert (empty.low, empty.high) == (0.5, 0.5)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """95 % of the intervals of 100 draws of a coin hold its share, give or take what 200 trials leave open."""
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        coin = generator.integers(0, 2, (100, 1)).astype(float)
        score = make_score(coin.mean(), resample_means(coin, np.ones_like(coin), 500, trial)[:, 0], 0.95)
        hits += score.low <= 0.5 <= score.high
    assert 0.89 <= hits / 200 <= 0.99
