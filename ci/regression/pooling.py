"""The series of one pool as one: a small change of all of them is far surer than of any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kswatch.ci.regression.families import Ints, Kin
from kswatch.ci.regression.threshold import Bools, Floats, Level, Points

MOST_CHANGE = 0.06
"""What one series may add to its pool: a wild one is judged by itself."""
LEAST_NOISE = 0.004
"""A series' noise unit counts as at least so much in its weight."""
IN_LEVEL = 0.9
"""Of a night's measured weight: so much must make the level of its own series."""
_MOST_AT_ONCE = 4_000
"""Series, counted once for each of their pools, that are worked on at once: more would only take memory."""


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
    good = weights[:, :-1] * in_level
    value = np.full((len(kin.pools), values.shape[1]), np.nan)
    pool_in_level = np.zeros((len(kin.pools), in_level.shape[1]), dtype=bool)
    for rows, members, starts in _at_once(kin.pools):
        measured = np.add.reduceat(weights[members], starts)
        enough = 2 * measured >= np.add.reduceat(weight[members], starts)[:, None]
        enough &= np.add.reduceat(weights[members] > 0, starts, dtype=int) >= 2
        changed = _without_the_wildest(weighted[members], weights[members], starts)
        value[rows] = np.where(enough, 1 + changed, np.nan)
        in_levels = np.add.reduceat(good[members], starts)
        pool_in_level[rows] = enough[:, :-1] & (in_levels >= IN_LEVEL * measured[:, :-1])
    unknown = np.full_like(value, np.nan)
    return Points(value, unknown, unknown), pool_in_level


def _at_once(pools: Sequence[Ints]) -> Iterator[tuple[slice, Ints, Ints]]:
    """Some pools at a time: their rows, their series one pool after another, and where each begins."""
    ends = np.cumsum([len(pool) for pool in pools])
    first = 0
    while first < len(pools):
        begun = ends[first] - len(pools[first])
        last = max(int(np.searchsorted(ends, begun + _MOST_AT_ONCE, side="right")), first + 1)
        starts = np.concatenate([[0], ends[first : last - 1] - begun])
        yield slice(first, last), np.concatenate(pools[first:last]), starts
        first = last


def _without_the_wildest(weighted: Floats, weights: Floats, starts: Ints) -> Floats:
    """The mean of each pool and night without the member that brings it furthest from 0.

    0 where the others disagree with that one. A jackknife (Quenouille 1956, "Notes on bias in estimation") of
    which the most doubtful mean is believed: one wild series makes no pool stand, and what moves all of them
    hardly loses by it.
    """
    total, measured = np.add.reduceat(weighted, starts), np.add.reduceat(weights, starts)
    side = np.sign(total)
    pool = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(weighted)))
    with np.errstate(invalid="ignore", divide="ignore"):  # of a pool of one nothing is left
        means = side[pool] * (total[pool] - weighted) / (measured[pool] - weights)
    return side * np.maximum(np.minimum.reduceat(means, starts), 0.0)
