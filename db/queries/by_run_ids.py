"""Reads of some runs by their ids, whatever their kind; what a page shows, and never all of history."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import select

from kswatch.db.backend.fetch import driver_rows
from kswatch.db.queries.measurements import PROBLEM_COLUMNS, ComparisonRow, MeasurementRow
from kswatch.db.queries.rows import CanaryRow, SummaryRow
from kswatch.db.records import ProblemKey
from kswatch.db.schema.tables import (
    Canary,
    Cell,
    Comparison,
    HeuristicScore,
    Measurement,
    Problem,
    Run,
    RunSummary,
)
from kswatch.db.store import Store
from kswatch.db.writes.speedup import COMPARED_METRICS


def summaries_of_runs(
    store: Store,
    run_ids: Collection[int],
    metric: str | None = None,
    baselines: str = "all",
    precision: str | None = None,
    layout: str | None = None,
) -> list[SummaryRow]:
    """Headlines of these runs, the oldest run first; None means all."""
    columns = [getattr(RunSummary, name) for name in SummaryRow._fields if name in RunSummary.__table__.c]
    run_columns = (Run.device_id, Run.started_at, Run.environment_id, Run.revision_id)
    query = (
        select(columns[0], *run_columns, *columns[1:])
        .join(Run, Run.id == RunSummary.run_id)
        .where(RunSummary.run_id.in_(run_ids), RunSummary.baselines == baselines)
        .order_by(RunSummary.run_id, RunSummary.metric, RunSummary.precision, RunSummary.layout)
    )
    for column, value in (
        (RunSummary.metric, metric),
        (RunSummary.precision, precision),
        (RunSummary.layout, layout),
    ):
        if value is not None:
            query = query.where(column == value)
    with store.session() as session:
        return [SummaryRow(*row) for row in session.execute(query)]


class Median(NamedTuple):
    """What a headline says, without the run around it."""

    run_id: int
    metric: str
    median_speedup: float
    speedup_p25: float
    speedup_p75: float
    problems: int
    fused_wins: int
    left_out: int


def medians_of_runs(
    store: Store, run_ids: Collection[int], baselines: str, precision: str, layout: str
) -> list[Median]:
    """Headlines that have a median, in both metrics, the oldest run first."""
    table = RunSummary.__table__
    query = (
        select(*(table.c[name] for name in Median._fields))
        .where(table.c.run_id.in_(run_ids), table.c.metric.in_(COMPARED_METRICS))
        .where(table.c.precision == precision, table.c.layout == layout, table.c.baselines == baselines)
        .where(table.c.median_speedup.is_not(None))
        .order_by(table.c.run_id)
    )
    with store.session() as session:
        return [Median._make(row) for row in driver_rows(session, query)]


class Accuracy(NamedTuple):
    """How often a heuristic named the winner in one run."""

    run_id: int
    heuristic: str
    version: int
    accuracy: float | None


def accuracies(
    store: Store, run_ids: Collection[int], metric: str, precision: str, layout: str
) -> list[Accuracy]:
    """The stored accuracies of these runs, the oldest run first."""
    score = HeuristicScore.__table__.c
    query = (
        select(score.run_id, score.heuristic, score.version, score.accuracy)
        .where(score.run_id.in_(run_ids), score.metric == metric)
        .where(score.precision == precision, score.layout == layout)
        .order_by(score.run_id, score.heuristic, score.version)
    )
    with store.session() as session:
        return [Accuracy._make(row) for row in driver_rows(session, query)]


class CanaryRate(NamedTuple):
    """The mean rate of a canary over the positions of one run."""

    run_id: int
    name: str
    precision: str
    rate: float


def canary_rates(store: Store, run_ids: Collection[int]) -> list[CanaryRate]:
    """Canary rates of these runs, the oldest run first."""
    table = Canary.__table__.c
    query = select(table.run_id, table.name, table.precision, table.rate).where(table.run_id.in_(run_ids))
    rates: dict[tuple[int, str, str], list[float]] = {}
    with store.session() as session:
        for *key, rate in driver_rows(session, query):
            rates.setdefault((key[0], key[1], key[2]), []).append(rate)
    return [CanaryRate(*key, sum(found) / len(found)) for key, found in sorted(rates.items())]


def canaries_of_runs(store: Store, run_ids: Collection[int]) -> list[CanaryRow]:
    """Canary readings of these runs, the oldest run first."""
    columns = [getattr(Canary, name) for name in CanaryRow._fields if name in Canary.__table__.c]
    query = (
        select(columns[0], Run.device_id, Run.started_at, *columns[1:])
        .join(Run, Run.id == Canary.run_id)
        .where(Canary.run_id.in_(run_ids))
        .order_by(Canary.run_id, Canary.name, Canary.precision, Canary.position)
    )
    with store.session() as session:
        return [CanaryRow(*row) for row in session.execute(query)]


def comparisons_of_problem(
    store: Store, run_ids: Collection[int], problem: ProblemKey, baselines: str
) -> list[ComparisonRow]:
    """Comparisons of one problem in these runs, in both metrics, the oldest run first."""
    columns = [getattr(Comparison, name) for name in ComparisonRow._fields if name in Comparison.__table__.c]
    query = (
        select(columns[0], Run.device_id, Run.started_at, columns[1], *PROBLEM_COLUMNS, *columns[2:])
        .join(Run, Run.id == Comparison.run_id)
        .join(Problem, Problem.id == Comparison.problem_id)
        .where(Comparison.run_id.in_(run_ids), Comparison.baselines == baselines, *_is(problem))
        .order_by(Comparison.run_id)
    )
    with store.session() as session:
        return [ComparisonRow(*row) for row in session.execute(query)]


def measurements_of_problem(
    store: Store, run_ids: Collection[int], problem: ProblemKey
) -> list[MeasurementRow]:
    """Every measurement of one problem in these runs, the oldest run first."""
    names = [name for name in MeasurementRow._fields if name in Measurement.__table__.c]
    columns = [getattr(Measurement, name) for name in names]
    query = (
        select(*columns[:2], Problem.id, *PROBLEM_COLUMNS, Cell.implementation, *columns[2:])
        .join(Cell, Cell.id == Measurement.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .where(*_is(problem), Measurement.run_id.in_(run_ids))
        .order_by(Measurement.run_id, Measurement.cell_id, Measurement.mode)
    )
    with store.session() as session:
        return [MeasurementRow._make(row) for row in session.execute(query)]


def _is(problem: ProblemKey) -> list[Any]:
    return [getattr(Problem, name) == value for name, value in vars(problem).items()]
