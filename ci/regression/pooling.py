"""Pooling: the series of one pool as a single series, which detects a small change that all of them share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kswatch.ci.regression.families import Ints, SeriesFamilies
from kswatch.ci.regression.threshold import Bools, Floats, Points, SeriesLevel

MOST_CHANGE = 0.06
"""The change at which a series' contribution to its pool is clipped."""
MIN_NOISE = 0.004
"""The smallest noise unit that a series' weight is computed from."""
IN_LEVEL = 0.9
"""Share of a night's measured weight that must belong to the levels of its own series."""
_BATCH_SIZE = 4_000
"""Series, counted once for each of their pools, that are processed together: it bounds the memory."""


def pooled(
    newest: Points,
    past: Points,
    in_level: Bools,
    worse_sign: Floats,
    level: SeriesLevel,
    families: SeriesFamilies,
) -> tuple[Points, Bools]:
    """Each pool on each night, `(pools, nights + 1)`: 1 + the mean change from the level, above 1 is worse.

    Weighted by the inverse squares of the series' noise units, and without the series that contributes most
    to the change; NaN where less than half of a pool's weight was measured. Series with too little history
    are left out. The second result holds the past nights that make the pools' levels: those on which nearly
    all measured series belong to their own levels.

    Args:
        newest: the night's points, `(series,)`.
        past: comparable points, `(series, nights)`, a column being one night.
        in_level: which of them belong to no alert.
        worse_sign: 1 where more is worse, -1 where less is.
        level: of each series.
        families: the pools.
    """
    values = np.column_stack([past.value, newest.value])
    changes = np.clip(values / level.value[:, None] - 1, -MOST_CHANGE, MOST_CHANGE) * worse_sign[:, None]
    weight = np.nan_to_num(np.fmax(level.noise, MIN_NOISE) ** -2)
    known = np.isfinite(changes)
    weights = known * weight[:, None]
    weighted = np.where(known, changes, 0.0) * weights
    good = weights[:, :-1] * in_level
    value = np.full((len(families.pools), values.shape[1]), np.nan)
    pool_in_level = np.zeros((len(families.pools), in_level.shape[1]), dtype=bool)
    for rows, members, starts in _batches(families.pools):
        measured = np.add.reduceat(weights[members], starts)
        enough = 2 * measured >= np.add.reduceat(weight[members], starts)[:, None]
        enough &= np.add.reduceat(weights[members] > 0, starts, dtype=int) >= 2
        changed = _mean_without_largest(weighted[members], weights[members], starts)
        value[rows] = np.where(enough, 1 + changed, np.nan)
        in_levels = np.add.reduceat(good[members], starts)
        pool_in_level[rows] = enough[:, :-1] & (in_levels >= IN_LEVEL * measured[:, :-1])
    unknown = np.full_like(value, np.nan)
    return Points(value, unknown, unknown), pool_in_level


def _batches(pools: Sequence[Ints]) -> Iterator[tuple[slice, Ints, Ints]]:
    """Batches of pools: their rows, the series of one pool after another, and the start of each pool."""
    ends = np.cumsum([len(pool) for pool in pools])
    first = 0
    while first < len(pools):
        start = ends[first] - len(pools[first])
        last = max(int(np.searchsorted(ends, start + _BATCH_SIZE, side="right")), first + 1)
        starts = np.concatenate([[0], ends[first : last - 1] - start])
        yield slice(first, last), np.concatenate(pools[first:last]), starts
        first = last


def _mean_without_largest(weighted: Floats, weights: Floats, starts: Ints) -> Floats:
    """The mean of each pool and night without the member that contributes most to it.

    0 where the other members have the opposite sign. A jackknife (Quenouille 1956, "Notes on bias in
    estimation") that keeps the smallest of the means: one outlying series makes no pool significant, while a
    change of all series is hardly reduced.
    """
    total, measured = np.add.reduceat(weighted, starts), np.add.reduceat(weights, starts)
    side = np.sign(total)
    pool = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(weighted)))
    with np.errstate(invalid="ignore", divide="ignore"):  # a pool of one leaves no member
        means = side[pool] * (total[pool] - weighted) / (measured[pool] - weights)
    return side * np.maximum(np.minimum.reduceat(means, starts), 0.0)
