"""Means with 95 % intervals by the paired bootstrap, which resamples holes with all their values.

Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (percentile intervals). Seeded: the
same numbers give the same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
SEED = 20_230_824
LEVEL = (2.5, 97.5)
"""Percentiles between which 95 % of the resamples lie."""

_BATCH = 500
"""Resamples per batch, which bounds memory."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the 95 % interval around it."""

    value: float
    low: float
    high: float


def mean_difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Return the mean of ``first - second`` over pairs. Raises ValueError if they are empty or of unequal length."""
    a, b = _paired(first, second)
    return _bootstrap(len(a), lambda drawn: (a - b)[drawn].mean(axis=-1))


def share_gained(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Return the relative reduction of a sum: (before - after) / before.

    For negative log-likelihoods this is the share of a text's log-likelihood that more context gains. Raises
    ValueError as ``mean_difference`` does.
    """
    a, b = _paired(before, after)
    return _bootstrap(len(a), lambda drawn: 1 - b[drawn].sum(axis=-1) / a[drawn].sum(axis=-1))


def difference_per_unit(first: Sequence[float], second: Sequence[float], units: Sequence[float]) -> Interval:
    """Return the sum of ``first - second`` divided by that of ``units``, such as nats per token.

    Raises ValueError as ``mean_difference`` does.
    """
    a, b = _paired(first, second)
    _, sizes = _paired(first, units)
    return _bootstrap(len(a), lambda drawn: (a - b)[drawn].sum(axis=-1) / sizes[drawn].sum(axis=-1))


def _paired(first: Sequence[float], second: Sequence[float]) -> tuple[Values, Values]:
    if not first or len(first) != len(second):
        raise ValueError("A paired comparison needs pairs.")
    return np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)


def _bootstrap(count: int, statistic: Callable[[NDArray[np.int64]], Values]) -> Interval:
    generator = np.random.default_rng(SEED)
    rounds = range(0, RESAMPLES, _BATCH)
    drawn = [statistic(generator.integers(count, size=(min(_BATCH, RESAMPLES - n), count))) for n in rounds]
    low, high = np.percentile(np.concatenate(drawn), LEVEL)
    return Interval(float(statistic(np.arange(count))), float(low), float(high))
