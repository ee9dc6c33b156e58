"""How sure a finding is: against what quiet nights do by themselves, with the nights before it and its kin.

One night that is far out, two nights that are out, or three that are a little out on the same side:
each way the finding is as strong as the weakest of its nights, and the same is asked of past nights
to learn how often that happens by chance. A pool of series is judged in the same way as one series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.families import Ints, Kin
from kswatch.ci.regression.noise_shrinkage import SharedNoise, drawn_together, shared_noise
from kswatch.ci.regression.null_distribution import chance_of, survivors
from kswatch.ci.regression.pooling import pooled
from kswatch.ci.regression.threshold import (
    Bools,
    Floats,
    Level,
    Points,
    Ruling,
    closed_up,
    level_of,
    level_of_closed,
    rule,
)

WITNESSES = 2
"""Nights before the judged one that may speak with it; they are left out of its level."""
QUIET_NIGHTS = (10, 60)
"""At least and at most so many past nights teach chance ..."""
QUIET_POINTS = 20_000
"""... as many of them as give so many points."""
ONE_NIGHT_SHAPE = 0.25
"""The lightest tail that is believed: that of Student's t with four degrees of freedom, since some weeks
never show that a tail is lighter, and wild nights and second modes that were not met yet lie beyond all that
was. Two wild nights in a row are as rare as one is, squared: the tail of n nights is n times as light."""
_ROWS_AT_ONCE = 2_000
"""Series whose past nights are judged at once: more would only take memory."""
POOLED_SHARE = 0.75
"""Of the floor: what a pool must change, since a mean change of the floor itself must not be missed."""
POOLED_UNITS = 0.5
"""Of the units that confirm one series at once: what confirms a pool, in which a wild night has no weight."""
MEMBERS_SHARE = 0.5
"""Of the floor: what a series must change to be told with its pool."""


@dataclass(frozen=True)
class Weighed:
    """A night's findings, `(series,)` each."""

    level: Level
    ruling: Ruling
    significant: Bools
    """Slower or faster, and more than what chance finds among so many series."""
    confirmed: Bools
    """The same so surely that a quiet night as good as never says so."""
    chance: Floats
    """How often a quiet night goes as far as this one, by itself."""


@dataclass(frozen=True)
class WithPools:
    """A night's findings with those of the pools."""

    weighed: Weighed
    pools: Weighed
    pool_history: Points
    """`(pools, nights + 1)`, from `kswatch.ci.regression.pooling.pooled`."""
    pool_in_level: Bools
    """`(pools, nights)`."""
    by_itself: Bools
    """`(series,)`: significant without its pool."""
    carried_by: Ints
    """`(series,)`: the pool with which a series is told; -1 for none."""


def weigh(
    newest: Points,
    past: Points,
    in_level: Bools,
    higher_is_better: Bools,
    kin: Kin,
    config: CiConfig,
    throttled: Bools | None = None,
    quiet: Bools | None = None,
) -> WithPools:
    """Judge the newest points of a night and say how sure that is.

    Args:
        newest: the night's points, `(series,)`.
        past: comparable points before it, `(series, nights)`, a column being one night.
        in_level: which of them may make the level: not those that belong to an alert.
        higher_is_better: of each series.
        kin: the series that could move together; chance is weighed within each family, so that what
            moved in one does not make findings of another cheap.
        config: the limits.
        throttled: points that take no part in a pool.
        quiet: which past nights teach chance, `(series, nights)`: those on which no alert of the same
            implementation was seen. All of them unless given.
    """
    quiet = np.ones_like(in_level) if quiet is None else quiet
    alone = _weigh(newest, past, in_level, quiet, higher_is_better, kin.family, config)
    worse_sign = np.where(higher_is_better, -1.0, 1.0)
    fair = newest if throttled is None else newest.where(~throttled)
    history, pool_in_level = pooled(fair, past, in_level, worse_sign, alone.level, kin)
    nights = past.value.shape[1]
    before = Points(*(part[:, :nights] for part in vars(history).values()))
    never = np.zeros(len(kin.pools), dtype=bool)
    together = _weigh(
        history.night(nights),
        before,
        pool_in_level,
        quiet[[pool[0] for pool in kin.pools]],
        never,
        kin.pool_family,
        replace(config, floor=POOLED_SHARE * config.floor, confirm_units=POOLED_UNITS * config.confirm_units),
    )
    carried_by = _carriers(alone, together, worse_sign, kin, config)
    weighed = _told_together(alone, together, carried_by, worse_sign)
    return WithPools(
        weighed, together, history, pool_in_level, alone.significant | alone.confirmed, carried_by
    )


