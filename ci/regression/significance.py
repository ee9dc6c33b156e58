"""Significance of findings: p-values against the null distribution of quiet nights, for series and pools.

Evidence comes from one night, from two nights in a row, or from three on the same side. The strength of a
sequence is that of its weakest night, and its null distribution comes from the same sequences of quiet
nights. A pool of series is assessed in the same way as one series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.families import Ints, SeriesFamilies
from kswatch.ci.regression.noise_shrinkage import FamilyNoise, family_noise, shrink_to_family
from kswatch.ci.regression.null_distribution import empirical_p_values
from kswatch.ci.regression.pooling import pooled
from kswatch.ci.regression.threshold import (
    Bools,
    Floats,
    Points,
    SeriesLevel,
    ThresholdTest,
    apply_threshold,
    estimate_level,
    estimate_level_aligned,
    right_aligned,
)
from kswatch.db.statistics import benjamini_hochberg

HOLDOUT_NIGHTS = 2
"""Nights before the judged one that may support its finding; they are held out of its level."""
NULL_NIGHTS = (10, 60)
"""Minimum and maximum number of past nights in the null distribution ..."""
NULL_POINTS = 20_000
"""... and the number of points that it aims at."""
ONE_NIGHT_SHAPE = 0.25
"""The lightest tail that is assumed: that of Student's t with four degrees of freedom. A few weeks are no
evidence of a lighter one, since outliers and second modes that have not occurred yet lie beyond all points.
Two outlying nights in a row are as rare as one, squared: the tail of n nights is n times as light."""
_BATCH_SIZE = 2_000
"""Series whose past nights are judged together: it bounds the memory."""
POOLED_SHARE = 0.75
"""Share of the floor that a pool must change, so that a mean change of the floor itself is not missed."""
POOLED_UNITS = 0.5
"""Share of `confirm_units` that confirms a pool, in which an outlying night has no weight."""
POOL_MEMBER_SHARE = 0.5
"""Share of the floor that a series must change to be reported with its pool."""


@dataclass(frozen=True)
class Significance:
    """A night's findings, `(series,)` each."""

    level: SeriesLevel
    test: ThresholdTest
    significant: Bools
    """Slower or faster, and significant at the false-discovery rate."""
    confirmed: Bools
    """Slower or faster, and significant at the false-confirmation rate."""
    p_value: Floats
    """The probability of a night as extreme without a cause."""


@dataclass(frozen=True)
class PooledSignificance:
    """A night's findings with those of the pools."""

    per_series: Significance
    pools: Significance
    pool_history: Points
    """`(pools, nights + 1)`, from `kswatch.ci.regression.pooling.pooled`."""
    pool_in_level: Bools
    """`(pools, nights)`."""
    by_itself: Bools
    """`(series,)`: significant without its pool."""
    pool_of: Ints
    """`(series,)`: the pool with which a series is reported; -1 for none."""


def assess(
    newest: Points,
    past: Points,
    in_level: Bools,
    higher_is_better: Bools,
    families: SeriesFamilies,
    config: CiConfig,
    throttled: Bools | None = None,
    quiet: Bools | None = None,
) -> PooledSignificance:
    """Test the newest points of a night and rate the significance of the findings.

    Args:
        newest: the night's points, `(series,)`.
        past: comparable points before it, `(series, nights)`, a column being one night.
        in_level: which of them may make the level: not those that belong to an alert.
        higher_is_better: of each series.
        families: the families of the series; the false-discovery rate is controlled within each, so that
            findings in one do not make those of another more significant.
        config: the limits.
        throttled: points that are left out of the pools.
        quiet: which past nights make the null distribution, `(series, nights)`: those without an alert of
            the same implementation. All of them unless given.
    """
    quiet = np.ones_like(in_level) if quiet is None else quiet
    alone = _assess(newest, past, in_level, quiet, higher_is_better, families.family, config)
    worse_sign = np.where(higher_is_better, -1.0, 1.0)
    unthrottled = newest if throttled is None else newest.where(~throttled)
    history, pool_in_level = pooled(unthrottled, past, in_level, worse_sign, alone.level, families)
    nights = past.value.shape[1]
    lower_is_better = np.zeros(len(families.pools), dtype=bool)
    together = _assess(
        history.night(nights),
        history.night(slice(nights)),
        pool_in_level,
        quiet[[pool[0] for pool in families.pools]],
        lower_is_better,
        families.pool_family,
        replace(config, floor=POOLED_SHARE * config.floor, confirm_units=POOLED_UNITS * config.confirm_units),
    )
    pool_of = _assign_pools(alone, together, worse_sign, families, config)
    per_series = _add_pool_findings(alone, together, pool_of, worse_sign)
    return PooledSignificance(
        per_series, together, history, pool_in_level, alone.significant | alone.confirmed, pool_of
    )


