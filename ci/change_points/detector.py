"""The change-point detector: the indices at which the level of one series changes.

    series -> spikes clipped, in units of its noise -> finest levels -> significant changes

Spikes are clipped first, because one outlier is no level. The finest levels are the best fit by constants
at a price per level. Nights are not independent, so that fit splits too often: each change is then tested
against the remaining noise, its correlation and a straight line.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from kswatch.ci.change_points.pruning import prune_change_points
from kswatch.ci.change_points.segmentation import optimal_partition
from kswatch.db.statistics import MAD_TO_SIGMA, Z_95

Floats = NDArray[np.float64]

SHORTEST_LEVEL = 7
"""Points of a level at least; fewer are an episode."""
PRICE_PER_LEVEL = 4.0
"""Cost of one more level in the finest fit, times ln(points): somewhat above the BIC's 2 or 3."""

_WINDOW = 15
"""Points of the running median that defines spikes; it keeps steps, but no excursion of half its length."""
_SPIKE_SIGMA = 3.0
_ORDINARY_SHARE = 0.95
"""Share of the points that are never spikes: where more are extreme, they are a second mode."""
_POOR = 3.0
"""Times the usual standard error: a point with a larger one is left out of the running median."""
_MIN_NOISE = 1e-4
"""The noise of a series without any, as a share of its range."""


def change_points(series: Sequence[float]) -> list[int]:
    """0-based indices of the first point of each new level, ascending.

    NaN and infinite points are skipped. Fewer than 14 finite points hold no two levels.
    """
    return _changes(np.asarray(series, dtype=float), None)


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
    return _changes(np.where(quarantined, np.nan, series), within)


def _changes(values: Floats, within: Floats | None) -> list[int]:
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2 * SHORTEST_LEVEL or np.ptp(values[known]) == 0:
        return []
    kept = values[known] if within is None else _of_equal_noise(values[known], within[known])
    standard = in_noise_units(kept)
    finest = optimal_partition(standard, PRICE_PER_LEVEL * np.log(len(known)), SHORTEST_LEVEL)
    return [int(known[index]) for index in prune_change_points(standard, finest)]


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


def in_noise_units(values: Floats) -> Floats:
    """The values relative to their median, with spikes clipped, in units of their noise."""
    middle = median_filter(values, _WINDOW, mode="nearest")
    clipped = np.clip(values, *_ordinary_range(values, middle))
    noise = np.sqrt(np.mean((clipped - middle) ** 2))
    return (clipped - np.median(values)) / max(noise, _MIN_NOISE * np.ptp(values))


def _ordinary_range(values: Floats, middle: Floats) -> tuple[Floats, Floats]:
    """The bounds outside which a value is a spike, relative to the running median.

    The noise is estimated from differences of neighbours, which steps hardly affect.
    """
    sigma = MAD_TO_SIGMA * np.median(np.abs(np.diff(values))) / np.sqrt(2)
    reach = max(_SPIKE_SIGMA * sigma, np.quantile(np.abs(values - middle), _ORDINARY_SHARE))
    if reach == 0:  # nearly all points are equal
        reach = _SPIKE_SIGMA * np.std(values)
    return middle - reach, middle + reach
