"""Slow drift: tonight against the best level of the last nights, where no single night stands out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.families import Ints, Kin
from kswatch.ci.regression.threshold import MAD_TO_SIGMA, Bools, Floats, Points, row_median

WINDOW = 10
"""Nights whose median is a level, as in the rule."""
STEP = 5
RECENT = 5
"""Nights, tonight among them, whose median is where a series stands now."""
NOISE_UNITS = 4.0
"""A drift exceeds so many sigma of single nights, too."""


@dataclass(frozen=True)
class Drift:
    """How far each series has come, `(series,)` each."""

    best: Floats
    """The best level."""
    drift: Floats
    """The newest value over the best level, minus 1."""
    recent: Floats
    """The same of the last nights' median; over 0 is worse."""
    told: Bools
    """Whether a pool that the series belongs to has drifted, and the series with it."""


def drift_of(
    newest: Points,
    past: Points,
    in_level: Bools,
    higher_is_better: Bools,
    kin: Kin,
    pools: Points,
    pool_in_level: Bools,
    config: CiConfig,
) -> Drift:
    """The drift of each series and pool; arguments as of `kswatch.ci.regression.significance.weigh`, and what it gives of pools."""
    values = _closed_up(_only(np.column_stack([past.value, newest.value]), in_level))
    values[higher_is_better] **= -1
    best, recent = _best_and_recent(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        value_at_best = np.where(higher_is_better, 1 / best, best)
    along = recent / best - 1
    told = np.zeros(len(best), dtype=bool)
    for pool in _drifted(_closed_up(_only(pools.value, pool_in_level)), kin, config):
        told[pool] |= along[pool] > config.drift_floor / 2
    return Drift(value_at_best, newest.value / value_at_best - 1, along, told)


def _drifted(history: Floats, kin: Kin, config: CiConfig) -> list[Ints]:
    """The pool of each family that drifted furthest, where that is a drift."""
    if not len(history):
        return []
    best, recent = _best_and_recent(history)
    drift = np.nan_to_num(recent / best - 1)
    nights = history[:, -2 * WINDOW :]
    sigma = MAD_TO_SIGMA / np.sqrt(2) * row_median(np.abs(np.diff(nights, axis=1)))
    found = np.flatnonzero((drift > config.drift_floor) & (drift > NOISE_UNITS * sigma))
    families = np.unique(kin.pool_family[found])
    of_family = (found[kin.pool_family[found] == family] for family in families)
    return [kin.pools[some[np.argmax(drift[some])]] for some in of_family]


def _best_and_recent(values: Floats) -> tuple[Floats, Floats]:
    """Of each row: the least median of a window, and the median of the last nights; NaN where too few."""
    before = values[:, :-RECENT]
    if before.shape[1] < WINDOW:
        nothing = np.full(len(values), np.nan)
        return nothing, nothing
    windows = sliding_window_view(before, WINDOW, axis=1)[:, ::-1][:, ::STEP]
    middles = np.median(windows, axis=2)  # NaN where a window is not full
    best = np.nanmin(middles, axis=1, initial=np.inf)
    return np.where(np.isfinite(best), best, np.nan), np.median(values[:, -RECENT:], axis=1)


def _only(values: Floats, in_level: Bools) -> Floats:
    """Tonight's and the past nights' values that make the level; NaN elsewhere."""
    return np.where(np.column_stack([in_level, np.ones(len(in_level), dtype=bool)]), values, np.nan)


def _closed_up(values: Floats) -> Floats:
    """Each row's known points to the right."""
    order = np.argsort(np.isfinite(values), axis=1, kind="stable")
    return np.take_along_axis(values, order, axis=1)
