"""Reads of what was measured: measurements, comparisons, headlines, tails, samples, canaries."""

from __future__ import annotations

from array import array
from collections.abc import Collection
from typing import Any

from sqlalchemy import select

from kswatch.db.backend.codecs import in_one, unpack_points, unpack_samples
from kswatch.db.queries.rows import CanaryRow, ComparisonRow, MeasurementRow, ProblemRow, Series, SummaryRow
from kswatch.db.queries.runs import MEASURED, NIGHTLY, run_filters
from kswatch.db.records import ProblemKey
from kswatch.db.schema.tables import (
    Canary,
    Cell,
    Comparison,
    Measurement,
    Problem,
    Run,
    RunSummary,
    Sample,
    SeriesTail,
)
from kswatch.db.store import Store

PROBLEM_COLUMNS = tuple(getattr(Problem, name) for name in ProblemKey.__dataclass_fields__)


def problem_filters(
    pattern: tuple[int, int, int, int] | None = None,
    batch: int | None = None,
    precision: str | None = None,
    layout: str | None = None,
) -> list[Any]:
    """Conditions on `problem`; None means all."""
    conditions = []
    if pattern is not None:
        letters = (Problem.a, Problem.b, Problem.c, Problem.d)
        conditions += [column == value for column, value in zip(letters, pattern, strict=True)]
    wanted = ((Problem.batch, batch), (Problem.precision, precision), (Problem.layout, layout))
    return conditions + [column == value for column, value in wanted if value is not None]


def _which_runs(
    run_id: int | None,
    device_id: int | None,
    kinds: Collection[str] | None,
    origins: Collection[str] | None,
) -> list[Any]:
    """Conditions on `run`: the named one, whatever it is, or those of a kind and origin."""
    return run_filters(device_id, kinds, origins) if run_id is None else [Run.id == run_id]