def _carriers(alone: Weighed, together: Weighed, worse_sign: Floats, kin: Kin, config: CiConfig) -> Ints:
    """With which pool each series is told: the one of its family that stands out most."""
    carried_by = np.full(len(kin.family), -1)
    standing = np.flatnonzero(together.significant | together.confirmed)
    worse = np.nan_to_num(alone.ruling.change * worse_sign)
    for family in np.unique(kin.pool_family[standing]):
        of_family = standing[kin.pool_family[standing] == family]
        strongest = of_family[np.argmax(together.ruling.units[of_family])]
        pool = kin.pools[strongest]
        along = worse[pool] * np.sign(together.ruling.change[strongest])
        told = (along > MEMBERS_SHARE * config.floor) & ~alone.ruling.too_little_history[pool]
        carried_by[pool[told]] = strongest
    return carried_by


def _told_together(alone: Weighed, together: Weighed, carried_by: Ints, worse_sign: Floats) -> Weighed:
    """The findings of each series, with those that only its pool shows."""
    carried = carried_by >= 0
    if not carried.any():
        return alone
    worse = carried & (alone.ruling.change * worse_sign > 0)
    ruling = replace(
        alone.ruling,
        slower=alone.ruling.slower | worse,
        faster=alone.ruling.faster | (carried & ~worse),
        ambiguous=alone.ruling.ambiguous & ~carried,
    )
    return replace(
        alone,
        ruling=ruling,
        significant=alone.significant | (carried & together.significant[carried_by]),
        confirmed=alone.confirmed | (carried & together.confirmed[carried_by]),
        chance=np.where(carried, np.fmin(alone.chance, together.chance[carried_by]), alone.chance),
    )


