"""The outbox: notifications that are kept until each channel has accepted them.

A notification is written in the transaction of the alert's transition, so that neither exists without the
other. The sender addresses it to each channel, claims one message at a time for `CLAIM_S`, delivers it and
marks it as sent. Only if a sender dies between delivery and mark is a message delivered twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.backend.mapping import columns_of, matching, record_of
from kswatch.db.schema.tables import Alert, Message
from kswatch.db.store import Store

UNADDRESSED = "*"
"""The channel of a notification that is not addressed yet."""
CLAIM_S = 120.0
"""A claim without result expires after this time, and the message is sent again."""
FIRST_RETRY_S = 30.0
LONGEST_RETRY_S = 6 * 3600.0
UNADDRESSED_DAYS = 7
"""A notification that had no channel for this long expires."""
QUEUED, SENDING, SENT, ADDRESSED, EXPIRED = "queued", "sending", "sent", "addressed", "expired"


@dataclass(frozen=True)
class MessageRow:
    """One message for one channel, or a notification that is not addressed yet."""

    id: int
    key: str
    alert_id: int | None
    channel: str
    title: str
    body: str
    state: str
    attempts: int
    queued_at: datetime
    next_try_at: datetime
    sent_at: datetime | None
    error: str | None


def queue_notification(session: Session, alert: Alert, transition: str) -> None:
    """Queue a notification of an alert's transition, once, in the transaction of that transition."""
    now = datetime.now(UTC)
    row = {"alert_id": alert.id, "channel": UNADDRESSED, "body": "", "queued_at": now}
    row["key"] = f"alert {alert.id} {transition} {alert.version}"
    row["title"] = f"alert {alert.id} {transition}: {alert.title}"[:500]
    _queue(session, [row])


def _queue(session: Session, rows: Iterable[dict[str, Any]]) -> None:
    """Queue each message once, due at once."""
    new = [row | {"state": QUEUED, "attempts": 0, "next_try_at": row["queued_at"]} for row in rows]
    insert_rows(session, Message, new, replace=False, key=("key",))


def address_notifications(store: Store, channels: Sequence[str], body_of: Callable[[MessageRow], str]) -> int:
    """Address new notifications to every channel by its name, and return the number of messages."""
    waiting = [row for row in messages(store, (QUEUED,)) if row.channel == UNADDRESSED]
    bodies = {row.id: body_of(row) for row in waiting} if channels else {}
    made = 0
    for row in waiting:
        with store.writing() as session:
            notification = session.get(Message, row.id, with_for_update=True)
            if notification is None or notification.state != QUEUED:
                continue
            age = datetime.now(UTC) - row.queued_at
            if age > timedelta(days=UNADDRESSED_DAYS):
                notification.state = EXPIRED
            elif channels:
                kept = {name: getattr(row, name) for name in ("alert_id", "title", "queued_at")}
                kept["body"] = bodies[row.id]
                names = {name: f"{row.key} to {name}"[:120] for name in channels}
                _queue(session, [kept | {"key": key, "channel": name[:80]} for name, key in names.items()])
                notification.state = ADDRESSED
                made += len(channels)
    return made


def claim(store: Store, channels: Collection[str], now: datetime) -> MessageRow | None:
    """Claim the next due message for one of the channels for `CLAIM_S`; None when none is due."""
    due = select(Message).where(
        Message.state.in_((QUEUED, SENDING)), Message.next_try_at <= now, Message.channel.in_(channels)
    )
    with store.writing() as session:
        found = session.scalars(due.order_by(Message.id).limit(1).with_for_update(skip_locked=True)).first()
        if found is None:
            return None
        found.state = SENDING
        found.attempts += 1
        found.next_try_at = now + timedelta(seconds=CLAIM_S)
        return record_of(MessageRow, found)


def mark_sent(store: Store, message_id: int, now: datetime) -> None:
    """Record that the channel accepted the message."""
    with store.writing() as session:
        values = {"state": SENT, "sent_at": now, "error": None}
        session.execute(update(Message).where(Message.id == message_id).values(values))


def mark_failed(store: Store, message: MessageRow, error: str, now: datetime) -> datetime:
    """Record a failed delivery, and return the time of the next try: the delay doubles up to six hours."""
    wait_s = min(FIRST_RETRY_S * 2 ** (message.attempts - 1), LONGEST_RETRY_S)
    next_try_at = now + timedelta(seconds=wait_s)
    with store.writing() as session:
        values = {"state": QUEUED, "next_try_at": next_try_at, "error": error[:500]}
        session.execute(update(Message).where(Message.id == message.id).values(values))
    return next_try_at


def retry_now(store: Store) -> None:
    """Make every queued message due now, except those that another sender has claimed."""
    with store.writing() as session:
        session.execute(update(Message).where(Message.state == QUEUED).values(next_try_at=Message.queued_at))


def messages(store: Store, states: Collection[str] | None = None) -> list[MessageRow]:
    """Messages in these states (None: all), the oldest first."""
    query = select(*columns_of(MessageRow, Message)).where(*matching((Message.state, states)))
    return store.read(query.order_by(Message.id), MessageRow)
