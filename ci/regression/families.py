"""Series families: the series that one cause would change together, and the pools within each family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kswatch.db.metrics import SPEEDUPS
from kswatch.db.records import ProblemKey

Ints = NDArray[np.int64]
SeriesKey = tuple[int, str]
"""Cell id and metric."""

MIN_POOL_SIZE = 4
"""Series that a pool must have at least."""


@dataclass(frozen=True)
class JudgedSeries:
    """One metric of one cell on the judged run's device."""

    cell_id: int
    problem: ProblemKey
    implementation: str
    metric: str
    best_baseline: str | None = None
    """Of a speedup: the baseline that it compares with."""

    @property
    def key(self) -> SeriesKey:
        """The series' identity on its device: cell id and metric."""
        return (self.cell_id, self.metric)


@dataclass(frozen=True)
class SeriesFamilies:
    """Families of one implementation and metric, and pools of series that share something more."""

    family: Ints
    """`(series,)`: the index of each series' family."""
    names: list[tuple[str, str]]
    """Implementation and metric of each family."""
    pools: list[Ints]
    """Indices of series of one family that share a precision, a layout, a kind of pattern or a batch."""
    pool_family: Ints
    pool_labels: list[str]
    """The attribute that the series of each pool share; empty for a whole family."""


def group_series(series: Sequence[JudgedSeries]) -> SeriesFamilies:
    """The families of these series and their pools."""
    names = sorted({(one.implementation, one.metric) for one in series})
    number = {name: index for index, name in enumerate(names)}
    family = np.array([number[one.implementation, one.metric] for one in series], dtype=np.int64)
    members: dict[tuple[int, str], list[int]] = {}
    for index, one in enumerate(series):
        if one.metric in SPEEDUPS:
            continue  # it depends on two implementations, whose latencies are pooled
        for label in _labels(one.problem):
            members.setdefault((int(family[index]), label), []).append(index)
    distinct: dict[tuple[int, ...], tuple[int, str]] = {}
    for key, indices in members.items():
        if len(indices) >= MIN_POOL_SIZE:
            distinct.setdefault(tuple(indices), key)
    return SeriesFamilies(
        family=family,
        names=names,
        pools=[np.array(indices) for indices in distinct],
        pool_family=np.array([of for of, _ in distinct.values()], dtype=np.int64),
        pool_labels=[label for _, label in distinct.values()],
    )


def _labels(problem: ProblemKey) -> Iterator[str]:
    """Attributes that a code change may depend on, the widest first: it names a pool of the same members."""
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
