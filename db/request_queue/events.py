"""What was done with a request: asked for, cancelled, measured otherwise than asked. A row each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from kswatch.db.schema.tables import RequestEvent
from kswatch.db.store import Store

Act = Literal["ask", "cancel", "alone"]
"""`alone`: what should have been measured in turns with another revision was not."""


@dataclass(frozen=True)
class RequestEventRow:
    """Something that was done with a request."""

    request_id: int
    at: datetime
    who: str
    action: str
    reason: str | None


def add(session: Session, request_id: int, at: datetime, who: str, action: Act, reason: str | None) -> None:
    """Say who did it, in the transaction that does it."""
    told = None if reason is None else reason[:2000]
    session.add(RequestEvent(request_id=request_id, at=at, who=who, action=action, reason=told))


def say_alone(store: Store, request_id: int, reason: str) -> None:
    """Only the night's own revision is measured for this request, not the last good one with it; and why."""
    with store.writing() as session:
        add(session, request_id, datetime.now(UTC), "kswatch", "alone", reason)


def request_events(store: Store, request_ids: Collection[int]) -> list[RequestEventRow]:
    """What was done with these requests, the oldest first."""
    columns = [getattr(RequestEvent, name) for name in RequestEventRow.__dataclass_fields__]
    query = select(*columns).where(RequestEvent.request_id.in_(request_ids)).order_by(RequestEvent.id)
    with store.session() as session:
        return [RequestEventRow(*row) for row in session.execute(query)]
