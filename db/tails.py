"""Series tails: the last 400 nights of every series, packed, so that judging never scans history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.models import Cell, Comparison, Measurement, Run, SeriesTail
from db.packing import TAIL_LENGTH, Point, newest_run_id, pack_points, with_point, without_run
from db.records import COMPARABLE, HEADLINE_MODES
from db.vocabulary import insert_rows

TAIL_METRICS: dict[str, tuple[str | None, str | None]] = {
    "latency_ms": ("latency_low_ms", "latency_high_ms"),
    "energy_mj": ("energy_low_mj", "energy_high_mj"),
    "cycles": (None, None),
}
"""Metrics of a cell whose tails are kept, and the columns of their intervals."""

RATIO_OF_METRIC = {"latency": "speedup", "energy": "energy_ratio"}
"""The metric's name of a comparison's series; it is the series of the problem's `fused` cell."""

KINDS_WITH_TAILS = frozenset({"nightly"})

Item = TypeVar("Item")

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


def ratio_points(rows: Iterable[Mapping[str, Any]], fused_cells: Mapping[int, int]) -> Iterator[SeriesPoint]:
    """What comparisons say of the headline's series.

    Args:
        rows: of `comparison`.
        fused_cells: the `fused` cell of each problem that has one.
    """
    for row in rows:
        if row["baselines"] != "all" or row["problem_id"] not in fused_cells:
            continue
        point = Point(row["run_id"], row["speedup"], row["speedup_low"], row["speedup_high"])
        known = None if row["speedup"] is None else point
        yield fused_cells[row["problem_id"]], RATIO_OF_METRIC[row["metric"]], known


def write_tails(session: Session, device_id: int, run_id: int, points: Iterable[SeriesPoint]) -> None:
    """Bring the tails of a device up to date with one run's points."""
    for some in _batches(points):
        wanted = {(cell_id, metric): point for cell_id, metric, point in some}
        query = select(SeriesTail.cell_id, SeriesTail.metric, SeriesTail.points).where(
            SeriesTail.device_id == device_id, SeriesTail.cell_id.in_({cell_id for cell_id, _ in wanted})
        )
        tails = {(cell_id, metric): packed for cell_id, metric, packed in session.execute(query)}
        rows = []
        for key, point in sorted(wanted.items(), key=lambda item: item[0]):
            before = tails.get(key, b"")
            after = without_run(before, run_id) if point is None else with_point(before, point)
            if after != before:
                rows.append(_row(device_id, *key, after, newest_run_id(after) or run_id))
        insert_rows(session, SeriesTail, rows, replace=True)


def _batches(items: Iterable[Item], size: int = 2_000) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _row(device_id: int, cell_id: int, metric: str, packed: bytes, newest: int) -> dict[str, Any]:
    return {
        "device_id": device_id,
        "cell_id": cell_id,
        "metric": metric,
        "newest_run_id": newest,
        "points": packed,
    }


def rebuild_tails(session: Session, device_id: int) -> None:
    """Write the tails of a device anew from its measurements and comparisons, after a bulk import."""
    session.execute(delete(SeriesTail).where(SeriesTail.device_id == device_id))
    nights = select(Run.id).where(Run.device_id == device_id, Run.kind.in_(KINDS_WITH_TAILS))
    newest = list(session.scalars(nights.order_by(Run.id.desc()).limit(TAIL_LENGTH)))
    columns = [name for metric, bounds in TAIL_METRICS.items() for name in (metric, *bounds) if name]
    measured = (
        select(Measurement.run_id, Measurement.cell_id, Measurement.mode, Measurement.status)
        .add_columns(*(getattr(Measurement, name) for name in columns))
        .where(Measurement.device_id == device_id, Measurement.run_id.in_(newest))
    )
    series: dict[tuple[int, str], list[Point]] = defaultdict(list)
    for row in session.execute(measured):
        for cell_id, metric, point in cell_points(row.run_id, row.cell_id, row):
            if point is not None:
                series[cell_id, metric].append(point)
    for run_id in newest:
        for cell_id, metric, point in _ratios_of_run(session, run_id):
            if point is not None:
                series[cell_id, metric].append(point)
    packed = ((key, pack_points(points)) for key, points in sorted(series.items()))
    rows = (_row(device_id, *key, points, newest_run_id(points)) for key, points in packed)
    for some in _batches(rows):
        insert_rows(session, SeriesTail, some, replace=True)


def _ratios_of_run(session: Session, run_id: int) -> Iterator[SeriesPoint]:
    query = (
        select(Comparison.__table__, Cell.id.label("fused_cell"))
        .join(Cell, Cell.problem_id == Comparison.problem_id)
        .where(Comparison.run_id == run_id, Cell.implementation == "fused")
    )
    rows = [dict(row) for row in session.execute(query).mappings()]
    return ratio_points(rows, {row["problem_id"]: row["fused_cell"] for row in rows})
