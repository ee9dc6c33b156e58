"""Which series a cause would move together: families, and the pools inside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kswatch.db.records import ProblemKey

Ints = NDArray[np.int64]

LEAST_POOLED = 4
"""Fewer series are judged by themselves alone."""


@dataclass(frozen=True)
class Series:
    """One metric of one cell on the judged run's device."""

    cell_id: int
    problem: ProblemKey
    implementation: str
    metric: str
    best_baseline: str | None = None
    """Of a speedup: which baseline it was against."""


@dataclass(frozen=True)
class Kin:
    """What may move together."""

    family: Ints
    """`(series,)`: the number of each series' implementation and metric."""
    names: list[tuple[str, str]]
    """Implementation and metric of each family."""
    pools: list[Ints]
    """Indices of series of one family that share a precision, a layout, a kind of pattern or a batch."""
    pool_family: Ints
    pool_labels: list[str]
    """What each pool's series share, in words; empty for a whole family."""


def kin_of(series: Sequence[Series]) -> Kin:
    """The families of these series and their pools."""
    names = sorted({(one.implementation, one.metric) for one in series})
    number = {name: index for index, name in enumerate(names)}
    family = np.array([number[one.implementation, one.metric] for one in series], dtype=np.int64)
    members: dict[tuple[int, str], list[int]] = {}
    for index, one in enumerate(series):
        if one.metric == "speedup":
            continue  # it moves with two implementations; their times are pooled
        for label in _labels(one.problem):
            members.setdefault((int(family[index]), label), []).append(index)
    distinct: dict[tuple[int, ...], tuple[int, str]] = {}
    for key, indices in members.items():
        if len(indices) >= LEAST_POOLED:
            distinct.setdefault(tuple(indices), key)
    return Kin(
        family=family,
        names=names,
        pools=[np.array(indices) for indices in distinct],
        pool_family=np.array([of for of, _ in distinct.values()], dtype=np.int64),
        pool_labels=[label for _, label in distinct.values()],
    )


def _labels(problem: ProblemKey) -> Iterator[str]:
    """What a change of the code may depend on: the widest first, and it is kept where two are the same."""
    kind = "d > 1" if problem.d > 1 else "d = 1"
    yield ""
    yield problem.precision
    yield problem.layout
    yield kind
    yield f"batch {problem.batch}"
    yield problem.pattern
    yield f"{problem.precision} {problem.layout}"
    yield f"{problem.precision} {kind}"
    yield f"{problem.layout} {kind}"
