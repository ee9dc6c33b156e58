"""Statistics within a run: the interval of a median of correlated samples, and the stopping rule.

The interval is distribution-free (order statistics, binomial ranks) at the effective sample size,
which is the smaller of two: n(1-r)/(1+r) with r = max(0, lag-1 autocorrelation + 2/n), for noise that
is autocorrelated (the 2/n corrects the bias of the estimate at small n); and n over the design effect of
visits, for levels that differ from visit to visit. Both use ranks, which are robust against outliers.
tests/profiler/measurement/test_sample_statistics.py measures the coverage on noise of known truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kswatch.profiler.settings import MeasureSettings

LEVEL = 0.95
SHAKY_QUANTILE = 0.3
MODE_SHARE = 0.1
MODE_GAP = 0.02


@dataclass(frozen=True)
class Interval:
    """A median with its 95 % interval."""

    median: float
    low: float
    high: float
    effective_samples: float

    @property
    def half_width(self) -> float:
        """Distance of the farther end from the median, as a share of the median."""
        return max(self.high - self.median, self.median - self.low) / self.median


def median_interval(samples: Sequence[float], tick: float = 0.0, visit_sizes: Sequence[int] = ()) -> Interval:
    """The median and its 95 % interval, widened by half a timer tick on both sides.

    With fewer than six effective samples no rank reaches 95 %: the interval is then the whole
    range, which at five independent samples covers 93.75 %.

    Args:
        samples: In order of time.
        tick: Resolution of the timer.
        visit_sizes: Number of samples of each visit, in order; empty if there were no visits.
    """
    values = np.sort(np.asarray(samples, dtype=float))
    effective = effective_samples(samples, visit_sizes)
    rank = _lower_rank(len(values), math.floor(effective))
    low, high = values[rank - 1], values[len(values) - rank]
    return Interval(float(np.median(values)), float(low) - tick / 2, float(high) + tick / 2, effective)


def effective_samples(samples: Sequence[float], visit_sizes: Sequence[int] = ()) -> float:
    """The effective sample size of samples in order of time."""
    count = len(samples)
    if count < 3:
        return float(count)
    deviations = _ranks(samples) - (count + 1) / 2
    if not deviations.any():
        return float(count)
    lag_one = float(deviations[:-1] @ deviations[1:]) / float(deviations @ deviations)
    correlation = min(max(0.0, lag_one + 2 / count), 0.999)
    of_memory = count * (1 - correlation) / (1 + correlation)
    return min(of_memory, count / _design_effect(deviations, np.asarray(visit_sizes, dtype=int)))


def _ranks(samples: Sequence[float]) -> np.ndarray:
    """Ranks from 1; equal samples get their mean rank."""
    _, place, counts = np.unique(samples, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _design_effect(deviations: np.ndarray, sizes: np.ndarray) -> float:
    """The factor by which correlation within visits increases the variance of the mean.

    One-way analysis of variance with the visits as groups. The mean square between few visits is an
    uncertain estimate, so it is divided by a low quantile of its own distribution; in simulations of visits
    of 5 to 100 samples whose levels vary up to as much as the samples, coverage stays at .88 to .99; it
    falls to .56 without the design effect.
    """
    count, visits = len(deviations), len(sizes)
    if visits < 2 or count == visits:
        return 1.0
    starts = np.cumsum(sizes) - sizes
    means = np.add.reduceat(deviations, starts) / sizes
    between = float(sizes @ means**2) / (visits - 1)
    within = float(((deviations - np.repeat(means, sizes)) ** 2).sum()) / (count - visits)
    size = (count - float(sizes @ sizes) / count) / (visits - 1)
    of_levels = max(0.0, (between - within) / size)
    return max(1.0, between / _low_quantile(visits - 1) / (within + of_levels))


@lru_cache(maxsize=1024)
def _low_quantile(freedom: int) -> float:
    """A low quantile of a mean square, as a share of its expectation."""
    from scipy.special import gammaincinv  # scipy.stats has it too, and takes seconds to import

    return 2 * float(gammaincinv(freedom / 2, SHAKY_QUANTILE)) / freedom


@lru_cache(maxsize=4096)
def _lower_rank(count: int, effective: int) -> int:
    """1-based rank, among `count` sorted values, of the interval's lower end at `effective` samples."""
    rank = _binomial_quantile((1 - LEVEL) / 2, effective) if effective > 0 else 0
    return max(1, rank * (count + 1) // (effective + 1))


def _binomial_quantile(level: float, count: int) -> int:
    """The quantile at `level` of the number of heads in `count` fair throws."""
    from scipy.special import bdtr, bdtrik

    heads = math.ceil(bdtrik(level, count, 0.5))
    return heads - 1 if heads > 0 and bdtr(heads - 1, count, 0.5) >= level else heads


def quantiles(samples: Sequence[float]) -> tuple[float, float, float, float]:
    """p05, p25, p75 and p95."""
    p05, p25, p75, p95 = np.quantile(np.asarray(samples, dtype=float), (0.05, 0.25, 0.75, 0.95))
    return float(p05), float(p25), float(p75), float(p95)


class StoppingRule:
    """Decides whether a cell has enough samples; checks only after their number has grown by a factor."""

    def __init__(self, settings: MeasureSettings, tick_ms: float = 0.0) -> None:
        self._settings = settings
        self._tick_ms = tick_ms
        self._next_check = settings.min_samples

    def satisfied(
        self, samples_ms: Sequence[float], visit_sizes: Sequence[int] = (), timed_ms: float | None = None
    ) -> bool:
        """Whether the interval of the median is narrow enough; see `median_interval`.

        `timed_ms` is the total time of all launches: the sum of the samples unless each is a mean of many.
        """
        settings = self._settings
        timed_ms = sum(samples_ms) if timed_ms is None else timed_ms
        if len(samples_ms) < self._next_check or timed_ms < settings.min_timed_ms:
            return False
        self._next_check = math.ceil(len(samples_ms) * settings.check_growth)
        interval = median_interval(samples_ms, self._tick_ms, visit_sizes)
        enough = interval.effective_samples >= settings.min_effective_samples
        return enough and interval.half_width <= settings.half_width


def modes(samples: Sequence[float]) -> tuple[float, float] | None:
    """The two levels of a bimodal distribution, or None for a single level.

    The samples are split where the variance between both parts is largest (Otsu's criterion). They
    are two modes when each part has a tenth of the samples, the parts' medians differ by 2 %, and
    the middle half of the range between those medians is nearly empty: under a tenth of the samples,
    where a normal distribution has 26 % and a uniform one 25 %.
    """
    values = np.sort(np.asarray(samples, dtype=float))
    count = len(values)
    if count < 20:
        return None
    cut = _otsu_cut(values)
    low, high = float(np.median(values[:cut])), float(np.median(values[cut:]))
    gap = high - low
    between = np.count_nonzero((values > low + gap / 4) & (values < high - gap / 4))
    few = min(cut, count - cut) < MODE_SHARE * count
    if few or gap < MODE_GAP * low or between >= MODE_SHARE * count:
        return None
    return low, high


def _otsu_cut(values: np.ndarray) -> int:
    """Number of the sorted values below the cut of Otsu's criterion."""
    sizes = np.arange(1, len(values))
    sums = np.cumsum(values)
    below = sums[:-1] / sizes
    above = (sums[-1] - sums[:-1]) / (len(values) - sizes)
    return int(np.argmax(sizes * (len(values) - sizes) * (above - below) ** 2)) + 1
