"""One series: a metric of a cell on a device over its runs, what a chart of years asks for at once."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, null, select

from kswatch.db.backend.fetch import driver_rows
from kswatch.db.queries.rows import SeriesPoint
from kswatch.db.queries.runs import MEASURED, NIGHTLY, run_filters
from kswatch.db.records import COMPARABLE, HEADLINE_MODES, ProblemKey
from kswatch.db.schema.tables import Cell, Comparison, Measurement, Problem, Run
from kswatch.db.store import Store
from kswatch.db.writes.series_tails import RATIO_OF_METRIC, TAIL_METRICS
from kswatch.errors import UsageError


def series(
    store: Store,
    device_id: int,
    problem: ProblemKey,
    implementation: str,
    metric: str = "latency_ms",
    *,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[SeriesPoint]:
    """One metric of one cell on one device over its runs, the oldest first; failed cells give no point.

    `speedup` and `energy_ratio` are the problem's against the best of all baselines.

    Raises:
        UsageError: there is no such metric.
    """
    if metric not in RATIO_OF_METRIC.values() and metric not in Measurement.__table__.c:
        raise UsageError(f"unknown metric {metric!r}; db/metrics.py lists them")
    asked = (metric, *(None if names is None else tuple(names) for names in (kinds, origins)))
    which = vars(problem) | {"implementation": implementation, "device_id": device_id}
    with store.session() as session:
        rows = driver_rows(session, _query(*asked), which)
    when: Any = Run.started_at.type.result_processor(store.engine.dialect, None)
    return [SeriesPoint(run_id, when(at), *values) for run_id, at, *values in rows]


@cache
def _query(metric: str, kinds: tuple[str, ...] | None, origins: tuple[str, ...] | None) -> Select:
    of_metric = _ratio_series if metric in RATIO_OF_METRIC.values() else _cell_series
    return of_metric(metric).where(*run_filters(None, kinds, origins))


_TABLE_OF_RUN, _MEASUREMENT, _COMPARISON = Run.__table__, Measurement.__table__, Comparison.__table__
_RUN_OF_POINT = [_TABLE_OF_RUN.c[name] for name in ("id", "started_at", "environment_id", "revision_id")]
_PROBLEM_ASKED = (
    select(Problem.id)
    .where(*(getattr(Problem, name) == bindparam(name) for name in ProblemKey.__dataclass_fields__))
    .scalar_subquery()
)
_CELL_ASKED = (
    select(Cell.id)
    .where(Cell.problem_id == _PROBLEM_ASKED, Cell.implementation == bindparam("implementation"))
    .scalar_subquery()
)


def _ratio_series(metric: str) -> Select:
    compared = next(name for name, ratio in RATIO_OF_METRIC.items() if ratio == metric)
    values = (_COMPARISON.c[name] for name in ("speedup", "speedup_low", "speedup_high"))
    return (
        select(*_RUN_OF_POINT, *values)
        .join(_TABLE_OF_RUN, _TABLE_OF_RUN.c.id == _COMPARISON.c.run_id)
        .where(_COMPARISON.c.problem_id == _PROBLEM_ASKED, _COMPARISON.c.metric == compared)
        .where(_COMPARISON.c.baselines == "all", _COMPARISON.c.speedup.is_not(None))
        .where(_TABLE_OF_RUN.c.device_id == bindparam("device_id"))
        .order_by(_COMPARISON.c.run_id)
    )


def _cell_series(metric: str) -> Select:
    """The index by series gives the runs: a condition on the run's own device would have all runs scanned."""
    bounds = TAIL_METRICS.get(metric, (None, None))
    low, high = (_MEASUREMENT.c[name] if name else null() for name in bounds)
    return (
        select(*_RUN_OF_POINT, _MEASUREMENT.c[metric], low, high)
        .join(_TABLE_OF_RUN, _TABLE_OF_RUN.c.id == _MEASUREMENT.c.run_id)
        .where(
            _MEASUREMENT.c.device_id == bindparam("device_id"),
            _MEASUREMENT.c.cell_id == _CELL_ASKED,
        )
        .where(_MEASUREMENT.c.status.in_(COMPARABLE), _MEASUREMENT.c.mode.in_(HEADLINE_MODES))
        .where(_MEASUREMENT.c[metric].is_not(None))
        .order_by(_MEASUREMENT.c.run_id)
    )
