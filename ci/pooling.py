"""The series of one pool as one: a small change of all of them is far surer than of any."""

from __future__ import annotations

import numpy as np

from ci.kin import Kin
from ci.rule import Bools, Floats, Level, Points

MOST_CHANGE = 0.06
"""What one series may add to its pool: a wild one is judged by itself."""
LEAST_NOISE = 0.004
"""A series' noise unit counts as at least so much in its weight."""

IN_LEVEL = 0.9
"""Of a night's measured weight: so much must make the level of its own series."""


def pooled(
    newest: Points, past: Points, in_level: Bools, worse_sign: Floats, level: Level, kin: Kin
) -> tuple[Points, Bools]:
    """Each pool on each night, `(pools, nights + 1)`: 1 + the mean change from the level, over 1 is worse.

    Weighted by the inverse squares of the series' noise units, and without the one series that carries the
    change most; NaN where less than half of a pool's weight was measured. Series of too little history
    take no part. Also gives which past nights make the pools' levels: those on which next to all of what
    was measured makes its own.

    Args:
        newest: the night's points, `(series,)`.
        past: comparable points, `(series, nights)`, a column being one night.
        in_level: which of them belong to no alert.
        worse_sign: 1 where more is worse, -1 where less is.
        level: of each series tonight.
        kin: the pools.
    """
    values = np.column_stack([past.value, newest.value])
    changes = np.clip(values / level.value[:, None] - 1, -MOST_CHANGE, MOST_CHANGE) * worse_sign[:, None]
    weight = np.nan_to_num(np.fmax(level.noise, LEAST_NOISE) ** -2)
    known = np.isfinite(changes)
    weights = known * weight[:, None]
    weighted = np.where(known, changes, 0.0) * weights
    good = known[:, :-1] & in_level
    value = np.full((len(kin.pools), values.shape[1]), np.nan)
    pool_in_level = np.zeros((len(kin.pools), in_level.shape[1]), dtype=bool)
    for row, pool in enumerate(kin.pools):
        measured = weights[pool].sum(axis=0)
        enough = (2 * measured >= weight[pool].sum()) & (np.count_nonzero(weights[pool], axis=0) >= 2)
        value[row, enough] = 1 + _without_the_wildest(weighted[pool][:, enough], weights[pool][:, enough])
        pool_in_level[row] = enough[:-1] & (weight[pool] @ good[pool] >= IN_LEVEL * measured[:-1])
    unknown = np.full_like(value, np.nan)
    return Points(value, unknown, unknown), pool_in_level


def _without_the_wildest(weighted: Floats, weights: Floats) -> Floats:
    """The mean of each column without the member that brings it furthest from 0; 0 where the others disagree.

    A jackknife (Quenouille 1956, "Notes on bias in estimation") of which the most doubtful mean is believed:
    one wild series makes no pool stand, and what moves all of them hardly loses by it.
    """
    total = weighted.sum(axis=0)
    side = np.sign(total)
    means = side * (total - weighted) / (weights.sum(axis=0) - weights)
    return side * np.maximum(means.min(axis=0), 0.0)
