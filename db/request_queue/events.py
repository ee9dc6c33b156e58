"""Events of requests: submitted, cancelled, measured without the other revision."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from kswatch.db.backend.mapping import columns_of
from kswatch.db.schema.tables import RequestEvent
from kswatch.db.store import Store

RequestAction = Literal["ask", "cancel", "alone", "reports"]
"""`alone`: the flagged revision was measured without the good one; `reports`: those of ncu, or why none."""


@dataclass(frozen=True)
class RequestEventRow:
    """One event of a request."""

    request_id: int
    at: datetime
    who: str
    action: str
    reason: str | None


def add(
    session: Session, request_id: int, at: datetime, user: str, action: RequestAction, reason: str | None
) -> None:
    """Add an event in the caller's transaction."""
    text = None if reason is None else reason[:2000]
    session.add(RequestEvent(request_id=request_id, at=at, who=user, action=action, reason=text))


def record_unpaired(store: Store, request_id: int, reason: str) -> None:
    """Record that only the flagged revision is measured for this request, with the reason.

    Once: a server that ended before the run began leaves it to the next one, which finds the same reason.
    """
    with store.writing() as session:
        own = (RequestEvent.request_id == request_id, RequestEvent.action == "alone")
        newest = select(RequestEvent.reason).where(*own).order_by(RequestEvent.id.desc()).limit(1)
        if session.scalar(newest) != reason[:2000]:
            add(session, request_id, datetime.now(UTC), "kswatch", "alone", reason)


def record_reports(store: Store, request_id: int, sentence: str) -> None:
    """Record how many reports of ncu the request's run has, or why it has none."""
    with store.writing() as session:
        add(session, request_id, datetime.now(UTC), "kswatch", "reports", sentence)


def reports_of(store: Store, request_id: int) -> str | None:
    """The newest sentence of `record_reports`; None where no report was asked for."""
    own = (RequestEvent.request_id == request_id, RequestEvent.action == "reports")
    with store.session() as session:
        query = select(RequestEvent.reason).where(*own).order_by(RequestEvent.id.desc()).limit(1)
        return session.scalar(query)


def request_events(store: Store, request_ids: Collection[int]) -> list[RequestEventRow]:
    """The events of these requests, the oldest first."""
    query = (
        select(*columns_of(RequestEventRow, RequestEvent))
        .where(RequestEvent.request_id.in_(request_ids))
        .order_by(RequestEvent.id)
    )
    return store.read(query, RequestEventRow)
