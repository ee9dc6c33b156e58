"""Series tails: the last 400 nightly points of each series, packed, so that judging never scans history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from kswatch.db.backend.bulk_insert import insert_tuples, parts
from kswatch.db.backend.codecs import Point, add_point, join_tail, newest_run_id, remove_run, split_tail
from kswatch.db.records import ALL, COMPARABLE, EXPERT, HEADLINE_MODES
from kswatch.db.schema.tables import SeriesTail

TAIL_METRICS: dict[str, tuple[str | None, str | None]] = {
    "latency_ms": ("latency_low_ms", "latency_high_ms"),
    "energy_mj": ("energy_low_mj", "energy_high_mj"),
    "compile_ms": (None, None),
    "cycles": (None, None),
}
"""Metrics of a cell that have tails, with the columns of their intervals."""

RATIO_SERIES: dict[tuple[str, str], str] = {
    ("latency", ALL): "speedup",
    ("energy", ALL): "energy_ratio",
    ("latency", EXPERT): "speedup_expert",
    ("energy", EXPERT): "energy_ratio_expert",
}
"""A comparison's series by its metric and set of baselines; it belongs to the problem's `fused` cell."""

KINDS_WITH_TAILS = frozenset({"nightly"})

TailUpdate = tuple[int, str, Point | None]
"""(cell id, metric, point); None where the run has no point in this series, or none any more."""


def cell_points(run_id: int, cell_id: int, measured: Any) -> Iterator[TailUpdate]:  # noqa: ANN401
    """The updates of its cell's series by a measurement, which is a record or a row."""
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


def ratio_points(rows: Iterable[ComparedRow], fused_cell: int | None) -> Iterator[TailUpdate]:
    """The updates of the headline's series, which is that of the `fused` cell, by a problem's comparisons."""
    for row in rows:
        series = RATIO_SERIES.get((row.metric, row.baselines))
        if series is not None and fused_cell is not None:
            point = Point(row.run_id, row.speedup or 0.0, row.speedup_low, row.speedup_high)
            yield fused_cell, series, None if row.speedup is None else point


_TAILS = select(SeriesTail.cell_id, SeriesTail.metric, SeriesTail.points, SeriesTail.older).where(
    SeriesTail.device_id == bindparam("device_id"),
    SeriesTail.cell_id.in_(bindparam("cell_ids", expanding=True)),
    SeriesTail.metric.in_(bindparam("metrics", expanding=True)),
)


def write_tails(connection: Connection, device_id: int, run_id: int, updates: Iterable[TailUpdate]) -> None:
    """Update the tails of a device with one run's points."""
    wanted = {(cell_id, metric): point for cell_id, metric, point in updates}
    for keys in parts(sorted(wanted)):
        parameters = {
            "device_id": device_id,
            "cell_ids": list({cell_id for cell_id, _ in keys}),
            "metrics": list({metric for _, metric in keys}),
        }
        found = connection.execute(_TAILS, parameters).all()
        tails = {(cell_id, metric): join_tail(recent, older) for cell_id, metric, recent, older in found}
        rows = []
        for key in keys:
            before, point = tails.get(key, b""), wanted[key]
            after = remove_run(before, run_id) if point is None else add_point(before, point)
            if after != before:
                rows.append((device_id, *key, newest_run_id(after) or run_id, *split_tail(after)))
        insert_tuples(connection, SeriesTail, _COLUMNS, rows)


_COLUMNS = ("device_id", "cell_id", "metric", "newest_run_id", "points", "older")
