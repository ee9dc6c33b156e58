"""The levels of one series, and where one ends and the next begins.

    series -> without spikes, in units of its noise -> finest levels -> those that stand out

Spikes are clipped first, because one wild night is no level. The finest levels are the best fit by
constants at a price per level. Nights are no independent draws, so that fit splits too often: each
change must then hold against the noise that remains, its correlation and a straight line.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from ci.detection.partition import optimal_partition
from ci.detection.standing_out import keep_what_stands_out

Floats = NDArray[np.float64]

SHORTEST_LEVEL = 7
"""Fewer points are an episode, not a level."""
PRICE_PER_LEVEL = 4.0
"""What one more level costs in the finest fit, times ln(points): somewhat above the BIC's 2 or 3."""

_WINDOW = 15
"""Points whose running median says what is a spike; it keeps steps, and no excursion of half its length."""
_SPIKE_SIGMA = 3.0
_ORDINARY_SHARE = 0.95
"""So many of the points are never spikes: where more lie far out, they are a mode of their own."""
_LEAST_NOISE = 1e-4
"""Of the range: what a series without any noise is given."""


def change_points(series: Sequence[float]) -> list[int]:
    """0-based indices of the first point of each new level, ascending.

    NaN and infinite points are passed over. Fewer than 14 finite points hold no two levels.
    """
    values = np.asarray(series, dtype=float)
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2 * SHORTEST_LEVEL or np.ptp(values[known]) == 0:
        return []
    standard = in_noise_units(values[known])
    finest = optimal_partition(standard, PRICE_PER_LEVEL * np.log(len(known)), SHORTEST_LEVEL)
    return [int(known[index]) for index in keep_what_stands_out(standard, finest)]


def in_noise_units(values: Floats) -> Floats:
    """The values around their median, with spikes clipped, over the size of their noise."""
    middle = median_filter(values, _WINDOW, mode="nearest")
    clipped = np.clip(values, *_ordinary_range(values, middle))
    noise = np.sqrt(np.mean((clipped - middle) ** 2))
    return (clipped - np.median(values)) / max(noise, _LEAST_NOISE * np.ptp(values))


def _ordinary_range(values: Floats, middle: Floats) -> tuple[Floats, Floats]:
    """Between which bounds around the running median a value is no spike.

    The noise is first taken from differences of neighbours, which steps hardly touch.
    """
    sigma = 1.4826 * np.median(np.abs(np.diff(values))) / np.sqrt(2)
    reach = max(_SPIKE_SIGMA * sigma, np.quantile(np.abs(values - middle), _ORDINARY_SHARE))
    if reach == 0:  # nearly all points are equal
        reach = _SPIKE_SIGMA * np.std(values)
    return middle - reach, middle + reach
