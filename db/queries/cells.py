"""Reads of a few columns of many cells, for charts.

The statements use tables rather than models: reading a thousand rows takes half as long.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ScalarSelect, select

from kswatch.db.backend.codecs import unpack_samples
from kswatch.db.backend.mapping import driver_rows, field_names, matching
from kswatch.db.queries.rows import MeasurementRow
from kswatch.db.records import FACTOR, ProblemKey
from kswatch.db.schema.tables import Cell, Comparison, Measurement, Prediction, Problem, Sample
from kswatch.db.store import Store

_MEASUREMENT, _CELL, _PROBLEM = Measurement.__table__, Cell.__table__, Problem.__table__
_COMPARISON, _PREDICTION = Comparison.__table__, Prediction.__table__

PROBLEM_NAMES = field_names(ProblemKey)
MEASURED_NAMES = tuple(name for name in field_names(MeasurementRow) if name in _MEASUREMENT.c)


class Ratio(NamedTuple):
    """Fused against the best baseline on one problem in one run, in the columns of a chart."""

    run_id: int
    problem_id: int
    speedup: float | None
    best_baseline: str | None
    left_out: str | None


class PredictionPoint(NamedTuple):
    """A heuristic's prediction for a problem in one run."""

    run_id: int
    heuristic: str
    version: int
    predicts_fused: bool


def cells_of_run(
    store: Store,
    run_id: int,
    columns: Sequence[str],
    precision: str | None = None,
    layout: str | None = None,
) -> list[tuple[Any, ...]]:
    """These columns of a run's measurements of products behind problem id, problem, implementation."""
    factors = _PROBLEM.c.subject == FACTOR
    problems = select(_PROBLEM.c.id, *(_PROBLEM.c[name] for name in PROBLEM_NAMES)).where(factors)
    query = (
        select(_CELL.c.problem_id, _CELL.c.implementation, *(_MEASUREMENT.c[name] for name in columns))
        .join(_CELL, _CELL.c.id == _MEASUREMENT.c.cell_id)
        .where(_MEASUREMENT.c.run_id == run_id)
        .order_by(_MEASUREMENT.c.cell_id, _MEASUREMENT.c.mode)
    )
    if wanted := matching((_PROBLEM.c.precision, precision), (_PROBLEM.c.layout, layout)):
        query = query.where(_CELL.c.problem_id.in_(select(_PROBLEM.c.id).where(*wanted)))
    with store.session() as session:
        key_of = {key[0]: key for key in driver_rows(session, problems)}
        rows = driver_rows(session, query)
    # one problem has many cells: reading its key once is faster than joining it to each
    return sorted((key_of[row[0]] + row[1:] for row in rows if row[0] in key_of), key=itemgetter(0))


def cells_of_problem(
    store: Store, run_ids: Collection[int], problem: ProblemKey, columns: Sequence[str]
) -> list[tuple[Any, ...]]:
    """These columns of every measurement of a problem behind its implementation, the oldest run first."""
    # by run and cell at once: as a join, SQLite may read all cells of each run
    cells = select(_CELL.c.id).where(_CELL.c.problem_id == _id_of(problem))
    query = (
        select(_CELL.c.implementation, *(_MEASUREMENT.c[name] for name in columns))
        .join(_MEASUREMENT, _MEASUREMENT.c.cell_id == _CELL.c.id)
        .where(_MEASUREMENT.c.run_id.in_(run_ids), _MEASUREMENT.c.cell_id.in_(cells))
        .order_by(_MEASUREMENT.c.run_id, _CELL.c.id, _MEASUREMENT.c.mode)
    )
    with store.session() as session:
        return driver_rows(session, query)


def ratios_of_runs(
    store: Store,
    run_ids: Collection[int],
    metric: str,
    baselines: str,
    problem_ids: Collection[int],
) -> list[Ratio]:
    """Comparisons of these problems in these runs, in no order."""
    query = select(*(_COMPARISON.c[name] for name in Ratio._fields)).where(
        _COMPARISON.c.run_id.in_(run_ids),
        _COMPARISON.c.problem_id.in_(problem_ids),
        _COMPARISON.c.metric == metric,
        _COMPARISON.c.baselines == baselines,
    )
    with store.session() as session:
        return [Ratio._make(row) for row in driver_rows(session, query)]


def predictions_of_problem(
    store: Store, run_ids: Collection[int], problem: ProblemKey
) -> list[PredictionPoint]:
    """Every heuristic's predictions for one problem in these runs, the oldest run first."""
    query = (
        select(*(_PREDICTION.c[name] for name in PredictionPoint._fields))
        .where(_PREDICTION.c.run_id.in_(run_ids), _PREDICTION.c.problem_id == _id_of(problem))
        .order_by(_PREDICTION.c.run_id, _PREDICTION.c.heuristic, _PREDICTION.c.version)
    )
    return store.read(query, PredictionPoint)


def samples_of_run(
    store: Store, run_id: int, cell_ids: Collection[int]
) -> dict[tuple[int, str], array[float]]:
    """Raw samples in ms of these cells of a run, by cell and mode, where they are kept."""
    query = select(Sample.cell_id, Sample.mode, Sample.samples_ms).where(
        Sample.run_id == run_id, Sample.cell_id.in_(cell_ids)
    )
    with store.session() as session:
        return {(cell_id, mode): unpack_samples(packed) for cell_id, mode, packed in session.execute(query)}


def _id_of(problem: ProblemKey) -> ScalarSelect[Any]:
    same = (_PROBLEM.c[name] == value for name, value in vars(problem).items())
    return select(_PROBLEM.c.id).where(*same).scalar_subquery()
