"""The threshold test: a point of each series against the median of its comparable runs.

Pure functions of arrays with one row per series, so that a whole night is judged at once. ci/README.md
describes the test; `kswatch.ci.regression.significance` rates its findings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special  # importing scipy.stats takes longer than reading a night

from kswatch.ci.config import CiConfig
from kswatch.db.statistics import MAD_TO_SIGMA, Z_95

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
VerdictWord = Literal["faster", "slower", "same", "ambiguous"]

_OUTER_DECILE = 1.2816
"""The distance of a normal distribution's outer decile from its mean, in standard deviations."""
_UNITS_AT_FLOOR = 5.0
"""Noise units in the floor at most: few quiet nights must not make a series look quieter than that."""

# Croux and Rousseeuw (1992), "Time-efficient algorithms for two highly robust estimators of scale",
# table of the MAD's finite-sample factors for n = 2..9; for larger n it is n / (n - 0.8).
_MAD_SMALL_SAMPLE = np.array([1.0, 1.0, 1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107])
_STUDENT_REACH = special.stdtrit(np.maximum(np.arange(101) - 1, 1), 0.975) / special.ndtri(0.975)
"""By the number of points: the 97.5 % quantile of Student's t over that of the normal distribution."""


@dataclass(frozen=True)
class Points:
    """Values with their intervals; bounds are NaN where the interval is not known.

    `(series,)` for one night; `(series, nights)` for several, oldest first, NaN where there is none.
    """

    value: Floats
    low: Floats
    high: Floats

    def map(self, function: Callable[[Floats], Floats]) -> Points:
        """The points with a function applied to the values and both bounds."""
        return Points(function(self.value), function(self.low), function(self.high))

    def night(self, index: int | slice) -> Points:
        """The points of one of several nights, or of some of them."""
        return self.map(lambda part: part[:, index])

    def where(self, kept: Bools) -> Points:
        """The same points, NaN where not kept."""
        return self.map(lambda part: np.where(kept, part, np.nan))


@dataclass(frozen=True)
class SeriesLevel:
    """The usual value of each series and its noise, `(series,)` each."""

    value: Floats
    """Median of the newest comparable runs."""
    low: Floats
    high: Floats
    noise: Floats
    """One noise unit, relative to the level."""
    noise_nights: NDArray[np.int64]
    """The number of nights that it is estimated from."""
    lowest: Floats
    highest: Floats
    """The range of those nights' values."""
    comparable_runs: NDArray[np.int64]


@dataclass(frozen=True)
class ThresholdTest:
    """The result of the test for each series' point, `(series,)` each."""

    slower: Bools
    faster: Bools
    ambiguous: Bools
    too_little_history: Bools
    change: Floats
    """value / level - 1."""
    change_low: Floats
    change_high: Floats
    units: Floats
    """The change in noise units."""
    worse_by: Floats
    """In noise units, negative for better; 0 within half of the floor and where the intervals overlap."""
    outside_history: Bools
    """Whether the point lies outside the range of all comparable points."""
    smallest_detectable: Floats
    """The smallest change that would be called slower or faster, with an interval as wide as this point's."""

    def verdict(self, row: int) -> VerdictWord:
        """The verdict on one series."""
        if self.slower[row]:
            return "slower"
        if self.faster[row]:
            return "faster"
        return "ambiguous" if self.ambiguous[row] else "same"


def estimate_level(history: Points, config: CiConfig) -> SeriesLevel:
    """The median of each series' newest comparable runs, its interval and its noise unit."""
    return estimate_level_aligned(right_aligned(history, config.noise_runs), config)


def estimate_level_aligned(history: Points, config: CiConfig) -> SeriesLevel:
    """As `estimate_level`, where each row's known points are right-aligned, `noise_runs` of them at most."""
    recent = history.night(slice(-config.comparable_runs, None))
    value = _positive(row_median(recent.value))
    low = row_median(np.where(np.isnan(recent.low), recent.value, recent.low))
    high = row_median(np.where(np.isnan(recent.high), recent.value, recent.high))
    within_run = (high - low) / 2 / Z_95 / value
    between, lowest, highest = _between_nights(history.value)
    noise = np.fmax(np.fmax(between, within_run), config.floor / _UNITS_AT_FLOOR)
    count = np.isfinite(recent.value).sum(axis=1)
    nights = np.isfinite(history.value).sum(axis=1)
    return SeriesLevel(value, _positive(low), _positive(high), noise, nights, lowest, highest, count)


