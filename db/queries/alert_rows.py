"""Rows of alerts and requests that the reads return."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


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
