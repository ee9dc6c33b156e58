"""Bisections: one for each alert, written after each measured commit, so that a killed one goes on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from kswatch.db.alerts.outbox import queue_notification
from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.backend.mapping import columns_of, matching
from kswatch.db.schema.tables import Alert, AlertEvent, Bisection, BisectionStep
from kswatch.db.store import Store

WAITING, FOUND, FAILED = "waiting", "found", "failed"
USER = "bisection"
"""The name in an alert's events."""
LONGEST_TEXT = 2_000


@dataclass(frozen=True)
class StepRow:
    """One commit of a bisection."""

    commit: str
    status: str
    change: float | None
    reason: str | None


@dataclass(frozen=True)
class BisectionRow:
    """A bisection without its steps."""

    id: int
    alert_id: int
    good_commit: str
    bad_commit: str
    state: str
    started_at: datetime
    updated_at: datetime
    seconds: float
    cell: dict[str, Any] | None
    suspects: list[str]
    message: str | None


def bisections(store: Store, alert_ids: Collection[int] | None = None) -> list[BisectionRow]:
    """The bisections of these alerts (None: of all), the newest first."""
    query = select(*columns_of(BisectionRow, Bisection)).where(*matching((Bisection.alert_id, alert_ids)))
    return store.read(query.order_by(Bisection.id.desc()), BisectionRow)


def steps(store: Store, bisection_id: int) -> list[StepRow]:
    """The measured and skipped commits, in the order of the search."""
    query = select(*columns_of(StepRow, BisectionStep)).where(BisectionStep.bisection_id == bisection_id)
    return store.read(query.order_by(BisectionStep.number), StepRow)


def suspects_of(store: Store, alert_ids: Collection[int] | None = None) -> dict[int, list[str]]:
    """By alert whose bisection has a result: the first bad commit, then others that could not be measured."""
    return {one.alert_id: one.suspects for one in bisections(store, alert_ids) if one.state == FOUND}


def begin_bisection(store: Store, alert_id: int, good: str, bad: str) -> int:
    """The id of the alert's bisection; it begins anew where the alert names other revisions than before."""
    now = datetime.now(UTC)
    with store.writing() as session:
        session.get(Alert, alert_id, with_for_update=True)  # another host that begins it waits here
        found = session.scalars(select(Bisection).where(Bisection.alert_id == alert_id)).one_or_none()
        if found is not None and (found.good_commit, found.bad_commit) == (good, bad):
            return found.id
        if found is not None:
            for step in session.scalars(select(BisectionStep).where(BisectionStep.bisection_id == found.id)):
                session.delete(step)
            found.cell, found.suspects, found.seconds, found.message = None, [], 0.0, None
            found.started_at = now
        else:
            found = Bisection(alert_id=alert_id, started_at=now, suspects=[])
            session.add(found)
        found.good_commit, found.bad_commit, found.state, found.updated_at = good, bad, WAITING, now
        session.flush()
        return found.id


def record_progress(
    store: Store, bisection_id: int, cell: dict[str, Any], found: Collection[StepRow], seconds: float
) -> None:
    """Record what is known so far; `seconds` are added to those of earlier nights."""
    with store.writing() as session:
        row = session.get_one(Bisection, bisection_id, with_for_update=True)
        row.cell, row.seconds, row.updated_at = cell, row.seconds + seconds, datetime.now(UTC)
        row.message = f"{len(found)} commits decided"
        rows = [
            {"bisection_id": bisection_id, "number": number, **vars(step)}
            | {"reason": step.reason and step.reason[:LONGEST_TEXT]}
            for number, step in enumerate(found)
        ]
        insert_rows(session, BisectionStep, rows, replace=True)


def record_culprit(store: Store, bisection_id: int, suspects: Collection[str], text: str) -> None:
    """Record the result, write it to the alert as an event, and queue a notification."""
    with store.writing() as session:
        row = session.get_one(Bisection, bisection_id, with_for_update=True)
        if row.state == FOUND:
            return
        row.state, row.suspects, row.message = FOUND, list(suspects), text[:LONGEST_TEXT]
        row.updated_at = datetime.now(UTC)
        alert = _add_event(session, row.alert_id, "bisected", text)
        if alert.state != "muted":
            queue_notification(session, alert, "bisected")


def record_failure(store: Store, bisection_id: int, reason: str) -> None:
    """Record why there is no result, and write it to the alert as an event."""
    with store.writing() as session:
        row = session.get_one(Bisection, bisection_id, with_for_update=True)
        row.state, row.message, row.updated_at = FAILED, reason[:LONGEST_TEXT], datetime.now(UTC)
        _add_event(session, row.alert_id, "not bisected", reason)


def record_wait(store: Store, bisection_id: int, reason: str) -> None:
    """Record why a bisection waits for another night."""
    with store.writing() as session:
        row = session.get_one(Bisection, bisection_id, with_for_update=True)
        row.message, row.updated_at = reason[:LONGEST_TEXT], datetime.now(UTC)


def _add_event(session: Session, alert_id: int, action: str, text: str) -> Alert:
    alert = session.get_one(Alert, alert_id, with_for_update=True)
    alert.version += 1
    session.add(
        AlertEvent(
            alert_id=alert_id,
            at=datetime.now(UTC),
            who=USER,
            action=action,
            reason=text[:LONGEST_TEXT],
            from_state=alert.state,
            to_state=alert.state,
        )
    )
    return alert
