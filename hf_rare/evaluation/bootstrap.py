"""Intervals of rates by the bootstrap: rows are drawn again and again, and what is compared is drawn together.

The percentile method of Efron (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13): the
interval that leaves out as many resampled values on either side. Rows are drawn and not answers, since the answers of
a row, at each place of the positive, are no independent ones. Every rate of every student is reckoned on the same
resamples, so that the difference of two students is a paired one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

DRAWS_AT_ONCE = 2**22
"""Rows that are drawn at a time, which bounds the memory."""


@dataclass(frozen=True)
class Score:
    """A rate or a mean with its interval.

    Args:
        value (`float`): what it is over all rows.
        low (`float`): where the interval begins.
        high (`float`): where it ends.
    """

    value: float
    low: float
    high: float


def resample_means(sums: Numbers, counts: Numbers, num_resamples: int, seed: int) -> Numbers:
    """Draw as many rows as there are, with replacement, and reckon means over their answers, many times.

    Args:
        sums (`np.ndarray` of shape `(rows, means)`):
            Of each row, the sum over its answers.
        counts (`np.ndarray` of shape `(rows, means)`):
            Of each row, how many answers that are.
        num_resamples (`int`):
            How often rows are drawn.
        seed (`int`):
            Seed of the draws, which are those of NumPy's `default_rng`.

    Returns:
        `np.ndarray` of shape `(num_resamples, means)`: the means; NaN where rows without any answer were drawn. Equal
        arguments give equal numbers, since sums of whole numbers are exact in any order.
    """
    rows = len(sums)
    draw = np.random.default_rng(seed)
    means = np.empty((num_resamples, sums.shape[1]))
    step = max(1, DRAWS_AT_ONCE // max(rows, 1))
    for start in range(0, num_resamples, step):
        size = min(step, num_resamples - start)
        drawn = draw.integers(0, rows, (size, rows)) + rows * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)
        means[start : start + size] = _divide(times @ sums, times @ counts)
    return means


def mean_of(sums: Numbers, counts: Numbers) -> Numbers:
    """Reckon the means over all rows; NaN where there is no answer."""
    return _divide(sums.sum(axis=0), counts.sum(axis=0))


def make_score(value: float, resampled: Numbers, confidence: float) -> Score:
    """Return a value with the interval that its resampled values have.

    Args:
        value (`float`): the value.
        resampled (`np.ndarray`): what it is on each resample; NaN where it is nothing.
        confidence (`float`): the share of resampled values in the interval.
    """
    tail = 100 * (1 - confidence) / 2
    known = resampled[~np.isnan(resampled)]
    low, high = np.percentile(known, [tail, 100 - tail]) if len(known) else (value, value)
    return Score(float(value), float(low), float(high))


def _divide(sums: Numbers, counts: Numbers) -> Numbers:
    quotients: Numbers = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return quotients
