"""Reads of measurements, comparisons, run summaries, canaries and problems.

`runs` names one run or several, whatever their kind; None reads the runs of the given device, kinds and
origins.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, select

from kswatch.db.backend.mapping import PROBLEM_COLUMNS, columns_of, driver_rows, is_problem, matching
from kswatch.db.queries.rows import CanaryRow, ComparisonRow, MeasurementRow, SummaryRow
from kswatch.db.queries.runs import MEASURED, NIGHTLY, run_filters
from kswatch.db.records import FACTOR, ProblemKey
from kswatch.db.schema.tables import Canary, Cell, Comparison, Measurement, Problem, Run, RunSummary
from kswatch.db.store import Store
from kswatch.db.writes.speedup import COMPARED_METRICS

RunIds = int | Collection[int] | None


class Median(NamedTuple):
    """A run's summary in one metric, without the columns of its run."""

    run_id: int
    metric: str
    median_speedup: float
    speedup_p25: float
    speedup_p75: float
    problems: int
    fused_wins: int
    left_out: int


def problem_filters(precision: str | None = None, layout: str | None = None) -> list[ColumnElement[bool]]:
    """Conditions on `problem`; None means all."""
    return matching((Problem.precision, precision), (Problem.layout, layout))


def which_runs(
    run_id: Any,  # noqa: ANN401  (a column)
    runs: RunIds,
    device_id: int | None = None,
    kinds: Collection[str] | None = None,
    origins: Collection[str] | None = None,
) -> list[ColumnElement[bool]]:
    """Conditions on the runs: the named ones, whatever they are, or those of a device, kind and origin."""
    return run_filters(device_id, kinds, origins) if runs is None else matching((run_id, runs))


def measurements(
    store: Store,
    runs: RunIds = None,
    *,
    problem: ProblemKey | None = None,
    device_id: int | None = None,
    precision: str | None = None,
    layout: str | None = None,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[MeasurementRow]:
    """Whole measurements, of one problem or of all, ordered by run and problem."""
    query = (
        select(*columns_of(MeasurementRow, Measurement, Cell, Problem))
        .join(Cell, Cell.id == Measurement.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .join(Run, Run.id == Measurement.run_id)
        .where(*which_runs(Measurement.run_id, runs, device_id, kinds, origins))
        # the device is named here too, so that the index by series serves
        .where(*matching((Measurement.device_id, device_id)))
        .where(*problem_filters(precision, layout), *is_problem(problem))
        .order_by(Measurement.run_id, Problem.id, Cell.id, Measurement.mode)
    )
    return store.read(query, MeasurementRow)


def comparisons(
    store: Store,
    runs: RunIds = None,
    *,
    problem: ProblemKey | None = None,
    device_id: int | None = None,
    metric: str | None = "latency",
    baselines: str = "all",
    precision: str | None = None,
    layout: str | None = None,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[ComparisonRow]:
    """Comparisons in one metric or both, of one problem or of all, the oldest run first."""
    query = (
        select(*columns_of(ComparisonRow, Comparison, Run, Problem))
        .join(Run, Run.id == Comparison.run_id)
        .join(Problem, Problem.id == Comparison.problem_id)
        .where(*matching((Comparison.baselines, baselines), (Comparison.metric, metric)))
        .where(*which_runs(Comparison.run_id, runs, device_id, kinds, origins))
        .where(*problem_filters(precision, layout), *is_problem(problem))
        .order_by(Comparison.run_id, Problem.id)
    )
    return store.read(query, ComparisonRow)


def summaries(
    store: Store,
    runs: RunIds = None,
    *,
    device_id: int | None = None,
    metric: str | None = None,
    baselines: str | None = "all",
    precision: str | None = None,
    layout: str | None = None,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[SummaryRow]:
    """Run summaries, the oldest run first."""
    query = (
        select(*columns_of(SummaryRow, RunSummary, Run))
        .join(Run, Run.id == RunSummary.run_id)
        .where(*matching((RunSummary.baselines, baselines), (RunSummary.metric, metric)))
        .where(*matching((RunSummary.precision, precision), (RunSummary.layout, layout)))
        .where(*which_runs(RunSummary.run_id, runs, device_id, kinds, origins))
        .order_by(RunSummary.run_id, RunSummary.metric, RunSummary.precision, RunSummary.layout)
    )
    return store.read(query, SummaryRow)


def medians_of_runs(
    store: Store, run_ids: Collection[int], baselines: str, precision: str, layout: str
) -> list[Median]:
    """Run summaries that have a median, in both metrics, the oldest run first; for charts of many nights."""
    table = RunSummary.__table__.c
    query = (
        select(*(table[name] for name in Median._fields))
        .where(table.run_id.in_(run_ids), table.metric.in_(COMPARED_METRICS))
        .where(table.precision == precision, table.layout == layout, table.baselines == baselines)
        .where(table.median_speedup.is_not(None))
        .order_by(table.run_id)
    )
    with store.session() as session:
        return [Median._make(row) for row in driver_rows(session, query)]


def canaries(store: Store, runs: RunIds) -> list[CanaryRow]:
    """Canary readings, the oldest run first."""
    query = (
        select(*columns_of(CanaryRow, Canary, Run))
        .join(Run, Run.id == Canary.run_id)
        .where(*which_runs(Canary.run_id, runs))
        .order_by(Canary.run_id, Canary.name, Canary.precision, Canary.position)
    )
    return store.read(query, CanaryRow)


def problems(store: Store, device_id: int | None = None) -> list[ProblemKey]:
    """Products that were measured, on this device or on any."""
    query = select(*PROBLEM_COLUMNS).where(Problem.subject == FACTOR).order_by(*PROBLEM_COLUMNS)
    if device_id is not None:
        # one exists in another: as a join, SQLite may begin with all that the device ever measured
        of_cell = (Measurement.device_id == device_id, Measurement.cell_id == Cell.id)
        measured = select(Measurement.run_id).where(*of_cell).exists()
        query = query.where(select(Cell.id).where(Cell.problem_id == Problem.id, measured).exists())
    return store.read(query, ProblemKey)
