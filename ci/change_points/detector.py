"""The change-point detector: the indices at which the level of one series changes.

    series -> in units of its noise -> finest levels, outliers limited -> significant changes

1. The noise unit is the robust scale of differences between neighbours (`noise_unit`).
2. The finest levels are the best fit by constants at a price per level, where no point costs more than an
   outlier does (`segmentation`): a single excursion, however far, is no level; seven in a row are.
3. Nights are not independent, so that fit splits too often: a change remains if its t-statistic, against
   noise that is correlated in time, is large and no straight line fits as well (`pruning`).

`settings` has the five numbers that this takes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from kswatch.ci.change_points.pruning import change_strengths
from kswatch.ci.change_points.segmentation import robust_partition
from kswatch.ci.change_points.settings import DEFAULTS, DetectorSettings
from kswatch.db.statistics import MAD_TO_SIGMA, Z_95

Floats = NDArray[np.float64]

_LAGS = 10
"""Distances between the neighbours whose differences define the noise unit, from 1."""
_QUANTUM = 0.25
"""The noise unit at least, as a share of the median difference that is not 0: a coarse clock has ties."""
_WINDOW = 15
"""Points of the running median that replaces points with wide intervals."""
_POOR = 3.0
"""Times the usual standard error: a point with a larger one is left out of the running median."""


def change_points(series: Sequence[float]) -> list[int]:
    """0-based indices of the first point of each new level, ascending.

    NaN and infinite points are skipped. Fewer than 14 finite points hold no two levels.
    """
    return significant_changes(np.asarray(series, dtype=float))


def weighted_change_points(
    values: Sequence[float], lows: Sequence[float], highs: Sequence[float], states: Sequence[str]
) -> list[int]:
    """As `change_points`, with each point weighted by its interval and state.

    A point with a wider interval than most is pulled towards its running median until its noise is that of
    the others; one whose state is not empty is skipped. With equal intervals and empty states this is
    `change_points(values)`. Inverse-variance weights as in Cochran (1937), "Problems arising in the analysis
    of a series of similar experiments", the variance between nights being added to that within.

    Args:
        values: the series; NaN are passed over.
        lows: lower bounds of the points' 95 % intervals; NaN where not known.
        highs: upper bounds.
        states: of the machine, per point: empty for its usual state, else the reason to skip the point.
    """
    series = np.asarray(values, dtype=float)
    quarantined = np.array([bool(state) for state in states], dtype=bool)
    within = (np.asarray(highs, dtype=float) - np.asarray(lows, dtype=float)) / 2 / Z_95
    return significant_changes(np.where(quarantined, np.nan, series), within)


def noise_unit(values: Floats) -> float:
    """The noise of a series, which steps, outliers and switching between modes hardly affect.

    The median, over the distances 1 to 10, of 1.4826 MAD of differences / sqrt(2), since differences of
    neighbours alone understate noise that wanders; and at least a quarter of the usual difference that is
    not 0, since a rounded series has many ties. 0 for a constant series.
    """
    neighbours = np.abs(np.diff(values))
    if not neighbours.any():
        return 0.0
    lags = range(1, min(_LAGS, (len(values) - 1) // 2) + 1)
    medians = [np.median(np.abs(values[lag:] - values[:-lag])) for lag in lags]
    return max(
        MAD_TO_SIGMA * float(np.median(medians)) / np.sqrt(2),
        _QUANTUM * float(np.median(neighbours[neighbours > 0])),
    )


def graded_changes(
    values: Floats, within: Floats | None = None, settings: DetectorSettings = DEFAULTS
) -> list[tuple[int, float]]:
    """The changes of the finest fit, ascending, each with its strength in standard errors.

    Args:
        values: the series; NaN and infinite ones are passed over.
        within: standard errors of the points; NaN where not known.
        settings: other than the usual ones, to examine them.
    """
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2 * settings.shortest or np.ptp(values[known]) == 0:
        return []
    kept = values[known] if within is None else _of_equal_noise(values[known], within[known])
    unit = noise_unit(kept)
    if unit == 0:
        return []
    standard = (kept - np.median(kept)) / unit
    finest = robust_partition(standard, settings)
    strengths = change_strengths(standard, finest, settings)
    return [(int(known[index]), strength) for index, strength in zip(finest, strengths, strict=True)]


def significant_changes(values: Floats, within: Floats | None = None) -> list[int]:
    """The changes that are strong enough, of a series and its points' standard errors, ascending."""
    return [index for index, strength in graded_changes(values, within) if strength >= DEFAULTS.least_t]


def _of_equal_noise(values: Floats, within: Floats) -> Floats:
    """The values, with those of wide intervals pulled towards their running median."""
    usual = float(np.nanmedian(within)) if np.isfinite(within).any() else 0.0
    within = np.where(np.isfinite(within), within, usual)
    fair = within <= _POOR * max(usual, float(np.min(within)))
    places = np.flatnonzero(fair)
    middle = np.interp(np.arange(len(values)), places, median_filter(values[fair], _WINDOW, mode="nearest"))
    noise = MAD_TO_SIGMA * float(np.median(np.abs(values - middle)[fair]))
    variance = max(noise**2, usual**2)
    pull = np.sqrt(
        np.minimum(1.0, variance / np.maximum(variance - usual**2 + within**2, np.finfo(float).tiny))
    )
    return middle + (values - middle) * pull if variance else values
