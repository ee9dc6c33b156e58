"""Significance of findings: p-values against the null distribution of quiet nights, for series and pools.

Evidence comes from one night, or from up to five in a row on the same side. The strength of a sequence is
that of its weakest night, and its null distribution comes from the same sequences of quiet nights. A pool of
series is assessed in the same way as one series, but a series alone must persist: real series have nights,
and pairs of nights, far outside all that was seen before, which end by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.families import MIN_POOL_SIZE, Ints, SeriesFamilies
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
"""Nights before the judged one that are held out of its level."""
EARLIER_NIGHTS = 4
"""Nights before the judged one that may support its finding. The oldest two may be in its level, whose median
they hardly change."""
ALONE_SHARES = (np.inf, np.inf, 0.8, 0.4, 0.25)
"""Shares of `confirm_units` that each of one, two, ... nights in a row must have to confirm a series alone.
Chosen on replayed series (`kswatch replay`); one night is confirmed by measuring it again."""
MANY_SERIES = 1.0
"""With ten times as many series in a night, those units are larger by this multiple of their value for one:
excursions of several nights are no rarer in each, so that some series always has one."""
TOGETHER_SHARES = (1.0, 0.0, 0.0, 0.0, 0.0)
"""The same where several series of a family changed together, which are no outlier of a series ..."""
RATE_SHARES = (0.3, 0.3, 0.3, 0.05, 0.05)
"""How one, two, ... nights in a row share the rate of false confirmations."""
PAIR_SHARE = 2.0
"""Share of `confirm_units` from which already two series of a family that changed on one night confirm each
other; of smaller changes as many as a pool has must agree."""
POOL_SHARES = (0.5, 0.0, 0.0, 0.0, 0.0)
"""... and of a pool, in which an outlying night has no weight."""
LEAST_NIGHTS = 6
"""Nights that the noise unit of a series alone must be estimated from."""
KNOWN_POINTS = 1_000
"""Quiet points from which their distribution, too, must make a series alone rare; fewer cannot show it."""
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
class Evidence:
    """What confirms a finding; lists are by the number of nights in a row, from one on."""

    rare: list[Bools]
    """Significant at the false-confirmation rate, `(series,)` each."""
    strength: list[Floats]
    """Noise units of the weakest night, `(series,)` each."""
    family: Ints
    """-1 for series with too little history."""
    change: Floats
    """The newest night's, relative to the level."""
    nights: Ints
    """Nights that the noise unit is estimated from, `(series,)`."""
    is_null_known: bool
    """Whether the null distribution has enough points to show how rare a finding is."""


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
    dismissed: Bools | None = None,
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
        dismissed: points of alerts that proved to be noise, `(series, nights)`: not in the level, but in the
            null distribution, which would lack exactly its outliers without them. None unless given.
    """
    quiet = np.ones_like(in_level) if quiet is None else quiet
    null = in_level & quiet if dismissed is None else (in_level | dismissed) & quiet
    alone = _assess(newest, past, in_level, null, higher_is_better, families.family, config, _sure_series)
    worse_sign = np.where(higher_is_better, -1.0, 1.0)
    unthrottled = newest if throttled is None else newest.where(~throttled)
    history, pool_in_level = pooled(unthrottled, past, in_level, worse_sign, alone.level, families)
    nights = past.value.shape[1]
    lower_is_better = np.zeros(len(families.pools), dtype=bool)
    together = _assess(
        history.night(nights),
        history.night(slice(nights)),
        pool_in_level,
        pool_in_level & quiet[[pool[0] for pool in families.pools]],
        lower_is_better,
        families.pool_family,
        replace(config, floor=POOLED_SHARE * config.floor),
        _sure_pools,
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
    in_null: Bools,
    higher_is_better: Bools,
    family: Ints,
    config: CiConfig,
    sure_of: Callable[[Evidence, CiConfig], Bools],
) -> Significance:
    """The findings of series or of pools, of which `sure_of` confirms some."""
    most = int(np.clip(NULL_POINTS // max(len(family), 1), *NULL_NIGHTS)) + config.noise_runs + HOLDOUT_NIGHTS
    level = _level(past, in_level, config)
    prior = family_noise(level, family)
    level = shrink_to_family(level, prior)
    test = apply_threshold(newest, level, higher_is_better, config)
    before = right_aligned(past, EARLIER_NIGHTS)
    earlier = [before.night(-back) for back in range(1, min(EARLIER_NIGHTS, past.value.shape[1]) + 1)]
    strength = _run_strengths([newest, *earlier], level, higher_is_better, config)
    null = _null_strengths(right_aligned(past.where(in_null), most), prior, higher_is_better, config)
    p_values = [
        empirical_p_values(found, quiet_strength, ONE_NIGHT_SHAPE / nights)
        for nights, (found, quiet_strength) in enumerate(zip(strength, null, strict=True), 1)
    ]
    family = np.where(test.too_little_history, -1, family)
    rare = [
        _significant_in_families(p_value, family, share * config.false_confirmation_rate)
        for p_value, share in zip(p_values, RATE_SHARES, strict=True)
    ]
    rare[0] &= test.outside_history
    sure = sure_of(
        Evidence(rare, strength, family, test.change, level.noise_nights, len(null[0]) >= KNOWN_POINTS),
        config,
    )
    test = _with_persistent(test, sure, higher_is_better, config)
    moved = test.slower | test.faster
    discovered = _significant_in_families(p_values[0], family, config.false_discovery_rate)
    return Significance(level, test, moved & discovered, moved & sure, p_values[0])


def _sure_pools(of: Evidence, config: CiConfig) -> Bools:
    """Pools that are rare, and on a single night strong: an outlying night of one series has no weight."""
    enough = [
        units >= share * config.confirm_units for units, share in zip(of.strength, POOL_SHARES, strict=True)
    ]
    return np.any([rare & strong for rare, strong in zip(of.rare, enough, strict=True)], axis=0)


def _sure_series(of: Evidence, config: CiConfig) -> Bools:
    """Series that changed together with others and are rare, and series alone that persist."""
    many = 1 + MANY_SERIES * np.log10(max(len(of.family), 1))
    sure = np.zeros(len(of.family), dtype=bool)
    for rare, units, alone, joint in zip(of.rare, of.strength, ALONE_SHARES, TOGETHER_SHARES, strict=True):
        together = rare & (units >= joint * config.confirm_units)
        sure |= together & (_company(together, of.family, of.change) >= MIN_POOL_SIZE)
        by_itself = (units >= alone * many * config.confirm_units) & (of.nights >= LEAST_NIGHTS)
        sure |= by_itself & (rare | (not of.is_null_known))
    far = of.rare[0] & (of.strength[0] >= PAIR_SHARE * config.confirm_units)
    sure |= far & (_company(far, of.family, of.change) >= 2)
    return sure & (of.family >= 0)


def _company(found: Bools, family: Ints, change: Floats) -> Ints:
    """The number of findings of each series' family and direction, itself included."""
    kind = 2 * np.maximum(family, 0) + (change > 0)
    return np.bincount(kind[found], minlength=int(kind.max(initial=0)) + 1)[kind]


