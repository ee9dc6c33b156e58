"""Reads for judging a night: one query per table.

The tails of a device are returned as one structured array rather than as 25,000 lists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, case, func, null, select

from kswatch.db.backend.codecs import RECENT_POINTS, join_tail
from kswatch.db.backend.mapping import driver_rows, matching
from kswatch.db.queries.runs import RunRow
from kswatch.db.records import ALL, EXPERT, FUSED, ProblemKey, is_foreign
from kswatch.db.schema.tables import (
    Canary,
    Cell,
    Comparison,
    Device,
    Measurement,
    Problem,
    Revision,
    Run,
    SeriesTail,
    Verdict,
)
from kswatch.db.store import Store
from kswatch.db.writes.series_tails import KINDS_WITH_TAILS

POINT_DTYPE = np.dtype([("run_id", "<u4"), ("value", "<f4"), ("low", "<f4"), ("high", "<f4")])
"""A point of a tail, as `kswatch.db.backend.codecs` packs it."""


class PriorNight(NamedTuple):
    """A nightly run before the judged one."""

    run_id: int
    environment_id: int
    commit: str | None


class NewestPoint(NamedTuple):
    """One cell's result in the judged run, in its first headline mode."""

    cell_id: int
    problem: ProblemKey
    implementation: str
    status: str
    reason: str | None
    flags: frozenset[str]
    latency_ms: tuple[float | None, float | None, float | None]
    """Value, low, high."""
    energy_mj: tuple[float | None, float | None, float | None]
    speedup: tuple[float | None, float | None, float | None]
    """Of a problem's `fused` cell, over the best baseline of stock torch."""
    best_baseline: str | None
    cycles: float | None = None
    speedup_expert: tuple[float | None, float | None, float | None] = (None, None, None)
    """Of a problem's `fused` cell, over the best of the expert baselines."""
    best_expert: str | None = None
    compile_ms: tuple[float | None, float | None, float | None] = (None, None, None)


class CellState(NamedTuple):
    """The state of the machine while a cell was measured, and the code that ran."""

    sm_clock_mhz: float | None
    memory_clock_mhz: float | None
    temperature_c: float | None
    power_w: float | None
    cycles: float | None
    code_hash: str | None


class Tails(NamedTuple):
    """Tails of many series: `points` has them one after another, `lengths` the number of points of each."""

    keys: list[tuple[int, str]]
    """(cell id, metric) of each series."""
    lengths: NDArray[np.int64]
    points: NDArray[np.void]


class CanaryReading(NamedTuple):
    """One canary in one run: its median latency, mean rate, and the load beside it, over the positions."""

    run_id: int
    name: str
    precision: str
    latency_ms: float
    rate: float
    other_cpu_share: float | None = None
    """The largest; None where unknown."""


class AlertNight(NamedTuple):
    """A point that belongs to an alert."""

    run_id: int
    cell_id: int
    metric: str
    alert_id: int


_ENDED = Run.state.in_(("finished", "interrupted"))


def newest_nights(store: Store, device_id: int | None = None) -> list[int]:
    """Ids of the newest nightly run of each device, or of one; simulated devices only when named."""
    query = select(func.max(Run.id)).join(Device, Device.id == Run.device_id)
    query = query.where(Run.kind == "nightly", _ENDED, Run.excluded.is_(False))
    if device_id is None:
        query = query.where(Run.origin == "measured", Device.simulated.is_(False))
    else:
        query = query.where(Run.origin != "imported", Run.device_id == device_id)
    with store.session() as session:
        return sorted(session.scalars(query.group_by(Run.device_id)))


def nights_before(store: Store, run: RunRow, most: int) -> list[PriorNight]:
    """Up to `most` nightly runs of the same device and origin before this one, oldest first."""
    query = (
        select(Run.id, Run.environment_id, Revision.commit)
        .outerjoin(Revision, Revision.id == Run.revision_id)
        .where(Run.device_id == run.device_id, Run.kind == "nightly", Run.origin == run.origin)
        .where(_ENDED, Run.excluded.is_(False), Run.id < run.id)
        .order_by(Run.id.desc())
        .limit(most)
    )
    with store.session() as session:
        return [PriorNight(*row) for row in session.execute(query)][::-1]


