"""The plain rule: the newest point of each series against the median of its comparable runs.

Everything here is arithmetic on arrays, one row per series, so that a whole night is judged at once.
ci/README.md says the rule in words.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ci.config import CiConfig

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


@dataclass(frozen=True)
class Points:
    """Values with their intervals; bounds are NaN where the interval is not known.

    One column per series for the newest points, `(series,)`; `(series, runs)` for a history, oldest
    run first, NaN where a run holds no comparable point.
    """

    value: Floats
    low: Floats
    high: Floats

    def column(self, index: int) -> Points:
        """The points of one run of a history."""
        return Points(self.value[:, index], self.low[:, index], self.high[:, index])


@dataclass(frozen=True)
class Level:
    """What a series is judged against, `(series,)` each."""

    value: Floats
    """Median of the newest comparable runs."""
    low: Floats
    high: Floats
    noise: Floats
    """One noise unit, relative to the level."""
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
    p_value: Floats
    """How often noise alone goes as far, by Student's t."""
    unseen: Bools
    """Whether no comparable point ever lay as far out."""


def level_of(history: Points, config: CiConfig) -> Level:
    """The median of each series' newest comparable runs, its interval and its noise unit."""
    recent, wider = _newest(history, config.comparable_runs), _newest(history, config.noise_runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no history: NaN is the answer
        value = _positive(np.nanmedian(recent.value, axis=1))
        low = np.nanmedian(np.where(np.isnan(recent.low), recent.value, recent.low), axis=1)
        high = np.nanmedian(np.where(np.isnan(recent.high), recent.value, recent.high), axis=1)
        between_nights = _between_nights(wider.value)
        least = np.nanmin(wider.value, axis=1, initial=np.inf)
        most = np.nanmax(wider.value, axis=1, initial=-np.inf)
    within_run = (high - low) / 2 / _INTERVAL_HALF_WIDTHS / value
    noise = np.fmax(np.fmax(between_nights, within_run), config.floor / _UNITS_AT_FLOOR)
    return Level(
        value, _positive(low), _positive(high), noise, least, most, np.isfinite(recent.value).sum(axis=1)
    )


def _between_nights(values: Floats) -> Floats:
    """The sigma of each series' nights, relative to their median: the larger of two robust measures.

    The MAD is blind to a second mode with under half of the points; the outer deciles are not. Both
    are corrected for few nights, as Student's t reaches further than the normal distribution.
    """
    count = np.isfinite(values).sum(axis=1)
    middle = _positive(np.nanmedian(values, axis=1))
    mad = MAD_TO_SIGMA * np.nanmedian(np.abs(values - middle[:, None]), axis=1) * _mad_correction(count)
    upper = np.nanquantile(values, 0.9, axis=1, method="lower") - middle
    lower = middle - np.nanquantile(values, 0.1, axis=1, method="higher")
    outer = np.fmax(upper, lower) / _OUTER_DECILE
    return np.fmax(mad, outer) * _student_reach(count) / middle


def _positive(values: Floats) -> Floats:
    return np.where(values > 0, values, np.nan)


def rule(newest: Points, level: Level, higher_is_better: Bools, config: CiConfig) -> Ruling:
    """Slower or faster where the point lies beyond the threshold and its interval leaves the level's."""
    low = np.where(np.isnan(newest.low), newest.value, newest.low)
    high = np.where(np.isnan(newest.high), newest.value, newest.high)
    change = newest.value / level.value - 1
    change_low, change_high = low / level.high - 1, high / level.low - 1
    unjudged = (level.comparable_runs < config.minimum_runs) | ~np.isfinite(change)
    units = np.abs(change) / level.noise
    beyond = (np.abs(change) > config.floor) & (units > config.noise_factor) & ~unjudged
    gap = np.where(change > 0, change_low > 0, change_high < 0)
    worse = (change > 0) ^ higher_is_better
    return Ruling(
        slower=beyond & gap & worse,
        faster=beyond & gap & ~worse,
        ambiguous=beyond & ~gap,
        too_little_history=unjudged,
        change=change,
        change_low=change_low,
        change_high=change_high,
        units=units,
        p_value=_p_value(units, level.comparable_runs),
        unseen=(newest.value > level.most) | (newest.value < level.least),
    )


def confirmed(now: Ruling, night_before: Ruling, config: CiConfig) -> Bools:
    """Where the finding was there the night before too, or is larger than noise ever was."""
    repeated = (now.slower & night_before.slower) | (now.faster & night_before.faster)
    large = (now.units >= config.confirm_units) & now.unseen
    return (now.slower | now.faster) & (repeated | large)


def significant(ruling: Ruling, config: CiConfig) -> Bools:
    """The findings that survive when a whole night is looked at: Benjamini and Hochberg (1995).

    Of what is left, at most the share `false_discovery_rate` is expected to be noise.
    """
    judged = ~ruling.too_little_history
    p_values = np.sort(ruling.p_value[judged])
    allowed = config.false_discovery_rate * np.arange(1, len(p_values) + 1) / max(len(p_values), 1)
    passing = p_values[p_values <= allowed]
    limit = passing[-1] if len(passing) else -1.0
    return (ruling.slower | ruling.faster) & (ruling.p_value <= limit)


def _p_value(units: Floats, comparable_runs: NDArray[np.int64]) -> Floats:
    # a noise unit holds the reach of Student's t already, which the distribution is to say here
    freedom = np.maximum(comparable_runs - 1, 1)
    return 2 * stats.t.sf(units * _student_reach(comparable_runs), freedom)


def _newest(history: Points, runs: int) -> Points:
    """The newest `runs` known points of each series; all others NaN."""
    known = np.isfinite(history.value)
    newer = np.cumsum(known[:, ::-1], axis=1)[:, ::-1]
    keep = known & (newer <= runs)
    return Points(*(np.where(keep, part, np.nan) for part in (history.value, history.low, history.high)))


def _mad_correction(count: NDArray[np.int64]) -> Floats:
    """By how much the MAD of so few points understates."""
    few = np.minimum(count, len(_MAD_SMALL_SAMPLE) - 1)
    return np.where(count > few, count / np.maximum(count - 0.8, 0.1), _MAD_SMALL_SAMPLE[few])


def _student_reach(count: NDArray[np.int64]) -> Floats:
    """How much further than the normal distribution Student's t reaches for 95 %, with so few points."""
    return stats.t.ppf(0.975, np.maximum(count - 1, 1)) / stats.norm.ppf(0.975)