def measurements(
    store: Store,
    run_id: int | None = None,
    *,
    device_id: int | None = None,
    pattern: tuple[int, int, int, int] | None = None,
    batch: int | None = None,
    precision: str | None = None,
    layout: str | None = None,
    implementation: str | None = None,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[MeasurementRow]:
    """Measurements of a run, or of a device's runs on some problems, ordered by run and problem."""
    columns = [
        getattr(Measurement, name) for name in MeasurementRow._fields if name in Measurement.__table__.c
    ]
    named = columns[:2] + [Problem.id, *PROBLEM_COLUMNS, Cell.implementation] + columns[2:]
    query = (
        select(*named)
        .join(Cell, Cell.id == Measurement.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .join(Run, Run.id == Measurement.run_id)
        .where(*_which_runs(run_id, device_id, kinds, origins))
        .where(*problem_filters(pattern, batch, precision, layout))
        .order_by(Measurement.run_id, Problem.id, Cell.id)
    )
    if device_id is not None:
        query = query.where(Measurement.device_id == device_id)
    if implementation is not None:
        query = query.where(Cell.implementation == implementation)
    with store.session() as session:
        return [MeasurementRow(*row) for row in session.execute(query)]


def comparisons(
    store: Store,
    run_id: int | None = None,
    *,
    device_id: int | None = None,
    metric: str = "latency",
    baselines: str = "all",
    pattern: tuple[int, int, int, int] | None = None,
    batch: int | None = None,
    precision: str | None = None,
    layout: str | None = None,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[ComparisonRow]:
    """Comparisons of a run, or of some problems over a device's runs, the oldest run first."""
    columns = [getattr(Comparison, name) for name in ComparisonRow._fields if name in Comparison.__table__.c]
    query = (
        select(columns[0], Run.device_id, Run.started_at, columns[1], *PROBLEM_COLUMNS, *columns[2:])
        .join(Run, Run.id == Comparison.run_id)
        .join(Problem, Problem.id == Comparison.problem_id)
        .where(Comparison.metric == metric, Comparison.baselines == baselines)
        .where(*_which_runs(run_id, device_id, kinds, origins))
        .where(*problem_filters(pattern, batch, precision, layout))
        .order_by(Comparison.run_id, Problem.id)
    )
    with store.session() as session:
        return [ComparisonRow(*row) for row in session.execute(query)]


def summaries(
    store: Store,
    run_id: int | None = None,
    *,
    device_id: int | None = None,
    metric: str | None = None,
    baselines: str = "all",
    precision: str | None = None,
    layout: str | None = None,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[SummaryRow]:
    """Headlines of a run, or of all runs over time, the oldest first."""
    wanted = ((RunSummary.metric, metric), (RunSummary.precision, precision), (RunSummary.layout, layout))
    columns = [getattr(RunSummary, name) for name in SummaryRow._fields if name in RunSummary.__table__.c]
    run_columns = (Run.device_id, Run.started_at, Run.environment_id, Run.revision_id)
    query = (
        select(columns[0], *run_columns, *columns[1:])
        .join(Run, Run.id == RunSummary.run_id)
        .where(RunSummary.baselines == baselines, *_which_runs(run_id, device_id, kinds, origins))
        .where(*(column == value for column, value in wanted if value is not None))
        .order_by(RunSummary.run_id, RunSummary.metric, RunSummary.precision, RunSummary.layout)
    )
    with store.session() as session:
        return [SummaryRow(*row) for row in session.execute(query)]


def tails(
    store: Store,
    device_id: int,
    *,
    metrics: Collection[str] | None = None,
    newest_run_id: int | None = None,
    origins: Collection[str] | None = MEASURED,
) -> list[Series]:
    """The last 400 nightly points of every series of a device; what `check` judges.

    Args:
        store: to read from.
        device_id: whose series.
        metrics: some of `kswatch.db.writes.measurements.TAIL_METRICS`, `speedup`, `energy_ratio`; None means all.
        newest_run_id: only series whose newest point is of this run, without points of later runs.
        origins: of the runs; points of excluded runs are always left out.
    """
    query = (
        select(SeriesTail.cell_id, *PROBLEM_COLUMNS, Cell.implementation, SeriesTail.metric)
        .add_columns(SeriesTail.points, SeriesTail.older)
        .join(Cell, Cell.id == SeriesTail.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .where(SeriesTail.device_id == device_id)
        .order_by(SeriesTail.cell_id, SeriesTail.metric)
    )
    if metrics is not None:
        query = query.where(SeriesTail.metric.in_(metrics))
    if newest_run_id is not None:
        query = query.where(SeriesTail.newest_run_id >= newest_run_id)
    with store.session() as session:
        seen = set(session.scalars(select(Run.id).where(*run_filters(device_id, NIGHTLY, origins))))
        rows = session.execute(query).all()
    if newest_run_id is not None:
        seen = {run_id for run_id in seen if run_id <= newest_run_id}
    found = []
    for cell_id, *key, implementation, metric, recent, older in rows:
        points = [point for point in unpack_points(in_one(recent, older)) if point.run_id in seen]
        if points and newest_run_id in (None, points[-1].run_id):
            found.append(Series(cell_id, ProblemKey(*key), implementation, metric, points))
    return found


def samples(store: Store, run_id: int, cell_id: int, mode: str = "cold") -> array[float]:
    """Raw samples of a measurement in ms, as they were taken; empty where none are kept."""
    query = select(Sample.samples_ms).where(
        Sample.run_id == run_id, Sample.cell_id == cell_id, Sample.mode == mode
    )
    with store.session() as session:
        packed = session.scalar(query)
    return unpack_samples(packed) if packed else array("f")


def canaries(
    store: Store,
    run_id: int | None = None,
    *,
    device_id: int | None = None,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[CanaryRow]:
    """Canary readings of a run, or of all runs over time, the oldest run first."""
    columns = [getattr(Canary, name) for name in CanaryRow._fields if name in Canary.__table__.c]
    query = (
        select(columns[0], Run.device_id, Run.started_at, *columns[1:])
        .join(Run, Run.id == Canary.run_id)
        .where(*_which_runs(run_id, device_id, kinds, origins))
        .order_by(Canary.run_id, Canary.name, Canary.precision, Canary.position)
    )
    with store.session() as session:
        return [CanaryRow(*row) for row in session.execute(query)]


def problems(store: Store, device_id: int | None = None) -> list[ProblemRow]:
    """Problems that were measured, on this device or on any."""
    query = select(Problem.id, *PROBLEM_COLUMNS).order_by(*PROBLEM_COLUMNS)
    if device_id is not None:
        # one exists in another: as a join, SQLite may begin with all that the device ever measured
        of_cell = (Measurement.device_id == device_id, Measurement.cell_id == Cell.id)
        measured = select(Measurement.run_id).where(*of_cell).exists()
        query = query.where(select(Cell.id).where(Cell.problem_id == Problem.id, measured).exists())
    with store.session() as session:
        return [ProblemRow(*row) for row in session.execute(query)]
