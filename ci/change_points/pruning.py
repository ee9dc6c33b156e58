"""Pruning of a fine partition: changes that are insignificant against noise correlated in time are removed.

The weakest change is removed and its neighbours are tested again, until all remaining ones are significant.
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
"""Points on either side that count for a change, so that a slow drift does not add up to one."""
MIN_T = 6.0
"""Standard errors that a change between long levels must reach."""
SHORT_LEVEL = 4.0
"""A level of n points must reach MIN_T (1 + 4 / n), as correlated noise makes short episodes."""
MIN_SIZE = 1.2
"""Standard deviations of the points that a change must reach, whatever their number."""
MIN_SPREAD = 0.7
"""Share of the whole series' sigma that a section has at least, since some sections are quiet by chance."""

_BLOCK = 10
"""Points of a block, whose means show slow correlation; at least six blocks are needed."""
_MOST_CORRELATION = 0.95


@dataclass(frozen=True)
class Noise:
    """The noise of levels: its standard deviation, and the factor by which correlation inflates means."""

    sigma: float
    inflation: float


class LevelChange(NamedTuple):
    """A change, estimated from the nearest points on both sides."""

    size: float
    """The smaller of the differences of medians and of means."""
    sigma: float
    """Standard deviation of the points from their two means."""
    before: int
    after: int
    over_line: float
    """The residual of a straight line over that of the step; below 1 it is a drift."""


def prune_change_points(values: Floats, changes: Sequence[int]) -> list[int]:
    """The significant changes, ascending; `changes` are the first indices of the finest levels."""
    kept = list(changes)
    if not kept:
        return []
    finest = noise_of_levels(values, kept)
    steps = np.array([_step(values, kept, index) for index in range(len(kept))])
    while kept:
        margins = _margins(steps, _between(finest, noise_of_levels(values, kept)))
        weakest = int(np.argmin(margins))
        if margins[weakest] >= 1:
            break
        del kept[weakest]
        steps = np.delete(steps, weakest, axis=0)
        for index in range(max(weakest - 1, 0), min(weakest + 1, len(kept))):
            steps[index] = _step(values, kept, index)
    return kept


def _margins(steps: Floats, noise: Noise) -> Floats:
    """The margin of each `LevelChange`, a row of the array; it is significant from 1."""
    size, sigma, before, after, over_line = steps.T
    sigma = np.maximum(sigma, MIN_SPREAD * noise.sigma)
    error = sigma * np.sqrt(noise.inflation * (1 / before + 1 / after))
    least_t = MIN_T * (1 + SHORT_LEVEL / np.minimum(before, after))
    return np.minimum(np.minimum(size / error / least_t, size / sigma / MIN_SIZE), over_line)


def _step(values: Floats, changes: Sequence[int], index: int) -> LevelChange:
    first = changes[index - 1] if index else 0
    last = changes[index + 1] if index + 1 < len(changes) else len(values)
    change = changes[index]
    before = values[max(first, change - NEAREST) : change]
    after = values[change : min(last, change + NEAREST)]
    both = values[change - len(before) : change + len(after)]
    below, above = float(before.sum()), float(after.sum())
    squares = float(both @ both)
    least = np.finfo(float).eps * squares  # a noise-free step leaves no squares at all
    step_residual = max(squares - below**2 / len(before) - above**2 / len(after), least)
    line_residual = max(squares - (below + above) ** 2 / len(both) - _squares_of_slope(both), least)
    by_mean = above / len(after) - below / len(before)
    by_median = statistics.median(after.tolist()) - statistics.median(before.tolist())
    return LevelChange(
        size=min(abs(by_mean), abs(by_median)),
        sigma=math.sqrt(step_residual / len(both)),
        before=len(before),
        after=len(after),
        over_line=line_residual / step_residual,
    )


def _squares_of_slope(values: Floats) -> float:
    """The sum of squares that a straight line explains beyond the mean."""
    count = len(values)
    time = np.arange(count) - (count - 1) / 2
    return float(time @ values) ** 2 / (count * (count**2 - 1) / 12)


def noise_of_levels(values: Floats, changes: Sequence[int]) -> Noise:
    """The noise relative to the means of these levels.

    Its inflation is the larger of two: (1 + r) / (1 - r) of the neighbours' correlation r, and the variance
    of block means, which also reflects slow wandering.
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
