"""Reads of alerts and of requests, and the rows that they return."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from kswatch.db.backend.mapping import columns_of, matching
from kswatch.db.schema.tables import Alert, AlertEvent, Request, Run
from kswatch.db.store import Store
from kswatch.errors import UsageError


@dataclass(frozen=True)
class AlertRow:
    """An alert in its current state; an action on it must name the `version` that the user saw."""

    id: int
    device_id: int
    opened_run_id: int
    newest_run_id: int
    state: str
    confirmed: bool
    verdict: str
    cause: str
    metric: str
    implementation: str
    title: str
    worst_change: float | None
    explanation: dict[str, Any]
    assigned_to: str | None
    muted_until: datetime | None
    good_nights: int
    version: int


@dataclass(frozen=True)
class AlertEventRow:
    """One event of an alert."""

    id: int
    alert_id: int
    at: datetime
    who: str
    action: str
    reason: str | None
    from_state: str | None
    to_state: str


@dataclass(frozen=True)
class RequestRow:
    """A requested run and its progress."""

    id: int
    state: str
    priority: int
    kind: str
    device: str
    suite: str
    arguments: dict[str, Any]
    asked_by: str
    why: str | None
    asked_at: datetime
    taken_at: datetime | None
    finished_at: datetime | None
    cells_done: int
    cells_planned: int | None
    seconds_planned: float | None
    seconds_left: float | None
    message: str | None
    cancel_asked: bool
    run_id: int | None
    """The newest run of the request."""


def alerts(
    store: Store,
    states: Collection[str] | None = None,
    device_id: int | None = None,
    limit: int | None = None,
    *,
    ids: Collection[int] | None = None,
    newest_runs: Collection[int] | None = None,
) -> list[AlertRow]:
    """Alerts in these states, of this device, with these ids, last judged in these runs; the newest first.

    None means all.
    """
    which = matching(
        (Alert.state, states),
        (Alert.device_id, device_id),
        (Alert.id, ids),
        (Alert.newest_run_id, newest_runs),
    )
    query = select(*columns_of(AlertRow, Alert)).where(*which).order_by(Alert.id.desc())
    return store.read(query.limit(limit), AlertRow)


def alert(store: Store, alert_id: int) -> AlertRow:
    """One alert.

    Raises:
        UsageError: there is none with this id.
    """
    for found in alerts(store, ids=[alert_id]):
        return found
    raise UsageError(f"there is no alert {alert_id}; `kswatch alerts` lists them")


def alert_events(store: Store, alert_id: int | None = None) -> list[AlertEventRow]:
    """The events of an alert, or of all, the oldest first."""
    query = select(*columns_of(AlertEventRow, AlertEvent)).where(*matching((AlertEvent.alert_id, alert_id)))
    return store.read(query.order_by(AlertEvent.id), AlertEventRow)


def requests(
    store: Store,
    states: Collection[str] | None = None,
    limit: int | None = 100,
    *,
    ids: Collection[int] | None = None,
) -> list[RequestRow]:
    """Requests in these states, with these ids (None: all), the newest first."""
    newest_run = select(func.max(Run.id)).where(Run.request_id == Request.id).scalar_subquery()
    query = select(*columns_of(RequestRow, Request), newest_run)
    query = query.where(*matching((Request.state, states), (Request.id, ids)))
    return store.read(query.order_by(Request.id.desc()).limit(limit), RequestRow)


def request(store: Store, request_id: int) -> RequestRow:
    """One request.

    Raises:
        UsageError: there is none with this id.
    """
    for found in requests(store, ids=[request_id]):
        return found
    raise UsageError(f"there is no request {request_id}; `kswatch request --list` shows them")
