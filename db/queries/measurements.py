"""Reads of measurements, comparisons, run summaries, canaries and problems.

`runs` names one run or several, whatever their kind; None reads the runs of the given device, kinds and
origins.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Select, select

from kswatch.db.backend.mapping import PROBLEM_COLUMNS, columns_of, is_problem
from kswatch.db.queries.rows import CanaryRow, ComparisonRow, MeasurementRow, ProblemRow, SummaryRow
from kswatch.db.queries.runs import MEASURED, NIGHTLY, run_filters
from kswatch.db.records import ProblemKey
from kswatch.db.schema.tables import Canary, Cell, Comparison, Measurement, Problem, Run, RunSummary
from kswatch.db.store import Store

RunIds = int | Collection[int] | None


def problem_filters(precision: str | None = None, layout: str | None = None) -> list[ColumnElement[bool]]:
    """Conditions on `problem`; None means all."""
    return _equal((Problem.precision, precision), (Problem.layout, layout))


def _equal(*wanted: tuple[Any, object]) -> list[ColumnElement[bool]]:
    return [column == value for column, value in wanted if value is not None]


def which_runs(
    run_id: Any,  # noqa: ANN401  (a column)
    runs: RunIds,
    device_id: int | None = None,
    kinds: Collection[str] | None = None,
    origins: Collection[str] | None = None,
) -> list[ColumnElement[bool]]:
    """Conditions on the runs: the named ones, whatever they are, or those of a device, kind and origin."""
    if runs is None:
        return run_filters(device_id, kinds, origins)
    return [run_id == runs if isinstance(runs, int) else run_id.in_(runs)]


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
        .where(
            *which_runs(Measurement.run_id, runs, device_id, kinds, origins),
            *problem_filters(precision, layout),
        )
        .order_by(Measurement.run_id, Problem.id, Cell.id, Measurement.mode)
    )
    if device_id is not None:  # named here too, so that the index by series serves
        query = query.where(Measurement.device_id == device_id)
    return _read(store, query, MeasurementRow, problem)


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
        .where(Comparison.baselines == baselines, *_equal((Comparison.metric, metric)))
        .where(
            *which_runs(Comparison.run_id, runs, device_id, kinds, origins),
            *problem_filters(precision, layout),
        )
        .order_by(Comparison.run_id, Problem.id)
    )
    return _read(store, query, ComparisonRow, problem)


def summaries(
    store: Store,
    runs: RunIds = None,
    *,
    device_id: int | None = None,
    metric: str | None = None,
    baselines: str = "all",
    precision: str | None = None,
    layout: str | None = None,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[SummaryRow]:
    """Run summaries, the oldest run first."""
    wanted = ((RunSummary.metric, metric), (RunSummary.precision, precision), (RunSummary.layout, layout))
    query = (
        select(*columns_of(SummaryRow, RunSummary, Run))
        .join(Run, Run.id == RunSummary.run_id)
        .where(RunSummary.baselines == baselines, *_equal(*wanted))
        .where(*which_runs(RunSummary.run_id, runs, device_id, kinds, origins))
        .order_by(RunSummary.run_id, RunSummary.metric, RunSummary.precision, RunSummary.layout)
    )
    return _read(store, query, SummaryRow)


def canaries(store: Store, runs: RunIds) -> list[CanaryRow]:
    """Canary readings, the oldest run first."""
    query = (
        select(*columns_of(CanaryRow, Canary, Run))
        .join(Run, Run.id == Canary.run_id)
        .where(*which_runs(Canary.run_id, runs))
        .order_by(Canary.run_id, Canary.name, Canary.precision, Canary.position)
    )
    return _read(store, query, CanaryRow)


def problems(store: Store, device_id: int | None = None) -> list[ProblemRow]:
    """Problems that were measured, on this device or on any."""
    query = select(Problem.id, *PROBLEM_COLUMNS).order_by(*PROBLEM_COLUMNS)
    if device_id is not None:
        # one exists in another: as a join, SQLite may begin with all that the device ever measured
        of_cell = (Measurement.device_id == device_id, Measurement.cell_id == Cell.id)
        measured = select(Measurement.run_id).where(*of_cell).exists()
        query = query.where(select(Cell.id).where(Cell.problem_id == Problem.id, measured).exists())
    return _read(store, query, ProblemRow)


def _read(store: Store, query: Select, row: Any, problem: ProblemKey | None = None) -> list[Any]:  # noqa: ANN401
    if problem is not None:
        query = query.where(*is_problem(problem))
    with store.session() as session:
        return [row._make(found) for found in session.execute(query)]
