"""Slow drift: the level of the newest nights against the best level, where no single night is significant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.families import Ints, SeriesFamilies
from kswatch.ci.regression.threshold import Bools, Floats, Points, right_aligning_order, row_median
from kswatch.db.statistics import MAD_TO_SIGMA

WINDOW = 10
"""Nights whose median is a level, as in the threshold test."""
STEP = 5
RECENT = 5
"""Nights, the newest included, whose median is the present level."""
NOISE_UNITS = 4.0
"""Standard deviations of single nights that a drift must exceed."""


@dataclass(frozen=True)
class Drift:
    """The drift of each series, `(series,)` each."""

    best: Floats
    """The best level."""
    drift: Floats
    """The newest value over the best level, minus 1."""
    recent: Floats
    """The present level over the best level, minus 1; above 0 is worse."""
    drifted: Bools
    """Whether a pool of the series has drifted, and the series with it."""


def measure_drift(
    newest: Points,
    past: Points,
    in_level: Bools,
    higher_is_better: Bools,
    families: SeriesFamilies,
    pools: Points,
    pool_in_level: Bools,
    config: CiConfig,
) -> Drift:
    """The drift of each series and pool.

    The arguments are those of `significance.assess`, with the pools' history of its result.
    """
    values = _aligned_level(np.column_stack([past.value, newest.value]), in_level)
    values[higher_is_better] **= -1
    best, recent = _best_and_recent(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        value_at_best = np.where(higher_is_better, 1 / best, best)
    change = recent / best - 1
    drifted = np.zeros(len(best), dtype=bool)
    for pool in _drifted_pools(_aligned_level(pools.value, pool_in_level), families, config):
        drifted[pool] |= change[pool] > config.drift_floor / 2
    return Drift(value_at_best, newest.value / value_at_best - 1, change, drifted)


def _drifted_pools(history: Floats, families: SeriesFamilies, config: CiConfig) -> list[Ints]:
    """The pool of each family that drifted most, where that exceeds the floor and the noise."""
    if not len(history):
        return []
    best, recent = _best_and_recent(history)
    drift = np.nan_to_num(recent / best - 1)
    nights = history[:, -2 * WINDOW :]
    sigma = MAD_TO_SIGMA / np.sqrt(2) * row_median(np.abs(np.diff(nights, axis=1)))
    found = np.flatnonzero((drift > config.drift_floor) & (drift > NOISE_UNITS * sigma))
    of_family = [found[families.pool_family[found] == one] for one in np.unique(families.pool_family[found])]
    return [families.pools[some[np.argmax(drift[some])]] for some in of_family]


def _best_and_recent(values: Floats) -> tuple[Floats, Floats]:
    """The lowest median of a window and the median of the newest nights of each row; NaN where too few."""
    before = values[:, :-RECENT]
    if before.shape[1] < WINDOW:
        nothing = np.full(len(values), np.nan)
        return nothing, nothing
    windows = sliding_window_view(before, WINDOW, axis=1)[:, ::-1][:, ::STEP]
    middles = np.median(windows, axis=2)  # NaN where a window is not full
    best = np.nanmin(middles, axis=1, initial=np.inf)
    return np.where(np.isfinite(best), best, np.nan), np.median(values[:, -RECENT:], axis=1)


def _aligned_level(values: Floats, in_level: Bools) -> Floats:
    """The newest value and those past values that make the level, right-aligned; NaN before them."""
    kept = np.column_stack([in_level, np.ones(len(in_level), dtype=bool)])
    values = np.where(kept, values, np.nan)
    return np.take_along_axis(values, right_aligning_order(values), axis=1)
