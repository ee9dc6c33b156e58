"""What two revisions measured in turns say of one cell: pure functions of the rounds' ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
_NORMAL = 1.959964
"""Standard deviations that hold `LEVEL` of a normal distribution."""
FEWEST_ROUNDS = 6
"""Fewer rounds reach no interval at 95 %."""


@dataclass(frozen=True)
class Estimate:
    """A relative change (0.05: the head takes 5 % longer), its 95 % interval, and how likely by chance."""

    change: float
    low: float
    high: float
    p_value: float

    def within(self, floor: float) -> bool:
        """Whether even the interval's ends are closer to no change than a change that matters."""
        return self.high < floor and self.low > 1 / (1 + floor) - 1

    def beyond(self, floor: float) -> bool:
        """Whether the change itself matters."""
        return abs(math.log1p(self.change)) >= math.log1p(floor)


def of_rounds(ratios: Sequence[float]) -> Estimate | None:
    """From the ratios of rounds: the Hodges-Lehmann estimate and the signed-rank test; None for too few.

    Ranks, because a round that a neighbour disturbed may be off by ten times (Hollander and Wolfe,
    "Nonparametric Statistical Methods", 3.1-3.3).
    """
    logs = np.log(np.asarray(ratios, dtype=float))
    logs = logs[np.isfinite(logs)]
    count = len(logs)
    if count < FEWEST_ROUNDS:
        return None
    walsh = _walsh_averages(logs)
    spread = math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
    rank = max(1, math.floor(count * (count + 1) / 4 - _NORMAL * spread))
    above = int(np.count_nonzero(walsh > 0)) + int(np.count_nonzero(walsh == 0)) // 2
    return _estimate(
        float(np.median(walsh)), walsh[rank - 1], walsh[-rank], _signed_rank_chance(above, count)
    )


def _walsh_averages(values: NDArray[np.float64]) -> NDArray[np.float64]:
    first, second = np.triu_indices(len(values))
    return np.sort((values[first] + values[second]) / 2)


def _signed_rank_chance(positive: int, count: int) -> float:
    """How often chance gives a sum of positive ranks as far out: as many Walsh averages are above zero."""
    below = _signed_rank_distribution(count)
    furthest = min(positive, len(below) - 1 - positive)
    return min(1.0, 2 * float(below[furthest]))


@lru_cache(maxsize=256)
def _signed_rank_distribution(count: int) -> NDArray[np.float64]:
    """P(sum of positive ranks <= s) for s = 0 ...; each rank is positive with probability one half."""
    chances = np.zeros(count * (count + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, count + 1):
        shifted = np.concatenate((np.zeros(rank), chances[:-rank]))
        chances = (chances + shifted) / 2
    return np.cumsum(chances)


def of_pairs(estimates: Sequence[Estimate]) -> Estimate:
    """From fresh pairs of processes: Student's t over the pairs, no surer than each pair is of itself.

    Two processes of the same code differ by where their memory lies; only fresh processes show by how
    much, so they, not the rounds within one, are what is counted.
    """
    from scipy.stats import t

    logs = np.log1p([one.change for one in estimates])
    count = len(logs)
    if count < 2:
        return estimates[0]
    halves = [(math.log1p(one.high) - math.log1p(one.low)) / 2 for one in estimates]
    within = float(np.median(halves)) / 1.96
    error = max(float(logs.std(ddof=1)), within) / math.sqrt(count)
    mean = float(logs.mean())
    reach = float(t.ppf((1 + LEVEL) / 2, count - 1)) * error
    p_value = 2 * float(t.sf(abs(mean) / error, count - 1)) if error else float(mean == 0)
    return _estimate(mean, mean - reach, mean + reach, p_value)


def _estimate(middle: float, low: float, high: float, p_value: float) -> Estimate:
    return Estimate(math.expm1(middle), math.expm1(low), math.expm1(high), p_value)


def stand(p_values: Sequence[float], rate: float) -> list[bool]:
    """Which findings stand when all are looked at together (Benjamini and Hochberg, 1995)."""
    ordered = np.sort(np.asarray(p_values, dtype=float))
    passing = ordered <= rate * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    limit = float(ordered[passing][-1]) if passing.any() else -1.0
    return [one <= limit for one in p_values]
