"""The best fit of a series by constants, at a price per constant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def optimal_partition(values: NDArray[np.float64], price: float, shortest: int) -> list[int]:
    """Indices where new levels begin in the partition of least cost, ascending.

    The cost is the sum of squares around each level's mean, plus `price` per level. Exact, by
    dynamic programming (Jackson et al. 2005, "An algorithm for optimal partitioning of data on an
    interval") with the pruning of PELT (Killick, Fearnhead and Eckley 2012, "Optimal detection of
    changepoints with a linear computational cost", section 3).

    Args:
        values: the series; `shortest` points at least.
        price: of one more level, in the squared unit of the values.
        shortest: least number of points of a level.
    """
    count = len(values)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    squares = np.concatenate([[0.0], np.cumsum(values**2)])
    best = np.full(count + 1, np.inf)
    best[0] = -price
    begin = np.zeros(count + 1, dtype=np.intp)
    starts = np.array([0])
    for end in range(shortest, count + 1):
        length = end - starts
        around_mean = squares[end] - squares[starts] - (sums[end] - sums[starts]) ** 2 / length
        cost = best[starts] + around_mean
        chosen = int(np.argmin(cost))
        best[end] = cost[chosen] + price
        begin[end] = starts[chosen]
        # a start that is beaten by more than the price can never win again
        starts = np.concatenate([starts[cost <= best[end]], [end - shortest + 1]])
    return _traced(begin)


def _traced(begin: NDArray[np.intp]) -> list[int]:
    changes = []
    end = len(begin) - 1
    while (start := int(begin[end])) > 0:
        changes.append(start)
        end = start
    return changes[::-1]