def _assign_pools(
    alone: Significance,
    together: Significance,
    worse_sign: Floats,
    families: SeriesFamilies,
    config: CiConfig,
) -> Ints:
    """The pool with which each series is reported: the most significant one of its family."""
    pool_of = np.full(len(families.family), -1)
    significant = np.flatnonzero(together.significant | together.confirmed)
    worse = np.nan_to_num(alone.test.change * worse_sign)
    for family in np.unique(families.pool_family[significant]):
        of_family = significant[families.pool_family[significant] == family]
        strongest = of_family[np.argmax(together.test.units[of_family])]
        pool = families.pools[strongest]
        same_direction = worse[pool] * np.sign(together.test.change[strongest])
        reported = (same_direction > POOL_MEMBER_SHARE * config.floor) & ~alone.test.too_little_history[pool]
        pool_of[pool[reported]] = strongest
    return pool_of


def _add_pool_findings(
    alone: Significance, together: Significance, pool_of: Ints, worse_sign: Floats
) -> Significance:
    """The findings of each series, including those that only its pool shows."""
    pooled_too = pool_of >= 0
    if not pooled_too.any():
        return alone
    worse = pooled_too & (alone.test.change * worse_sign > 0)
    test = replace(
        alone.test,
        slower=alone.test.slower | worse,
        faster=alone.test.faster | (pooled_too & ~worse),
        ambiguous=alone.test.ambiguous & ~pooled_too,
    )
    return replace(
        alone,
        test=test,
        significant=alone.significant | (pooled_too & together.significant[pool_of]),
        confirmed=alone.confirmed | (pooled_too & together.confirmed[pool_of]),
        p_value=np.where(pooled_too, np.fmin(alone.p_value, together.p_value[pool_of]), alone.p_value),
    )