def _weigh(
    newest: Points,
    past: Points,
    in_level: Bools,
    quiet: Bools,
    higher_is_better: Bools,
    family: Ints,
    config: CiConfig,
) -> Weighed:
    most = int(np.clip(QUIET_POINTS // max(len(family), 1), *QUIET_NIGHTS)) + config.noise_runs + WITNESSES
    level = _level(past, in_level, config)
    common = shared_noise(level, family)
    level = drawn_together(level, common)
    ruling = rule(newest, level, higher_is_better, config)
    witnesses = _witnesses(closed_up(past, WITNESSES), past.value.shape[1])
    strength = _strengths([newest, *witnesses], level, higher_is_better, config)
    learnt = _quiet_strengths(closed_up(past.where(in_level & quiet), most), common, higher_is_better, config)
    chances = [
        chance_of(found, seen, ONE_NIGHT_SHAPE / nights)
        for nights, (found, seen) in enumerate(zip(strength, learnt, strict=True), 1)
    ]
    family = np.where(ruling.too_little_history, -1, family)
    found = ruling.slower | ruling.faster
    one_night = (ruling.units >= config.confirm_units) & ruling.unseen
    rate = config.false_confirmation_rate / len(chances)  # each of the ways may err
    one, *several = (_stand(chance, family, rate) for chance in chances)
    sure = np.any([one & one_night, *several], axis=0)
    discovered = _stand(chances[0], family, config.false_discovery_rate)
    return Weighed(level, ruling, found & discovered, found & sure, chances[0])


def _stand(chances: Floats, family: Ints, rate: float) -> Bools:
    """What stands at this rate among all families together; the family -1 is not judged."""
    stand = np.zeros(len(chances), dtype=bool)
    names = np.unique(family[family >= 0])
    for name in names:
        stand[family == name] = survivors(chances[family == name], rate / len(names))
    return stand


def _level(past: Points, in_level: Bools, config: CiConfig) -> Level:
    """The level for judging tonight: without its witnesses, where enough is left."""
    known = np.isfinite(past.value)
    newer = np.cumsum(known[:, ::-1], axis=1)[:, ::-1]
    apart = in_level & (newer > WITNESSES)
    enough = (apart & known).sum(axis=1) >= config.minimum_runs
    return level_of(past.where(np.where(enough[:, None], apart, in_level)), config)


def _witnesses(past: Points, nights: int) -> list[Points]:
    """The newest known points of each series, the last first."""
    return [past.night(-back) for back in range(1, min(WITNESSES, nights) + 1)]


def _strengths(
    nights: Sequence[Points], level: Level, higher_is_better: Bools, config: CiConfig
) -> list[Floats]:
    """By how many nights speak, the newest first: the noise units of the weakest, 0 where they disagree."""
    worse_by = [rule(night, level, higher_is_better, config).worse_by for night in nights]
    worse_by += [np.zeros(len(level.value))] * (WITNESSES + 1 - len(worse_by))
    together = [np.column_stack(worse_by[: count + 1]) for count in range(WITNESSES + 1)]
    return [np.fmax(np.fmax(each.min(axis=1), -each.max(axis=1)), 0.0) for each in together]


def _quiet_strengths(
    past: Points, common: SharedNoise, higher_is_better: Bools, config: CiConfig
) -> list[Floats]:
    """The same of past nights that belong to no alert, each judged as it was on its own day.

    `past` has each row's known points to the right.
    """
    seen: list[list[Floats]] = [[np.zeros(0)] for _ in range(WITNESSES + 1)]
    for first in range(0, len(past.value), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        part = Points(*(values[rows] for values in vars(past).values()))
        strengths = _quiet_rows(part, rows, common, higher_is_better[rows], config)
        for collected, strength in zip(seen, strengths, strict=True):
            collected.append(strength)
    return [np.concatenate(collected) for collected in seen]


def _quiet_rows(
    past: Points, rows: slice, common: SharedNoise, higher_is_better: Bools, config: CiConfig
) -> list[Floats]:
    lead = config.noise_runs + WITNESSES
    nights = min(past.value.shape[1], max(past.value.shape[1] - lead, QUIET_NIGHTS[0]))
    padding = np.full((len(past.value), max(lead + nights - past.value.shape[1], 0)), np.nan)
    padded = Points(*(np.column_stack([padding, part]) for part in vars(past).values()))
    judged = [
        _one_below_another(part[:, lead - back : lead - back + nights])
        for back in range(WITNESSES + 1)
        for part in vars(padded).values()
    ]
    windows = Points(*(_windows(part, config.noise_runs, nights) for part in vars(padded).values()))
    level = drawn_together(level_of_closed(windows, config), common.of(rows, nights))
    points = [Points(*judged[3 * back : 3 * back + 3]) for back in range(WITNESSES + 1)]
    strengths = _strengths(points, level, np.repeat(higher_is_better, nights), config)
    known = np.isfinite(points[0].value) & (level.comparable_runs >= config.minimum_runs)
    return [strength[known] for strength in strengths]


def _windows(part: Floats, length: int, nights: int) -> Floats:
    """The `length` points before the witnesses of each night, one night below another."""
    windows = sliding_window_view(part, length, axis=1)[:, :nights]
    return windows.reshape(-1, length)


def _one_below_another(part: Floats) -> Floats:
    return part.reshape(-1)
