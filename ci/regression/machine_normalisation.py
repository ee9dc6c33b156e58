"""What a night's machine did to everything it measured, so that it is not held against the code."""

from __future__ import annotations

import numpy as np

from kswatch.ci.regression.families import LEAST_POOLED, Kin
from kswatch.ci.regression.threshold import Bools, Floats, Points, row_median


def as_of_tonight(past: Points, shift: Floats, kin: Kin) -> Points:
    """Past points as they would read on the newest night's machine; `shift` is from `machine_shift`."""
    factor = ((1 + shift[:, -1:]) / (1 + shift[:, :-1]))[kin.family]
    return Points(past.value * factor, past.low * factor, past.high * factor)


def machine_shift(newest: Points, past: Points, in_level: Bools, kin: Kin, canaries: Floats) -> Floats:
    """How far each night's machine was from its level, as each family sees it, `(families, nights + 1)`.

    A family is never part of its own reference: the other implementations of the same metric are, and for
    times the canaries. Of three references or more the median is taken; of two the smaller change where they
    agree, so that one that moved by itself moves nobody else's; one alone says nothing.

    Args:
        newest: the night's points, `(series,)`.
        past: those of the nights before it, `(series, nights)`, a column being one night.
        in_level: which of them make the level.
        kin: the families.
        canaries: relative change of each canary from its own level, `(canaries, nights + 1)`.
    """
    level = row_median(np.where(in_level, past.value, np.nan))
    changes = np.column_stack([past.value, newest.value]) / level[:, None] - 1
    moves = np.array([_family_moves(changes[kin.family == index]) for index in range(len(kin.names))])
    shift = np.zeros((len(kin.names), past.value.shape[1] + 1))
    for index, (_, metric) in enumerate(kin.names):
        others = [of for of, name in enumerate(kin.names) if of != index and name[1] == metric]
        references = moves[others] if metric != "latency_ms" else np.vstack([moves[others], canaries])
        shift[index] = _agreed(references) if others else 0.0
    return shift


def overall_shift(shift: Floats, kin: Kin) -> Floats:
    """The machine's own change of each night, `(nights + 1,)`: the median of what the times' families see."""
    times = [index for index, (_, metric) in enumerate(kin.names) if metric == "latency_ms"]
    return np.median(shift[times], axis=0) if times else np.zeros(shift.shape[1])


def _family_moves(changes: Floats) -> Floats:
    """The median of a family's series on each night; NaN where too few were measured."""
    enough = np.isfinite(changes).sum(axis=0) >= LEAST_POOLED
    return np.where(enough, row_median(changes.T), np.nan)


def _agreed(references: Floats) -> Floats:
    """What the references of each night, a column, say together."""
    known = np.isfinite(references).sum(axis=0)
    ordered = np.sort(references, axis=0)[:2] if len(references) >= 2 else np.zeros((2, references.shape[1]))
    both = np.sign(ordered[0]) == np.sign(ordered[1])
    smaller = np.where(np.abs(ordered[0]) < np.abs(ordered[1]), ordered[0], ordered[1])
    of_two = np.where(both, smaller, 0.0)
    return np.nan_to_num(np.where(known >= 3, row_median(references.T), np.where(known == 2, of_two, 0.0)))
