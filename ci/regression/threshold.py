"""The plain rule: a point of each series against the median of its comparable runs.

Everything here is arithmetic on arrays, one row per series, so that a whole night is judged at once.
ci/README.md says the rule in words; how sure a finding is, `kswatch.ci.regression.significance` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special  # importing scipy.stats takes longer than reading a night

from kswatch.ci.config import CiConfig

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MAD_TO_SIGMA = 1.4826
"""Of a normal distribution."""

_INTERVAL_HALF_WIDTHS = 1.96
"""Half of a 95 % interval in standard errors."""
_OUTER_DECILE = 1.2816
"""The outer tenth of a normal distribution begins this many sigma from its middle."""
_UNITS_AT_FLOOR = 5.0
"""A noise unit is at least floor / 5: nobody's nights are quieter than a fifth of what matters."""

# Croux and Rousseeuw (1992), "Time-efficient algorithms for two highly robust estimators of scale",
# table of the MAD's finite-sample factors for n = 2..9; above it is n / (n - 0.8).
_MAD_SMALL_SAMPLE = np.array([1.0, 1.0, 1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107])
_STUDENT_REACH = special.stdtrit(np.maximum(np.arange(101) - 1, 1), 0.975) / special.ndtri(0.975)
"""By how many points there are: how much further than the normal distribution Student's t reaches."""


@dataclass(frozen=True)
class Points:
    """Values with their intervals; bounds are NaN where the interval is not known.

    `(series,)` for one night; `(series, nights)` for several, oldest first, NaN where there is none.
    """

    value: Floats
    low: Floats
    high: Floats

    def night(self, index: int) -> Points:
        """The points of one of several nights."""
        return Points(self.value[:, index], self.low[:, index], self.high[:, index])

    def where(self, kept: Bools) -> Points:
        """The same points, NaN where not kept."""
        return Points(*(np.where(kept, part, np.nan) for part in (self.value, self.low, self.high)))


@dataclass(frozen=True)
class Level:
    """What a series is judged against, `(series,)` each."""

    value: Floats
    """Median of the newest comparable runs."""
    low: Floats
    high: Floats
    noise: Floats
    """One noise unit, relative to the level."""
    noise_nights: NDArray[np.int64]
    """Of how many nights it is made."""
    least: Floats
    most: Floats
    """Between these all comparable points lay that the noise unit is made of."""
    comparable_runs: NDArray[np.int64]


@dataclass(frozen=True)
class Ruling:
    """What the rule says of each series' point, `(series,)` each."""

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
    """In noise units, negative for better; 0 within the floor and where the intervals overlap."""
    unseen: Bools
    """Whether no comparable point ever lay as far out."""
    smallest: Floats
    """The smallest change that would be called slower or faster, with an interval as wide as tonight's."""


def level_of(history: Points, config: CiConfig) -> Level:
    """The median of each series' newest comparable runs, its interval and its noise unit."""
    return level_of_closed(closed_up(history, config.noise_runs), config)


def level_of_closed(history: Points, config: CiConfig) -> Level:
    """The same where each row's known points lie to the right, `noise_runs` of them at most."""
    recent = Points(*(part[:, -config.comparable_runs :] for part in vars(history).values()))
    value = _positive(row_median(recent.value))
    low = row_median(np.where(np.isnan(recent.low), recent.value, recent.low))
    high = row_median(np.where(np.isnan(recent.high), recent.value, recent.high))
    within_run = (high - low) / 2 / _INTERVAL_HALF_WIDTHS / value
    between, least, most = _between_nights(history.value)
    noise = np.fmax(np.fmax(between, within_run), config.floor / _UNITS_AT_FLOOR)
    count = np.isfinite(recent.value).sum(axis=1)
    nights = np.isfinite(history.value).sum(axis=1)
    return Level(value, _positive(low), _positive(high), noise, nights, least, most, count)


def closed_up(points: Points, most: int) -> Points:
    """Each row's known points to the right, in their order, the newest `most` of them."""
    known = np.isfinite(points.value)
    if known.all():
        return Points(*(part[:, -most:] for part in vars(points).values()))
    order = np.argsort(known, axis=1, kind="stable")[:, -most:]
    return Points(*(np.take_along_axis(part, order, axis=1) for part in vars(points).values()))


def rule(point: Points, level: Level, higher_is_better: Bools, config: CiConfig) -> Ruling:
    """Slower or faster where the point lies beyond the threshold and its interval leaves the level's."""
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
    return Ruling(
        slower=beyond_floor & (worse_by > config.noise_factor),
        faster=beyond_floor & (worse_by < -config.noise_factor),
        ambiguous=beyond_floor & ~gap & (units > config.noise_factor),
        too_little_history=unjudged,
        change=change,
        change_low=change_low,
        change_high=change_high,
        units=units,
        worse_by=worse_by,
        unseen=(point.value > level.most) | (point.value < level.least),
        smallest=np.where(unjudged, np.nan, np.fmax(least_change, half_widths)),
    )


def _between_nights(values: Floats) -> tuple[Floats, Floats, Floats]:
    """The sigma of each series' nights, relative to their median, and the least and most value.

    The larger of two robust measures: the MAD is blind to a second mode with under half of the points; the
    outer deciles are not. Both are corrected for few nights, as Student's t reaches further than the normal
    distribution.
    """
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.isfinite(ordered).sum(axis=1)
    middle = _positive(_quantile(ordered, count, 0.5))
    mad = MAD_TO_SIGMA * row_median(np.abs(values - middle[:, None])) * _mad_correction(count)
    above, below = _quantile(ordered, count, 0.9) - middle, middle - _quantile(ordered, count, 0.1)
    outer = np.fmax(above, below) / _OUTER_DECILE
    least, most = _quantile(ordered, count, 0.0), _quantile(ordered, count, 1.0)
    return (
        np.fmax(mad, outer) * _STUDENT_REACH[np.minimum(count, len(_STUDENT_REACH) - 1)] / middle,
        least,
        most,
    )


def _quantile(ordered: Floats, count: NDArray[np.int64], share: float) -> Floats:
    """Of rows in order, NaN last; in the outer parts the inner neighbour, so that one outlier is none."""
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


def _mad_correction(count: NDArray[np.int64]) -> Floats:
    """By how much the MAD of so few points understates."""
    few = np.minimum(count, len(_MAD_SMALL_SAMPLE) - 1)
    return np.where(count > few, count / np.maximum(count - 0.8, 0.1), _MAD_SMALL_SAMPLE[few])
