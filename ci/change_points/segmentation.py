"""The best fit of a series by constants, at a price per constant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def optimal_partition(values: NDArray[np.float64], price: float, shortest: int) -> list[int]:
    """Indices where new levels begin in the partition of least cost, ascending.

    The cost is the sum of squares around each level's mean, plus `price` per level. Exact, by
    dynamic programming (Jackson et al. 2005, "An algorithm for optimal partitioning of data on an
    interval"). Nothing is pruned: whole slices of a year of nights take less than picking what PELT keeps.

    Args:
        values: the series; `shortest` points at least.
        price: of one more level, in the squared unit of the values.
        shortest: least number of points of a level.
    """
    count = len(values)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    lengths = np.arange(count, 0.0, -1.0)
    # by the start of a last level: the least cost of what lies before it, less the squares up to there
    before = np.full(count + 1, np.inf)
    before[0] = 0.0
    begin = np.zeros(count + 1, dtype=np.intp)
    for end in range(shortest, count + 1):
        starts = end - shortest + 1
        cost = sums[end] - sums[:starts]
        cost *= cost
        cost /= lengths[count - end : count - end + starts]
        np.subtract(before[:starts], cost, out=cost)
        chosen = cost.argmin()
        before[end] = cost[chosen] + price
        begin[end] = chosen
    return _traced(begin)


def _traced(begin: NDArray[np.intp]) -> list[int]:
    changes = []
    end = len(begin) - 1
    while (start := int(begin[end])) > 0:
        changes.append(start)
        end = start
    return changes[::-1]