def newest_points(store: Store, run_id: int) -> list[NewestPoint]:
    """Each cell's result in the run, in its first headline mode (cold, else unknown; never hot).

    Of implementations of other projects only those that the configuration added to the night.
    """
    with store.session() as session:
        arguments = session.scalar(select(Run.arguments).where(Run.id == run_id)) or {}
        rows = driver_rows(session, _POINTS, {"run": run_id})
        ratios = driver_rows(session, _RATIOS, {"run": run_id})
        keys = driver_rows(session, _PROBLEMS)
    problems = {id_: ProblemKey(*key) for id_, *key in keys}
    ratio_of = {(problem_id, name): ratio for problem_id, name, *ratio in ratios}
    added = arguments.get("foreign") or ()
    first = {row[0]: row for row in reversed(rows) if row[1] in added or not is_foreign(row[1])}
    return [_newest_point(row, problems[row[2]], ratio_of) for row in reversed(first.values())]


_MEASUREMENT, _CELL, _PROBLEM = Measurement.__table__, Cell.__table__, Problem.__table__
_COMPARISON = Comparison.__table__
_PROBLEMS = select(_PROBLEM.c.id, *(_PROBLEM.c[name] for name in ProblemKey.__dataclass_fields__))
_RATIO_NAMES = ("problem_id", "baselines", "speedup", "speedup_low", "speedup_high", "best_baseline")
_RATIOS = select(*(_COMPARISON.c[name] for name in _RATIO_NAMES)).where(
    _COMPARISON.c.run_id == bindparam("run"),
    _COMPARISON.c.metric == "latency",
    _COMPARISON.c.baselines.in_((ALL, EXPERT)),
)
_FIGURES = ("latency_ms", "latency_low_ms", "latency_high_ms", "energy_mj", "energy_low_mj", "energy_high_mj")
_SINGLE = ("cycles", "compile_ms")
_POINTS = (
    select(_MEASUREMENT.c.cell_id, _CELL.c.implementation, _CELL.c.problem_id)
    .add_columns(*(_MEASUREMENT.c[name] for name in ("status", "reason", "flags", *_FIGURES, *_SINGLE)))
    .join(_CELL, _CELL.c.id == _MEASUREMENT.c.cell_id)
    .where(_MEASUREMENT.c.run_id == bindparam("run"), _MEASUREMENT.c.mode != "hot")
    .order_by(_MEASUREMENT.c.cell_id, _MEASUREMENT.c.mode)  # the order of the key: cold before unknown
)


def _newest_point(
    row: Sequence[Any], problem: ProblemKey, ratio_of: Mapping[tuple[int, str], Sequence[Any]]
) -> NewestPoint:
    cell_id, implementation, problem_id, status, reason, flags, *numbers = row
    labels = frozenset(flags.split(",")) if flags else frozenset()
    latency_ms, energy_mj, (cycles, compile_ms) = tuple(numbers[:3]), tuple(numbers[3:6]), numbers[6:]
    none = (None,) * 4
    of_set = (
        ratio_of.get((problem_id, name), none) if implementation == FUSED else none for name in (ALL, EXPERT)
    )
    (*speedup, best), (*expert, best_expert) = of_set
    return NewestPoint(
        *(cell_id, problem, implementation, status, reason, labels),
        latency_ms=latency_ms,
        energy_mj=energy_mj,
        speedup=tuple(speedup),
        best_baseline=best,
        cycles=cycles,
        speedup_expert=tuple(expert),
        best_expert=best_expert,
        compile_ms=(compile_ms, None, None),
    )


