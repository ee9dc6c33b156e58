"""The series of one pool as one: a small change of all of them is far surer than of any."""

from __future__ import annotations

import numpy as np

from ci.kin import Kin
from ci.rule import Bools, Floats, Level, Points

MOST_CHANGE = 0.06
"""What one series may add to its pool: a wild one is judged by itself."""
LEAST_NOISE = 0.004
"""A series' noise unit counts as at least so much in its weight."""


def pooled(
    newest: Points, past: Points, in_level: Bools, worse_sign: Floats, level: Level, kin: Kin
) -> Points:
    """Each pool on each night, `(pools, nights + 1)`: 1 + the mean change from the level, over 1 is worse.

    Weighted by the inverse squares of the series' noise units; NaN where less than half of a pool's
    weight was measured. Series of too little history take no part.

    Args:
        newest: the night's points, `(series,)`.
        past: comparable points, `(series, nights)`, a column being one night.
        in_level: which of them belong to no alert.
        worse_sign: 1 where more is worse, -1 where less is.
        level: of each series tonight.
        kin: the pools.
    """
    values = np.column_stack([np.where(in_level, past.value, np.nan), newest.value])
    changes = np.clip(values / level.value[:, None] - 1, -MOST_CHANGE, MOST_CHANGE) * worse_sign[:, None]
    weight = np.nan_to_num(np.fmax(level.noise, LEAST_NOISE) ** -2)
    known = np.isfinite(changes)
    weighted = np.where(known, changes, 0.0) * weight[:, None]
    rows = [_mean(weighted[pool], known[pool], weight[pool]) for pool in kin.pools]
    value = 1 + np.array(rows).reshape(len(rows), values.shape[1])
    unknown = np.full_like(value, np.nan)
    return Points(value, unknown, unknown)


def _mean(weighted: Floats, known: Bools, weight: Floats) -> Floats:
    measured = weight @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(2 * measured >= weight.sum(), weighted.sum(axis=0) / measured, np.nan)
