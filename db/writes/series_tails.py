"""Series tails: the last 400 nights of every series, packed, so that judging never scans history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, delete, null, select
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_tuples, parts
from kswatch.db.backend.codecs import (
    TAIL_LENGTH,
    Point,
    in_one,
    in_two,
    newest_run_id,
    pack_points,
    with_point,
    without_run,
)
from kswatch.db.records import COMPARABLE, HEADLINE_MODES
from kswatch.db.schema.tables import Cell, Comparison, Measurement, Run, SeriesTail

TAIL_METRICS: dict[str, tuple[str | None, str | None]] = {
    "latency_ms": ("latency_low_ms", "latency_high_ms"),
    "energy_mj": ("energy_low_mj", "energy_high_mj"),
    "cycles": (None, None),
}
"""Metrics of a cell whose tails are kept, and the columns of their intervals."""

RATIO_OF_METRIC = {"latency": "speedup", "energy": "energy_ratio"}
"""The metric's name of a comparison's series; it is the series of the problem's `fused` cell."""

KINDS_WITH_TAILS = frozenset({"nightly"})

SeriesPoint = tuple[int, str, Point | None]
"""(cell id, metric, point); None says that the run has no point in this series (any more)."""


def cell_points(run_id: int, cell_id: int, measured: Any) -> Iterator[SeriesPoint]:  # noqa: ANN401
    """What a measurement (a record or a row) says of the series of its cell."""
    if measured.mode not in HEADLINE_MODES:
        return
    for metric, (low, high) in TAIL_METRICS.items():
        value = getattr(measured, metric) if measured.status in COMPARABLE else None
        bounds = (getattr(measured, name) if name else None for name in (low, high))
        yield cell_id, metric, None if value is None else Point(run_id, value, *bounds)


class ComparedRow(NamedTuple):
    """A row of `comparison`."""

    run_id: int
    problem_id: int
    metric: str
    baselines: str
    best_baseline: str | None
    winner: str | None
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    left_out: str | None


def ratio_points(rows: Iterable[ComparedRow], fused_cell: int | None) -> Iterator[SeriesPoint]:
    """What a problem's comparisons say of the headline's series, which is that of its `fused` cell."""
    for row in rows:
        if row.baselines == "all" and fused_cell is not None:
            point = Point(row.run_id, row.speedup or 0.0, row.speedup_low, row.speedup_high)
            yield fused_cell, RATIO_OF_METRIC[row.metric], None if row.speedup is None else point


_TAILS = select(SeriesTail.cell_id, SeriesTail.metric, SeriesTail.points, SeriesTail.older).where(
    SeriesTail.device_id == bindparam("device_id"),
    SeriesTail.cell_id.in_(bindparam("cell_ids", expanding=True)),
    SeriesTail.metric.in_(bindparam("metrics", expanding=True)),
)


def write_tails(connection: Connection, device_id: int, run_id: int, points: Iterable[SeriesPoint]) -> None:
    """Bring the tails of a device up to date with one run's points."""
    wanted = {(cell_id, metric): point for cell_id, metric, point in points}
    for keys in parts(sorted(wanted)):
        asked = {
            "device_id": device_id,
            "cell_ids": list({cell_id for cell_id, _ in keys}),
            "metrics": list({metric for _, metric in keys}),
        }
        found = connection.execute(_TAILS, asked).all()
        tails = {(cell_id, metric): in_one(recent, older) for cell_id, metric, recent, older in found}
        rows = []
        for key in keys:
            before, point = tails.get(key, b""), wanted[key]
            after = without_run(before, run_id) if point is None else with_point(before, point)
            if after != before:
                rows.append((device_id, *key, newest_run_id(after) or run_id, *in_two(after)))
        insert_tuples(connection, SeriesTail, _COLUMNS, rows)


_COLUMNS = ("device_id", "cell_id", "metric", "newest_run_id", "points", "older")


def rebuild_tails(session: Session, device_id: int) -> None:
    """Write the tails of a device anew from its measurements and comparisons, after a bulk import."""
    session.execute(delete(SeriesTail).where(SeriesTail.device_id == device_id))
    nights = select(Run.id).where(Run.device_id == device_id, Run.kind.in_(KINDS_WITH_TAILS))
    newest = list(session.scalars(nights.order_by(Run.id.desc()).limit(TAIL_LENGTH)))
    for metric, query in _all_points(device_id, newest):
        by_cell = groupby(session.execute(query), key=itemgetter(0))
        packed = ((cell_id, pack_points(Point(*row[1:]) for row in rows)) for cell_id, rows in by_cell)
        rows = ((device_id, cell_id, metric, newest_run_id(tail), *in_two(tail)) for cell_id, tail in packed)
        for some in parts(rows):
            insert_tuples(session, SeriesTail, _COLUMNS, some)


def _all_points(device_id: int, run_ids: list[int]) -> Iterator[tuple[str, Select]]:
    """Each metric of a tail, and what reads (cell id, run id, value, low, high) of all its series."""
    for metric, bounds in TAIL_METRICS.items():
        low, high = (getattr(Measurement, name) if name else null() for name in bounds)
        value = getattr(Measurement, metric)
        yield (
            metric,
            select(Measurement.cell_id, Measurement.run_id, value, low, high)
            .where(Measurement.device_id == device_id, Measurement.run_id.in_(run_ids))
            .where(Measurement.status.in_(COMPARABLE), Measurement.mode.in_(HEADLINE_MODES))
            .where(value.is_not(None))
            .order_by(Measurement.cell_id, Measurement.run_id, Measurement.mode.desc()),
        )
    for compared, metric in RATIO_OF_METRIC.items():
        yield (
            metric,
            select(
                Cell.id,
                Comparison.run_id,
                Comparison.speedup,
                Comparison.speedup_low,
                Comparison.speedup_high,
            )
            .join(Cell, Cell.problem_id == Comparison.problem_id)
            .where(Comparison.run_id.in_(run_ids), Cell.implementation == "fused")
            .where(Comparison.metric == compared, Comparison.baselines == "all")
            .where(Comparison.speedup.is_not(None))
            .order_by(Cell.id, Comparison.run_id),
        )