def _with_persistent(
    test: ThresholdTest, sure: Bools, higher_is_better: Bools, config: CiConfig
) -> ThresholdTest:
    """The test with series that are sure by several nights, though this one has fewer than three units."""
    persistent = sure & (np.abs(test.change) > config.floor)
    worse = (test.change > 0) ^ higher_is_better
    return replace(
        test,
        slower=test.slower | (persistent & worse),
        faster=test.faster | (persistent & ~worse),
        ambiguous=test.ambiguous & ~persistent,
    )


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
    """Noise units of the weakest of the newest one, two, ... nights; 0 where their signs differ."""
    worse_by = [apply_threshold(night, level, higher_is_better, config).worse_by for night in nights]
    worse_by += [np.zeros(len(level.value))] * (EARLIER_NIGHTS + 1 - len(worse_by))
    together = [np.column_stack(worse_by[: count + 1]) for count in range(EARLIER_NIGHTS + 1)]
    return [np.fmax(np.fmax(each.min(axis=1), -each.max(axis=1)), 0.0) for each in together]


def _null_strengths(
    past: Points, prior: FamilyNoise, higher_is_better: Bools, config: CiConfig
) -> list[Floats]:
    """The strengths of quiet past nights, each judged by the nights before it; `past` is right-aligned."""
    null_strengths: list[list[Floats]] = [[np.zeros(0)] for _ in range(EARLIER_NIGHTS + 1)]
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
    starts = range(lead, max(lead - EARLIER_NIGHTS, 0) - 1, -1)
    points = [padded.night(slice(start, start + nights)).map(np.ravel) for start in starts]
    strengths = _run_strengths(points, level, np.repeat(higher_is_better, nights), config)
    known = np.isfinite(points[0].value) & (level.comparable_runs >= config.minimum_runs)
    return [strength[known] for strength in strengths]


def _windows(part: Floats, length: int, nights: int) -> Floats:
    """The `length` points before the holdout nights of each night, one night below another."""
    windows = sliding_window_view(part, length, axis=1)[:, :nights]
    return windows.reshape(-1, length)
