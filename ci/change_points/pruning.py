"""Strength of each change of a fine partition, against noise that is correlated in time.

Again and again the weakest change is removed and its neighbours, between longer levels now, are tested again.
The strength of a change is the t-statistic at which it is removed, or that of an earlier one if that is more.
Between two levels, of which the nearest points count,

    t = size / (sigma x inflation x sqrt(1 / before + 1 / after))

    size       the smaller of the differences of medians and of means: with few distinct values medians jump,
               and with outliers means do
    sigma      the larger of the noise around these two levels and that of the whole series
    inflation  sqrt((1 + r) / (1 - r)) for noise whose neighbours have the correlation r (Bayley and
               Hammersley 1946, "The effective number of independent observations in an autocorrelated time
               series")

Points farther from their level than an outlier are moved to that distance. Where a straight line fits about
as well as the two levels, it is a trend, and where a level is too short, an episode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kswatch.ci.change_points.settings import DetectorSettings

Floats = NDArray[np.float64]

_MOST_CORRELATION = 0.95
_INADMISSIBLE = 1e-6
"""Factor of the t-statistic of a trend and of an episode, so that the weakest of them is removed first."""


@dataclass(frozen=True)
class Noise:
    """The noise of a series around its finest levels, in the unit of its values."""

    sigma: float
    inflation: float
    """Factor by which its correlation inflates the standard error of a mean."""


def change_strengths(values: Floats, changes: Sequence[int], settings: DetectorSettings) -> list[float]:
    """The strength of each change, in standard errors.

    Args:
        values: the series, in units of its noise.
        changes: first indices of the finest levels, ascending.
        settings: of the detector.
    """
    noise = noise_of_levels(values, changes, settings.outlier)
    bounds = [0, *changes, len(values)]
    t_values = [_t_value(values, bounds[index : index + 3], noise, settings) for index in range(len(changes))]
    strengths: dict[int, float] = {}
    strongest = 0.0
    while t_values:
        weakest = t_values.index(min(t_values))
        strongest = max(strongest, t_values.pop(weakest))
        strengths[bounds.pop(weakest + 1)] = strongest
        for index in range(max(weakest - 1, 0), min(weakest + 1, len(t_values))):
            t_values[index] = _t_value(values, bounds[index : index + 3], noise, settings)
    return [strengths[change] for change in changes]


def noise_of_levels(values: Floats, changes: Sequence[int], outlier: float) -> Noise:
    """The noise relative to the medians of these levels, outliers limited; sigma is 1 at least, the unit."""
    parts = np.split(values, changes)
    rest = np.concatenate([part - np.median(part) for part in parts]).clip(-outlier, outlier)
    squares = max(float(rest @ rest), np.finfo(float).tiny)
    correlation = min(max(float(rest[1:] @ rest[:-1]) / squares, 0.0), _MOST_CORRELATION)
    return Noise(
        sigma=max(1.0, math.sqrt(squares / len(rest))),
        inflation=math.sqrt((1 + correlation) / (1 - correlation)),
    )


def _t_value(values: Floats, bounds: Sequence[int], noise: Noise, settings: DetectorSettings) -> float:
    """The t-statistic of the change at the middle bound between two levels; near 0 if inadmissible."""
    step, low, high = _nearest_points(values, bounds, settings.nearest, settings.outlier)
    spread = math.sqrt((float(low @ low) + float(high @ high)) / (len(low) + len(high)))
    error = max(spread, noise.sigma) * noise.inflation * math.sqrt(1 / len(low) + 1 / len(high))
    t_value = min(abs(step), abs(step + float(high.mean()) - float(low.mean()))) / error
    is_episode = min(bounds[1] - bounds[0], bounds[2] - bounds[1]) < settings.shortest
    is_inadmissible = is_episode or _is_trend(values, bounds, settings)
    return t_value * (_INADMISSIBLE if is_inadmissible else 1.0)


def _is_trend(values: Floats, bounds: Sequence[int], settings: DetectorSettings) -> bool:
    """Whether a line leaves about as few squares as two levels, through the nearest points or twice as many.

    Few points do not distinguish a slow trend from a step, and many do not follow a curved one.
    """
    for nearest in (settings.nearest, 2 * settings.nearest):
        step, low, high = _nearest_points(values, bounds, nearest, settings.outlier)
        both = np.concatenate([low, high + step])
        time = np.arange(len(both)) - (len(both) - 1) / 2
        centred = both - both.mean()
        by_line = float(centred @ centred) - float(time @ both) ** 2 / float(time @ time)
        by_step = len(low) * float(low.var()) + len(high) * float(high.var())
        if by_line < settings.over_line * by_step:
            return True
    return False


def _nearest_points(
    values: Floats, bounds: Sequence[int], nearest: int, outlier: float
) -> tuple[float, Floats, Floats]:
    """The difference of two levels' medians, and their nearest points relative to them, outliers limited."""
    first, change, last = bounds
    before, after = (
        values[max(first, change - nearest) : change],
        values[change : min(last, change + nearest)],
    )
    middles = float(np.median(before)), float(np.median(after))
    low, high = (before - middles[0]).clip(-outlier, outlier), (after - middles[1]).clip(-outlier, outlier)
    return middles[1] - middles[0], low, high