def right_aligned(points: Points, most: int) -> Points:
    """Each row's newest `most` known points, in their order and right-aligned."""
    known = np.isfinite(points.value)
    if known.all():
        return points.night(slice(-most, None))
    order = right_aligning_order(points.value)[:, -most:]
    return points.map(lambda part: np.take_along_axis(part, order, axis=1))


def right_aligning_order(values: Floats) -> NDArray[np.int64]:
    """The column order of each row that moves its known values to the right, in their order."""
    return np.argsort(np.isfinite(values), axis=1, kind="stable")


def apply_threshold(
    point: Points, level: SeriesLevel, higher_is_better: Bools, config: CiConfig
) -> ThresholdTest:
    """Test each point: slower or faster where it is beyond the threshold and the intervals do not overlap."""
    low = np.where(np.isnan(point.low), point.value, point.low)
    high = np.where(np.isnan(point.high), point.value, point.high)
    change = point.value / level.value - 1
    change_low, change_high = low / level.high - 1, high / level.low - 1
    unjudged = (level.comparable_runs < config.minimum_runs) | ~np.isfinite(change)
    units = np.abs(change) / level.noise
    beyond_floor = (np.abs(change) > config.floor) & ~unjudged
    gap = np.where(change > 0, change_low > 0, change_high < 0)
    least_change = np.fmax(config.floor, config.noise_factor * level.noise)
    half_widths = (high - low) / 2 / _positive(point.value) + (level.high - level.low) / 2 / level.value
    worse = np.where((change > 0) ^ higher_is_better, units, -units)
    worse_by = np.where((np.abs(change) > config.floor / 2) & gap & ~unjudged, worse, 0.0)
    return ThresholdTest(
        slower=beyond_floor & (worse_by > config.noise_factor),
        faster=beyond_floor & (worse_by < -config.noise_factor),
        ambiguous=beyond_floor & ~gap & (units > config.noise_factor),
        too_little_history=unjudged,
        change=change,
        change_low=change_low,
        change_high=change_high,
        units=units,
        worse_by=worse_by,
        outside_history=(point.value > level.highest) | (point.value < level.lowest),
        smallest_detectable=np.where(unjudged, np.nan, np.fmax(least_change, half_widths)),
    )


def _between_nights(values: Floats) -> tuple[Floats, Floats, Floats]:
    """The standard deviation of each series' nights, relative to their median, and their range.

    The larger of two robust measures: the MAD misses a second mode with less than half of the points, the
    outer deciles do not. Both are corrected for few nights by the ratio of Student's t to the normal
    distribution.
    """
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.isfinite(ordered).sum(axis=1)
    middle = _positive(_quantile(ordered, count, 0.5))
    few = np.minimum(count, len(_MAD_SMALL_SAMPLE) - 1)
    correction = np.where(count > few, count / np.maximum(count - 0.8, 0.1), _MAD_SMALL_SAMPLE[few])
    mad = MAD_TO_SIGMA * row_median(np.abs(values - middle[:, None])) * correction
    above, below = _quantile(ordered, count, 0.9) - middle, middle - _quantile(ordered, count, 0.1)
    outer = np.fmax(above, below) / _OUTER_DECILE
    student = _STUDENT_REACH[np.minimum(count, len(_STUDENT_REACH) - 1)]
    lowest, highest = _quantile(ordered, count, 0.0), _quantile(ordered, count, 1.0)
    return np.fmax(mad, outer) * student / middle, lowest, highest


def _quantile(ordered: Floats, count: NDArray[np.int64], share: float) -> Floats:
    """A quantile of sorted rows, NaN last; rounded inwards, so that one outlier does not count."""
    if ordered.shape[1] == 0:
        return np.full(len(ordered), np.nan)
    place = share * np.maximum(count - 1, 0)
    lower, upper = np.floor(place).astype(int), np.ceil(place).astype(int)
    if share > 0.5:
        upper = lower
    if share < 0.5:
        lower = upper
    rows = np.arange(len(ordered))
    return (ordered[rows, lower] + ordered[rows, upper]) / 2


def row_median(values: Floats) -> Floats:
    """The median of each row's known values; NaN where there is none."""
    return _quantile(np.sort(values, axis=1), np.isfinite(values).sum(axis=1), 0.5)


def _positive(values: Floats) -> Floats:
    return np.where(values > 0, values, np.nan)
