"""Which changes of a fine partition stand out, weighed against noise that is correlated in time.

The weakest change is dropped, its neighbours are weighed anew, until every one that is left holds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NEAREST = 60
"""Points on either side that speak for a change: a slow drift must not add up to one."""
LEAST_T = 6.0
"""Standard errors that a change between long levels must reach."""
SHORT_LEVEL = 4.0
"""A level of n points must reach LEAST_T (1 + 4 / n): chance makes short episodes out of correlated noise."""
LEAST_SIZE = 1.2
"""Sigma of the points that a change must reach, however many speak for it."""
LEAST_SPREAD = 0.7
"""Of the whole series' sigma: a spell that is quiet by chance does not make a change of every ripple."""

_BLOCK = 10
"""Points whose mean shows how noise adds up; at least six blocks are needed."""
_MOST_CORRELATION = 0.95


@dataclass(frozen=True)
class Noise:
    """The noise around the levels: its sigma, and how much correlation adds to the variance of means."""

    sigma: float
    inflation: float


class Step(NamedTuple):
    """A change, as the nearest points on both sides see it."""

    size: float
    """The smaller of the differences of medians and of means."""
    sigma: float
    """Of the points around their two means."""
    before: int
    after: int
    over_line: float
    """The squares left by a straight line, over those left by the step: under 1 it is a drift."""


def keep_what_stands_out(values: Floats, changes: Sequence[int]) -> list[int]:
    """The changes that hold, ascending; `changes` are the first indices of the finest levels."""
    kept = list(changes)
    if not kept:
        return []
    finest = noise_around(values, kept)
    steps = np.array([_step(values, kept, index) for index in range(len(kept))])
    while kept:
        standing = _standing(steps, _between(finest, noise_around(values, kept)))
        weakest = int(np.argmin(standing))
        if standing[weakest] >= 1:
            break
        del kept[weakest]
        steps = np.delete(steps, weakest, axis=0)
        for index in range(max(weakest - 1, 0), min(weakest + 1, len(kept))):
            steps[index] = _step(values, kept, index)
    return kept


def _standing(steps: Floats, noise: Noise) -> Floats:
    """How well each `Step`, a row of the array, holds; at least 1 is enough."""
    size, sigma, before, after, over_line = steps.T
    sigma = np.maximum(sigma, LEAST_SPREAD * noise.sigma)
    error = sigma * np.sqrt(noise.inflation * (1 / before + 1 / after))
    least_t = LEAST_T * (1 + SHORT_LEVEL / np.minimum(before, after))
    return np.minimum(np.minimum(size / error / least_t, size / sigma / LEAST_SIZE), over_line)


def _step(values: Floats, changes: Sequence[int], index: int) -> Step:
    first = changes[index - 1] if index else 0
    last = changes[index + 1] if index + 1 < len(changes) else len(values)
    change = changes[index]
    before = values[max(first, change - NEAREST) : change]
    after = values[change : min(last, change + NEAREST)]
    both = values[change - len(before) : change + len(after)]
    below, above = float(before.sum()), float(after.sum())
    squares = float(both @ both)
    least = np.finfo(float).eps * squares  # a noise-free step leaves no squares at all
    around_step = max(squares - below**2 / len(before) - above**2 / len(after), least)
    around_line = max(squares - (below + above) ** 2 / len(both) - _squares_of_slope(both), least)
    by_mean = above / len(after) - below / len(before)
    by_median = statistics.median(after.tolist()) - statistics.median(before.tolist())
    return Step(
        size=min(abs(by_mean), abs(by_median)),
        sigma=math.sqrt(around_step / len(both)),
        before=len(before),
        after=len(after),
        over_line=around_line / around_step,
    )


def _squares_of_slope(values: Floats) -> float:
    """The squares that a straight line explains beyond the mean."""
    count = len(values)
    time = np.arange(count) - (count - 1) / 2
    return float(time @ values) ** 2 / (count * (count**2 - 1) / 12)


def noise_around(values: Floats, changes: Sequence[int]) -> Noise:
    """The noise around the means of these levels.

    Its inflation is the larger of two: (1 + r) / (1 - r) of the neighbours' correlation r, and what
    the means of blocks show, which also see a slow wander.
    """
    lengths = np.diff([0, *changes, len(values)])
    means = np.add.reduceat(values, [0, *changes]) / lengths
    rest = values - np.repeat(means, lengths)
    variance = max(float(np.mean(rest**2)), np.finfo(float).tiny)
    correlation = float(rest[:-1] @ rest[1:]) / (variance * len(rest)) + 2 / len(rest)
    correlation = min(max(correlation, 0.0), _MOST_CORRELATION)
    inflation = (1 + correlation) / (1 - correlation)
    blocks = len(rest) // _BLOCK
    if blocks >= 6:
        block_means = rest[: blocks * _BLOCK].reshape(blocks, _BLOCK).mean(axis=1)
        inflation = max(inflation, _BLOCK * float(np.mean(block_means**2)) / variance)
    return Noise(math.sqrt(variance), inflation)


def _between(finest: Noise, present: Noise) -> Noise:
    """The geometric mean of both: the finest levels swallow noise, the present ones hold missed changes."""
    return Noise(math.sqrt(finest.sigma * present.sigma), math.sqrt(finest.inflation * present.inflation))
