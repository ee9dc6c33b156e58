"""The best fit of a series by constants, at a price per constant and with a bound on each point's cost."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from kswatch.ci.change_points.settings import DetectorSettings

Floats = NDArray[np.float64]

_PER_UNIT = 4
"""Candidate levels per unit of the values: a level is at most an eighth of a unit from one."""


def robust_partition(values: Floats, settings: DetectorSettings) -> list[int]:
    """Indices where new levels begin in the partition of least cost, ascending.

    A point costs the square of its distance from its level, but no more than outlier^2 (the biweight loss
    of Fearnhead and Rigaill 2019, "Changepoint detection in the presence of outliers"). Each new level costs
    the price, so a level between two others needs 2 price / outlier^2 points, however far it is. Exact on a
    grid of candidate levels, by dynamic programming over (point, level), as in Viterbi's algorithm.

    Args:
        values: the series, in units of its noise.
        settings: of the detector; its price counts times ln(points).
    """
    levels = _candidate_levels(values, settings.shortest)
    price, bound = settings.price * math.log(len(values)), settings.outlier**2
    cost = np.zeros(len(levels))  # of the best partition up to here whose last level is this one
    begin = np.zeros(len(levels), dtype=np.intp)  # where that last level begins
    previous = np.zeros(len(values), dtype=np.intp)  # by the begin of a level: that of the level before it
    for index, value in enumerate(values.tolist()):
        if index:
            cheapest = int(cost.argmin())
            previous[index] = begin[cheapest]
            changed = cost > cost[cheapest] + price
            begin[changed] = index
            cost[changed] = cost[cheapest] + price
        distance = levels - value
        distance *= distance
        np.minimum(distance, bound, out=distance)
        cost += distance
    return _traced(previous, int(begin[cost.argmin()]))


def _candidate_levels(values: Floats, shortest: int) -> Floats:
    middle = median_filter(values, shortest, mode="nearest")  # a level is near the median of neighbours
    return np.unique(np.round(middle * _PER_UNIT)) / _PER_UNIT


def _traced(previous: NDArray[np.intp], last: int) -> list[int]:
    changes = []
    while last > 0:
        changes.append(last)
        last = int(previous[last])
    return changes[::-1]
