"""How sure a finding is: against what quiet nights do by themselves, with the nights before it and its kin.

One night that is far out, two nights that are out, or three that are a little out on the same side:
each way the finding is as strong as the weakest of its nights, and the same is asked of past nights
to learn how often that happens by chance. A pool of series is judged in the same way as one series.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ci.chance import chance_of, survivors
from ci.config import CiConfig
from ci.kin import Ints, Kin
from ci.pooling import pooled
from ci.rule import Bools, Floats, Level, Points, Ruling, level_of, rule

WITNESSES = 2
"""Nights before the judged one that may speak with it; they are left out of its level."""
QUIET_NIGHTS = 10
"""Past nights from which chance is learnt."""
POOLS_QUIET_NIGHTS = 30
"""The same for pools, of which there are fewer."""
POOLED_SHARE = 0.75
"""Of the floor: what a pool must change, since a mean change of the floor itself must not be missed."""
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
    """`(pools, nights + 1)`, from `ci.pooling.pooled`."""
    carried_by: Ints
    """`(series,)`: the pool with which a series is told; -1 for none."""


def weigh(
    newest: Points, past: Points, in_level: Bools, higher_is_better: Bools, kin: Kin, config: CiConfig
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
    """
    alone = _weigh(newest, past, in_level, higher_is_better, kin.family, config, QUIET_NIGHTS)
    worse_sign = np.where(higher_is_better, -1.0, 1.0)
    history = pooled(newest, past, in_level, worse_sign, alone.level, kin)
    nights = past.value.shape[1]
    before = Points(*(part[:, :nights] for part in vars(history).values()))
    never = np.zeros(len(kin.pools), dtype=bool)
    together = _weigh(
        history.night(nights),
        before,
        np.isfinite(before.value),
        never,
        kin.pool_family,
        replace(config, floor=POOLED_SHARE * config.floor),
        POOLS_QUIET_NIGHTS,
    )
    carried_by = _carriers(alone, together, worse_sign, kin, config)
    return WithPools(_told_together(alone, together, carried_by, worse_sign), together, history, carried_by)


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
    higher_is_better: Bools,
    family: Ints,
    config: CiConfig,
    quiet_nights: int,
) -> Weighed:
    past, in_level = _without_gaps(past, in_level, config.noise_runs + quiet_nights + WITNESSES)
    nights = past.value.shape[1]
    level = _level_before(past, in_level, nights, config)
    ruling = rule(newest, level, higher_is_better, config)
    strength = _strengths(newest, past, nights, level, higher_is_better, config)
    quiet = _quiet_strengths(past, in_level, higher_is_better, config, quiet_nights)
    chances = [chance_of(found, seen) for found, seen in zip(strength, quiet, strict=True)]
    family = np.where(ruling.too_little_history, -1, family)
    found = ruling.slower | ruling.faster
    one_night = (ruling.units >= config.confirm_units) & ruling.unseen
    sure = one_night & _stand(chances[0], family, config.false_confirmation_rate)
    for chance in chances[1:]:
        sure |= _stand(chance, family, config.false_confirmation_rate)
    discovered = _stand(chances[0], family, config.false_discovery_rate)
    return Weighed(level, ruling, found & discovered, found & sure, chances[0])


def _without_gaps(past: Points, in_level: Bools, most: int) -> tuple[Points, Bools]:
    """Each row's known points to the right, the newest `most` of them: a series may skip nights."""
    order = np.argsort(np.isfinite(past.value), axis=1, kind="stable")[:, -most:]
    parts = (np.take_along_axis(part, order, axis=1) for part in vars(past).values())
    return Points(*parts), np.take_along_axis(in_level, order, axis=1)


def _stand(chances: Floats, family: Ints, rate: float) -> Bools:
    """What stands at this rate among all families together; the family -1 is not judged."""
    stand = np.zeros(len(chances), dtype=bool)
    names = np.unique(family[family >= 0])
    for name in names:
        stand[family == name] = survivors(chances[family == name], rate / len(names))
    return stand


def _level_before(past: Points, in_level: Bools, night: int, config: CiConfig) -> Level:
    """The level for judging a night: without its witnesses, where enough is left."""
    before = np.arange(past.value.shape[1]) < night
    apart = in_level & (np.arange(past.value.shape[1]) < night - WITNESSES)
    enough = (apart & np.isfinite(past.value)).sum(axis=1) >= config.minimum_runs
    return level_of(past.where(np.where(enough[:, None], apart, in_level & before)), config)


def _strengths(
    point: Points, past: Points, night: int, level: Level, higher_is_better: Bools, config: CiConfig
) -> list[Floats]:
    """By how many nights speak: the noise units of the weakest, 0 where they do not all agree."""
    worse_by = [rule(point, level, higher_is_better, config).worse_by]
    for back in range(1, WITNESSES + 1):
        witness = past.night(night - back) if night >= back else None
        told = (
            rule(witness, level, higher_is_better, config).worse_by if witness else np.zeros(len(level.value))
        )
        worse_by.append(told)
    together = [np.column_stack(worse_by[: count + 1]) for count in range(WITNESSES + 1)]
    return [np.fmax(np.fmax(each.min(axis=1), -each.max(axis=1)), 0.0) for each in together]


def _quiet_strengths(
    past: Points, in_level: Bools, higher_is_better: Bools, config: CiConfig, quiet_nights: int
) -> list[Floats]:
    """The same of past nights that belong to no alert, each judged as it was on its own day."""
    nights = past.value.shape[1]
    seen: list[list[Floats]] = [[np.zeros(0)] for _ in range(WITNESSES + 1)]
    for night in range(max(nights - quiet_nights, config.minimum_runs), nights):
        level = _level_before(past, in_level, night, config)
        judged = in_level[:, night] & (level.comparable_runs >= config.minimum_runs)
        strengths = _strengths(past.night(night), past, night, level, higher_is_better, config)
        for collected, strength in zip(seen, strengths, strict=True):
            collected.append(strength[judged])
    return [np.concatenate(collected) for collected in seen]
