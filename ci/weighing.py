"""How sure a finding is: against what quiet nights do by themselves, and with the nights before it.

One night that is far out, two nights that are out, or three that are a little out on the same side:
each way the finding is as strong as the weakest of its nights, and the same is asked of past nights
to learn how often that happens by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ci.chance import chance_of, survivors
from ci.config import CiConfig
from ci.rule import Bools, Floats, Level, Points, Ruling, level_of, rule

WITNESSES = 2
"""Nights before the judged one that may speak with it; they are left out of its level."""
QUIET_NIGHTS = 10
"""Past nights from which chance is learnt."""


@dataclass(frozen=True)
class Weighed:
    """A night's findings, `(series,)` each."""

    level: Level
    ruling: Ruling
    significant: Bools
    """Slower or faster, and more than what chance finds among so many series."""
    confirmed: Bools
    """The same so surely that a quiet night as good as never says so."""


def weigh(
    newest: Points,
    past: Points,
    in_level: Bools,
    higher_is_better: Bools,
    family: NDArray[np.int64],
    config: CiConfig,
) -> Weighed:
    """Judge the newest points of a night and say how sure that is.

    Args:
        newest: the night's points, `(series,)`.
        past: comparable points before it, `(series, nights)`, each row's known points to the right.
        in_level: which of them may make the level: not those that belong to an alert.
        higher_is_better: of each series.
        family: number of the series that could move together; chance is weighed within each, so that
            what moved in one does not make findings of another cheap.
        config: the limits.
    """
    nights = past.value.shape[1]
    level = _level_before(past, in_level, nights, config)
    ruling = rule(newest, level, higher_is_better, config)
    strength = _strengths(newest, past, nights, level, higher_is_better, config)
    quiet = _quiet_strengths(past, in_level, higher_is_better, config)
    chances = [chance_of(found, seen) for found, seen in zip(strength, quiet, strict=True)]
    family = np.where(ruling.too_little_history, -1, family)
    found = ruling.slower | ruling.faster
    one_night = (ruling.units >= config.confirm_units) & ruling.unseen
    sure = one_night & _stand(chances[0], family, config.false_confirmation_rate)
    for chance in chances[1:]:
        sure |= _stand(chance, family, config.false_confirmation_rate)
    discovered = _stand(chances[0], family, config.false_discovery_rate)
    return Weighed(level, ruling, significant=found & discovered, confirmed=found & sure)


def _stand(chances: Floats, family: NDArray[np.int64], rate: float) -> Bools:
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
    past: Points, in_level: Bools, higher_is_better: Bools, config: CiConfig
) -> list[Floats]:
    """The same of past nights that belong to no alert, each judged as it was on its own day."""
    nights = past.value.shape[1]
    seen: list[list[Floats]] = [[np.zeros(0)] for _ in range(WITNESSES + 1)]
    for night in range(max(nights - QUIET_NIGHTS, config.minimum_runs), nights):
        level = _level_before(past, in_level, night, config)
        judged = in_level[:, night] & (level.comparable_runs >= config.minimum_runs)
        strengths = _strengths(past.night(night), past, night, level, higher_is_better, config)
        for collected, strength in zip(seen, strengths, strict=True):
            collected.append(strength[judged])
    return [np.concatenate(collected) for collected in seen]
