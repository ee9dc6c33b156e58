"""Reads of what was said about measurements: predictions, verdicts, alerts; and of requests."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from sqlalchemy import Select, and_, case, func, select

from kswatch.db.queries.measurements import PROBLEM_COLUMNS, problem_filters
from kswatch.db.queries.rows import (
    AlertEventRow,
    AlertRow,
    HeuristicNight,
    PredictionOutcome,
    RequestRow,
    VerdictRow,
)
from kswatch.db.queries.runs import MEASURED, NIGHTLY, run_filters
from kswatch.db.schema.tables import (
    Alert,
    AlertEvent,
    Cell,
    Comparison,
    Prediction,
    Problem,
    Request,
    Run,
    Verdict,
)
from kswatch.db.store import Store
from kswatch.errors import UsageError


def _outcome_join(metric: str, baselines: str) -> Any:  # noqa: ANN401  (a join condition)
    return and_(
        Comparison.run_id == Prediction.run_id,
        Comparison.problem_id == Prediction.problem_id,
        Comparison.metric == metric,
        Comparison.baselines == baselines,
        Comparison.speedup.is_not(None),
    )


def prediction_outcomes(
    store: Store,
    run_id: int | None = None,
    *,
    device_id: int | None = None,
    heuristic: str | None = None,
    metric: str = "latency",
    baselines: str = "all",
    precision: str | None = None,
    layout: str | None = None,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[PredictionOutcome]:
    """Predictions with what happened; problems that were left out of the comparison have no outcome."""
    said = (Prediction.heuristic, Prediction.version, Prediction.predicts_fused, Prediction.predicted_speedup)
    query = (
        select(Run.id, Run.device_id, Run.started_at, Problem.id, *PROBLEM_COLUMNS, *said)
        .add_columns(Comparison.speedup, Comparison.best_baseline)
        .join(Comparison, _outcome_join(metric, baselines))
        .join(Run, Run.id == Prediction.run_id)
        .join(Problem, Problem.id == Prediction.problem_id)
        .where(*problem_filters(precision=precision, layout=layout))
        .where(*([Run.id == run_id] if run_id is not None else run_filters(device_id, kinds, origins)))
        .order_by(Run.id, Prediction.heuristic, Prediction.version, Problem.id)
    )
    if heuristic is not None:
        query = query.where(Prediction.heuristic == heuristic)
    with store.session() as session:
        return [PredictionOutcome(*row) for row in session.execute(query)]


def heuristic_nights(
    store: Store,
    run_ids: Collection[int] | None = None,
    *,
    metric: str = "latency",
    baselines: str = "all",
    precision: str | None = None,
    layout: str | None = None,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[HeuristicNight]:
    """Each heuristic's confusion matrix per run, the oldest run first; a win is a speedup over 1."""
    which = run_filters(None, kinds, origins) if run_ids is None else [Run.id.in_(run_ids)]
    said, won = Prediction.predicts_fused.is_(True), Comparison.speedup > 1
    quarters = (and_(said, won), and_(said, ~won), and_(~said, won), and_(~said, ~won))
    query = (
        select(Run.id, Run.device_id, Run.started_at, Prediction.heuristic, Prediction.version)
        .add_columns(*(func.sum(case((quarter, 1), else_=0)) for quarter in quarters))
        .join(Comparison, _outcome_join(metric, baselines))
        .join(Run, Run.id == Prediction.run_id)
        .join(Problem, Problem.id == Prediction.problem_id)
        .where(*problem_filters(precision=precision, layout=layout))
        .where(*which)
        .group_by(Run.id, Run.device_id, Run.started_at, Prediction.heuristic, Prediction.version)
        .order_by(Run.id, Prediction.heuristic, Prediction.version)
    )
    with store.session() as session:
        return [HeuristicNight(*row) for row in session.execute(query)]


def verdicts(
    store: Store, run_id: int | None = None, *, device_id: int | None = None, alert_id: int | None = None
) -> list[VerdictRow]:
    """Judgements of a run, of a device or of an alert, the newest run first, the worst change first."""
    wanted = ((Verdict.run_id, run_id), (Run.device_id, device_id), (Verdict.alert_id, alert_id))
    columns = [getattr(Verdict, name) for name in VerdictRow._fields if name in Verdict.__table__.c]
    named = [columns[0], Run.device_id, columns[1], Problem.id, *PROBLEM_COLUMNS, Cell.implementation]
    query = (
        select(*named, *columns[2:])
        .join(Run, Run.id == Verdict.run_id)
        .join(Cell, Cell.id == Verdict.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .where(*(column == value for column, value in wanted if value is not None))
        .order_by(Verdict.run_id.desc(), func.abs(func.coalesce(Verdict.change, 0)).desc(), Cell.id)
    )
    with store.session() as session:
        return [VerdictRow(*row) for row in session.execute(query)]


def alerts(
    store: Store,
    states: Collection[str] | None = None,
    device_id: int | None = None,
    limit: int | None = None,
) -> list[AlertRow]:
    """Alerts in these states (None: all), the newest first."""
    query = select(*_ALERT_COLUMNS).order_by(Alert.id.desc()).limit(limit)
    if states is not None:
        query = query.where(Alert.state.in_(states))
    if device_id is not None:
        query = query.where(Alert.device_id == device_id)
    with store.session() as session:
        return [AlertRow(*row) for row in session.execute(query)]


_ALERT_COLUMNS = [getattr(Alert, field.name) for field in fields(AlertRow)]


def alert(store: Store, alert_id: int) -> AlertRow:
    """One alert.

    Raises:
        UsageError: there is none with this id.
    """
    with store.session() as session:
        found = session.get(Alert, alert_id)
        if found is None:
            raise UsageError(f"there is no alert {alert_id}; `kswatch alerts` lists them")
        return _row(AlertRow, found)


def alert_events(store: Store, alert_id: int | None = None) -> list[AlertEventRow]:
    """Everything that happened to an alert, or to all, the oldest first."""
    query = select(AlertEvent).order_by(AlertEvent.id)
    if alert_id is not None:
        query = query.where(AlertEvent.alert_id == alert_id)
    with store.session() as session:
        return [_row(AlertEventRow, found) for found in session.scalars(query)]


def requests(
    store: Store, states: Collection[str] | None = None, limit: int | None = 100
) -> list[RequestRow]:
    """Requests in these states (None: all), the newest first."""
    query = _requests().order_by(Request.id.desc()).limit(limit)
    if states is not None:
        query = query.where(Request.state.in_(states))
    with store.session() as session:
        return [_request_row(*found) for found in session.execute(query)]


def request(store: Store, request_id: int) -> RequestRow:
    """One request.

    Raises:
        UsageError: there is none with this id.
    """
    with store.session() as session:
        found = session.execute(_requests().where(Request.id == request_id)).one_or_none()
        if found is None:
            raise UsageError(f"there is no request {request_id}; `kswatch request --list` shows them")
        return _request_row(*found)


def _requests() -> Select:
    newest_run = select(func.max(Run.id)).where(Run.request_id == Request.id).scalar_subquery()
    return select(Request, newest_run)


def _request_row(found: Request, run_id: int | None) -> RequestRow:
    names = [field.name for field in fields(RequestRow) if field.name != "run_id"]
    return RequestRow(**{name: getattr(found, name) for name in names}, run_id=run_id)


def _row(record: Any, found: object) -> Any:  # noqa: ANN401  (a row of the class that is given)
    return record(**{field.name: getattr(found, field.name) for field in fields(record)})
