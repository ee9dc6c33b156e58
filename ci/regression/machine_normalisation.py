"""Machine normalisation: each night's common change of everything, removed so that code is not blamed."""

from __future__ import annotations

import numpy as np

from kswatch.ci.regression.families import MIN_POOL_SIZE, SeriesFamilies
from kswatch.ci.regression.threshold import Bools, Floats, Points, row_median


def rescale_past(past: Points, shift: Floats, families: SeriesFamilies) -> Points:
    """Past points as the newest night's machine would measure them; `shift` is from `machine_shift`."""
    factor = ((1 + shift[:, -1:]) / (1 + shift[:, :-1]))[families.family]
    return past.map(lambda part: part * factor)


def machine_shift(
    newest: Points, past: Points, in_level: Bools, families: SeriesFamilies, canaries: Floats
) -> Floats:
    """The machine's change from its level for each family and night, `(families, nights + 1)`.

    The references of a family are the other implementations of the same metric and, for latencies, the
    canaries; never the family itself. Of three or more references the median counts; of two the smaller
    change where they agree in sign, so that one reference alone shifts no other family; one alone is ignored.

    Args:
        newest: the night's points, `(series,)`.
        past: the points of the nights before it, `(series, nights)`, a column being one night.
        in_level: which of them make the level.
        families: the families of the series.
        canaries: relative change of each canary from its own level, `(canaries, nights + 1)`.
    """
    level = row_median(np.where(in_level, past.value, np.nan))
    changes = np.column_stack([past.value, newest.value]) / level[:, None] - 1
    count = range(len(families.names))
    moves = np.array([_family_changes(changes[families.family == index]) for index in count])
    shift = np.zeros((len(families.names), past.value.shape[1] + 1))
    for index, (_, metric) in enumerate(families.names):
        others = [of for of, name in enumerate(families.names) if of != index and name[1] == metric]
        references = moves[others] if metric != "latency_ms" else np.vstack([moves[others], canaries])
        shift[index] = _consensus(references) if others else 0.0
    return shift


def overall_shift(shift: Floats, families: SeriesFamilies) -> Floats:
    """The machine's own change of each night, `(nights + 1,)`: the median over the families of latencies."""
    latencies = [index for index, (_, metric) in enumerate(families.names) if metric == "latency_ms"]
    return np.median(shift[latencies], axis=0) if latencies else np.zeros(shift.shape[1])


def _family_changes(changes: Floats) -> Floats:
    """The median of a family's series on each night; NaN where too few were measured."""
    enough = np.isfinite(changes).sum(axis=0) >= MIN_POOL_SIZE
    return np.where(enough, row_median(changes.T), np.nan)


def _consensus(references: Floats) -> Floats:
    """The change that the references of each night, a column, agree on."""
    known = np.isfinite(references).sum(axis=0)
    ordered = np.sort(references, axis=0)[:2] if len(references) >= 2 else np.zeros((2, references.shape[1]))
    same_sign = np.sign(ordered[0]) == np.sign(ordered[1])
    smaller = np.where(np.abs(ordered[0]) < np.abs(ordered[1]), ordered[0], ordered[1])
    of_two = np.where(same_sign, smaller, 0.0)
    return np.nan_to_num(np.where(known >= 3, row_median(references.T), np.where(known == 2, of_two, 0.0)))