def _assess(
    newest: Points,
    past: Points,
    in_level: Bools,
    quiet: Bools,
    higher_is_better: Bools,
    family: Ints,
    config: CiConfig,
) -> Significance:
    most = int(np.clip(NULL_POINTS // max(len(family), 1), *NULL_NIGHTS)) + config.noise_runs + HOLDOUT_NIGHTS
    level = _level(past, in_level, config)
    prior = family_noise(level, family)
    level = shrink_to_family(level, prior)
    test = apply_threshold(newest, level, higher_is_better, config)
    before = right_aligned(past, HOLDOUT_NIGHTS)
    holdout = [before.night(-back) for back in range(1, min(HOLDOUT_NIGHTS, past.value.shape[1]) + 1)]
    strength = _run_strengths([newest, *holdout], level, higher_is_better, config)
    null = _null_strengths(right_aligned(past.where(in_level & quiet), most), prior, higher_is_better, config)
    p_values = [
        empirical_p_values(found, quiet_strength, ONE_NIGHT_SHAPE / nights)
        for nights, (found, quiet_strength) in enumerate(zip(strength, null, strict=True), 1)
    ]
    family = np.where(test.too_little_history, -1, family)
    moved = test.slower | test.faster
    extreme = (test.units >= config.confirm_units) & test.outside_history
    rate = config.false_confirmation_rate / len(p_values)  # shared by one, two and three nights in a row
    one, *several = (_significant_in_families(p_value, family, rate) for p_value in p_values)
    sure = np.any([one & extreme, *several], axis=0)
    discovered = _significant_in_families(p_values[0], family, config.false_discovery_rate)
    return Significance(level, test, moved & discovered, moved & sure, p_values[0])


def _significant_in_families(p_values: Floats, family: Ints, rate: float) -> Bools:
    """Which findings are significant at a rate shared by all families; those of family -1 are not judged."""
    significant = np.zeros(len(p_values), dtype=bool)
    names = np.unique(family[family >= 0])
    for name in names:
        members = family == name
        significant[members] = benjamini_hochberg(p_values[members].tolist(), rate / len(names))
    return significant


def _level(past: Points, in_level: Bools, config: CiConfig) -> SeriesLevel:
    """The level without the holdout nights, where enough nights remain."""
    known = np.isfinite(past.value)
    newer = np.cumsum(known[:, ::-1], axis=1)[:, ::-1]
    before_holdout = in_level & (newer > HOLDOUT_NIGHTS)
    enough = (before_holdout & known).sum(axis=1) >= config.minimum_runs
    return estimate_level(past.where(np.where(enough[:, None], before_holdout, in_level)), config)


def _run_strengths(
    nights: Sequence[Points], level: SeriesLevel, higher_is_better: Bools, config: CiConfig
) -> list[Floats]:
    """Noise units of the weakest of the newest one, two and three nights; 0 where their signs differ."""
    worse_by = [apply_threshold(night, level, higher_is_better, config).worse_by for night in nights]
    worse_by += [np.zeros(len(level.value))] * (HOLDOUT_NIGHTS + 1 - len(worse_by))
    together = [np.column_stack(worse_by[: count + 1]) for count in range(HOLDOUT_NIGHTS + 1)]
    return [np.fmax(np.fmax(each.min(axis=1), -each.max(axis=1)), 0.0) for each in together]


def _null_strengths(
    past: Points, prior: FamilyNoise, higher_is_better: Bools, config: CiConfig
) -> list[Floats]:
    """The strengths of quiet past nights, each judged by the nights before it; `past` is right-aligned."""
    null_strengths: list[list[Floats]] = [[np.zeros(0)] for _ in range(HOLDOUT_NIGHTS + 1)]
    for first in range(0, len(past.value), _BATCH_SIZE):
        rows = slice(first, first + _BATCH_SIZE)
        strengths = _null_rows(past.map(itemgetter(rows)), rows, prior, higher_is_better[rows], config)
        for collected, strength in zip(null_strengths, strengths, strict=True):
            collected.append(strength)
    return [np.concatenate(collected) for collected in null_strengths]


def _null_rows(
    past: Points, rows: slice, prior: FamilyNoise, higher_is_better: Bools, config: CiConfig
) -> list[Floats]:
    """The strengths of a batch of series, whose `rows` are those of the prior."""
    lead = config.noise_runs + HOLDOUT_NIGHTS
    nights = min(past.value.shape[1], max(past.value.shape[1] - lead, NULL_NIGHTS[0]))
    padding = np.full((len(past.value), max(lead + nights - past.value.shape[1], 0)), np.nan)
    padded = past.map(lambda part: np.column_stack([padding, part]))
    windows = padded.map(lambda part: _windows(part, config.noise_runs, nights))
    level = shrink_to_family(estimate_level_aligned(windows, config), prior.of(rows, nights))
    starts = range(lead, lead - HOLDOUT_NIGHTS - 1, -1)
    points = [padded.night(slice(start, start + nights)).map(np.ravel) for start in starts]
    strengths = _run_strengths(points, level, np.repeat(higher_is_better, nights), config)
    known = np.isfinite(points[0].value) & (level.comparable_runs >= config.minimum_runs)
    return [strength[known] for strength in strengths]


def _windows(part: Floats, length: int, nights: int) -> Floats:
    """The `length` points before the holdout nights of each night, one night below another."""
    windows = sliding_window_view(part, length, axis=1)[:, :nights]
    return windows.reshape(-1, length)
