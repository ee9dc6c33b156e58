"""Estimates of one cell's change between two interleaved revisions: pure functions of the rounds' ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kswatch.db.statistics import Z_95

LEVEL = 0.95
FEWEST_ROUNDS = 6
"""Fewer rounds reach no interval at 95 %."""


@dataclass(frozen=True)
class GateEstimate:
    """A relative change (0.05: the head takes 5 % longer), its 95 % interval and its p-value."""

    change: float
    low: float
    high: float
    p_value: float

    def within(self, floor: float) -> bool:
        """Whether the whole interval lies inside the floor, so that no change matters."""
        return self.high < floor and self.low > 1 / (1 + floor) - 1

    def beyond(self, floor: float) -> bool:
        """Whether the change reaches the floor."""
        return abs(math.log1p(self.change)) >= math.log1p(floor)


def estimate_from_rounds(ratios: Sequence[float]) -> GateEstimate | None:
    """The Hodges-Lehmann estimate and the signed-rank test of the rounds' ratios; None for too few rounds.

    Ranks, because a round disturbed by another process may be off by ten times (Hollander and Wolfe,
    "Nonparametric Statistical Methods", 3.1-3.3).
    """
    logs = np.log(np.asarray(ratios, dtype=float))
    logs = logs[np.isfinite(logs)]
    count = len(logs)
    if count < FEWEST_ROUNDS:
        return None
    first, second = np.triu_indices(count)
    walsh = np.sort((logs[first] + logs[second]) / 2)  # the Walsh averages
    spread = math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
    rank = max(1, math.floor(count * (count + 1) / 4 - Z_95 * spread))
    above = int(np.count_nonzero(walsh > 0)) + int(np.count_nonzero(walsh == 0)) // 2
    return _to_estimate(
        float(np.median(walsh)), walsh[rank - 1], walsh[-rank], _signed_rank_p_value(above, count)
    )


def _signed_rank_p_value(positive: int, count: int) -> float:
    """Two-sided p-value of the sum of positive ranks, which equals the number of positive Walsh averages."""
    below = _signed_rank_distribution(count)
    extreme = min(positive, len(below) - 1 - positive)
    return min(1.0, 2 * float(below[extreme]))


@lru_cache(maxsize=256)
def _signed_rank_distribution(count: int) -> NDArray[np.float64]:
    """P(sum of positive ranks <= s) for s = 0 ...; each rank is positive with probability one half."""
    probabilities = np.zeros(count * (count + 1) // 2 + 1)
    probabilities[0] = 1.0
    for rank in range(1, count + 1):
        shifted = np.concatenate((np.zeros(rank), probabilities[:-rank]))
        probabilities = (probabilities + shifted) / 2
    return np.cumsum(probabilities)


def estimate_from_pairs(estimates: Sequence[GateEstimate]) -> GateEstimate:
    """Student's t over fresh pairs of processes, with at least the uncertainty that each pair reports.

    Two processes of the same code differ by their memory placement. Only fresh processes show by how much,
    so pairs are the sampling unit, not the rounds within one.
    """
    from scipy.stats import t

    logs = np.log1p([one.change for one in estimates])
    count = len(logs)
    if count < 2:
        return estimates[0]
    halves = [(math.log1p(one.high) - math.log1p(one.low)) / 2 for one in estimates]
    within = float(np.median(halves)) / Z_95
    error = max(float(logs.std(ddof=1)), within) / math.sqrt(count)
    mean = float(logs.mean())
    reach = float(t.ppf((1 + LEVEL) / 2, count - 1)) * error
    p_value = 2 * float(t.sf(abs(mean) / error, count - 1)) if error else float(mean == 0)
    return _to_estimate(mean, mean - reach, mean + reach, p_value)


def _to_estimate(middle: float, low: float, high: float, p_value: float) -> GateEstimate:
    return GateEstimate(math.expm1(middle), math.expm1(low), math.expm1(high), p_value)
