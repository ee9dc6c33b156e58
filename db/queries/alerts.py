"""Reads of alerts and of requests."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Select, func, select

from kswatch.db.backend.mapping import columns_of, record_of
from kswatch.db.queries.alert_rows import AlertEventRow, AlertRow, RequestRow
from kswatch.db.schema.tables import Alert, AlertEvent, Request, Run
from kswatch.db.store import Store
from kswatch.errors import UsageError


def alerts(
    store: Store,
    states: Collection[str] | None = None,
    device_id: int | None = None,
    limit: int | None = None,
    *,
    ids: Collection[int] | None = None,
) -> list[AlertRow]:
    """Alerts in these states, of this device, with these ids (None: all), the newest first."""
    query = select(*columns_of(AlertRow, Alert)).order_by(Alert.id.desc()).limit(limit)
    if states is not None:
        query = query.where(Alert.state.in_(states))
    if device_id is not None:
        query = query.where(Alert.device_id == device_id)
    if ids is not None:
        query = query.where(Alert.id.in_(ids))
    with store.session() as session:
        return [AlertRow(*row) for row in session.execute(query)]


def alert(store: Store, alert_id: int) -> AlertRow:
    """One alert.

    Raises:
        UsageError: there is none with this id.
    """
    found = alerts(store, ids=[alert_id])
    if not found:
        raise UsageError(f"there is no alert {alert_id}; `kswatch alerts` lists them")
    return found[0]


def alert_events(store: Store, alert_id: int | None = None) -> list[AlertEventRow]:
    """The events of an alert, or of all, the oldest first."""
    query = select(*columns_of(AlertEventRow, AlertEvent)).order_by(AlertEvent.id)
    if alert_id is not None:
        query = query.where(AlertEvent.alert_id == alert_id)
    with store.session() as session:
        return [AlertEventRow(*row) for row in session.execute(query)]


def requests(
    store: Store, states: Collection[str] | None = None, limit: int | None = 100
) -> list[RequestRow]:
    """Requests in these states (None: all), the newest first."""
    query = _requests().order_by(Request.id.desc()).limit(limit)
    if states is not None:
        query = query.where(Request.state.in_(states))
    with store.session() as session:
        return [record_of(RequestRow, row, run_id=run_id) for row, run_id in session.execute(query)]


def request(store: Store, request_id: int) -> RequestRow:
    """One request.

    Raises:
        UsageError: there is none with this id.
    """
    with store.session() as session:
        found = session.execute(_requests().where(Request.id == request_id)).one_or_none()
        if found is None:
            raise UsageError(f"there is no request {request_id}; `kswatch request --list` shows them")
        return record_of(RequestRow, found[0], run_id=found[1])


def _requests() -> Select:
    newest_run = select(func.max(Run.id)).where(Run.request_id == Request.id).scalar_subquery()
    return select(Request, newest_run)