def tails(
    store: Store,
    device_id: int,
    metrics: Collection[str],
    since_run_id: int,
    cell_ids: Collection[int] | None = None,
) -> Tails:
    """The tails of a device's series, or of these cells', with a point at or after a run, cut to about it."""
    nights = select(func.count()).where(
        Run.device_id == device_id, Run.kind.in_(KINDS_WITH_TAILS), Run.id >= since_run_id
    )
    with store.session() as session:
        # no series has more points than there were nights, so that older ones need not be read
        most_bytes = session.scalars(nights).one() * POINT_DTYPE.itemsize
        length = func.length(SeriesTail.points)
        begin = case((length > most_bytes, length - most_bytes + 1), else_=1)
        older = SeriesTail.older if most_bytes > RECENT_POINTS * POINT_DTYPE.itemsize else null()
        stored: tuple[Any, ...] = (func.substr(SeriesTail.points, begin), older)
        query = select(SeriesTail.cell_id, SeriesTail.metric, *stored).where(
            SeriesTail.device_id == device_id,
            SeriesTail.metric.in_(metrics),
            SeriesTail.newest_run_id >= since_run_id,
            *matching((SeriesTail.cell_id, cell_ids)),
        )
        # a tail without points is NULL here: SQLite's substr gives no empty blob
        rows = [row for row in driver_rows(session, query) if row[2]]
    keys = [(cell_id, metric) for cell_id, metric, *_ in rows]
    packed = [join_tail(*row[2:])[-most_bytes:] for row in rows]
    lengths = np.array([len(one) // POINT_DTYPE.itemsize for one in packed], dtype=np.int64)
    points = np.frombuffer(b"".join(packed), dtype=POINT_DTYPE)
    return Tails(keys, lengths, points)


def flagged_points(store: Store, run_ids: Collection[int], labels: Collection[str]) -> set[tuple[int, int]]:
    """(run id, cell id) of measurements with one of these flags."""
    query = select(Measurement.run_id, Measurement.cell_id, Measurement.flags).where(
        Measurement.run_id.in_(run_ids), Measurement.flags.is_not(None)
    )
    wanted = set(labels)
    with store.session() as session:
        return {
            (run_id, cell_id)
            for run_id, cell_id, flags in session.execute(query)
            if wanted.intersection((flags or "").split(","))
        }


def code_hashes(store: Store, run_ids: Sequence[int]) -> dict[tuple[int, int], str]:
    """The hash of the machine code by run and cell, for cells whose hash the last run knows."""
    of = _MEASUREMENT.c
    query = select(of.run_id, of.cell_id, of.code_hash).where(
        of.run_id.in_(run_ids), of.code_hash.is_not(None), of.mode != "hot"
    )
    with store.session() as session:
        rows = driver_rows(session, query)
    found = {(run_id, cell_id): code for run_id, cell_id, code in rows}
    return {key: code for key, code in found.items() if (run_ids[-1], key[1]) in found}


def cell_states(
    store: Store, run_ids: Collection[int], cell_ids: Collection[int]
) -> dict[tuple[int, int], CellState]:
    """The machine's state during each measurement, by run and cell."""
    query = select(
        Measurement.run_id, Measurement.cell_id, *(getattr(Measurement, name) for name in CellState._fields)
    ).where(Measurement.run_id.in_(run_ids), Measurement.cell_id.in_(cell_ids), Measurement.mode != "hot")
    with store.session() as session:
        return {(row[0], row[1]): CellState(*row[2:]) for row in session.execute(query)}


def canary_readings(store: Store, run_ids: Collection[int]) -> list[CanaryReading]:
    """Each run's canaries, the oldest run first."""
    columns = [Canary.__table__.c[name] for name in CanaryReading._fields]
    by_canary: dict[tuple[int, str, str], list[tuple[Any, ...]]] = defaultdict(list)
    with store.session() as session:
        for run_id, name, precision, *values in driver_rows(
            session, select(*columns).where(columns[0].in_(run_ids))
        ):
            by_canary[run_id, name, precision].append(tuple(values))
    found = []
    for key, readings in sorted(by_canary.items()):
        latencies_ms, rates, shares = zip(*readings, strict=True)
        load = max((one for one in shares if one is not None), default=None)
        found.append(CanaryReading(*key, median(latencies_ms), fmean(rates), load))
    return found


def alert_nights(store: Store, alert_ids: Collection[int]) -> list[AlertNight]:
    """The points that belong to these alerts."""
    query = select(Verdict.run_id, Verdict.cell_id, Verdict.metric, Verdict.alert_id)
    return store.read(query.where(Verdict.alert_id.in_(alert_ids)), AlertNight)


def cell_names(store: Store) -> dict[int, tuple[ProblemKey, str]]:
    """The problem and the implementation of each cell, by its id."""
    columns = (_PROBLEM.c[name] for name in ProblemKey.__dataclass_fields__)
    query = select(_CELL.c.id, _CELL.c.implementation, *columns).join(
        _PROBLEM, _PROBLEM.c.id == _CELL.c.problem_id
    )
    with store.session() as session:
        return {cell_id: (ProblemKey(*key), name) for cell_id, name, *key in driver_rows(session, query)}
