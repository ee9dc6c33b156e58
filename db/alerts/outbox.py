"""The outbox: notifications that are kept until each channel has accepted them.

A notification is written in the transaction of the alert's transition, so that neither exists without the
other. The sender addresses it to each channel, claims one message at a time for `CLAIM_S`, delivers it and
marks it as sent. Only if a sender dies between delivery and mark is a message delivered twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.backend.mapping import record_of
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
    row = {
        "key": f"alert {alert.id} {transition} {alert.version}",
        "alert_id": alert.id,
        "channel": UNADDRESSED,
        "title": f"alert {alert.id} {transition}: {alert.title}"[:500],
        "body": "",
        "state": QUEUED,
        "attempts": 0,
        "queued_at": now,
        "next_try_at": now,
    }
    insert_rows(session, Message, [row], replace=False, key=("key",))


def address_notifications(store: Store, channels: Sequence[str], body_of: Callable[[MessageRow], str]) -> int:
    """Address new notifications to every channel, and return the number of messages.

    Args:
        store: to write to.
        channels: their names, without secrets.
        body_of: the text of a notification.
    """
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
                insert_rows(
                    session, Message, _copies(row, channels, bodies[row.id]), replace=False, key=("key",)
                )
                notification.state = ADDRESSED
                made += len(channels)
    return made


def _copies(notification: MessageRow, channels: Iterable[str], body: str) -> list[dict[str, object]]:
    kept = {name: getattr(notification, name) for name in ("alert_id", "title", "queued_at")}
    fresh = {"state": QUEUED, "attempts": 0, "next_try_at": notification.queued_at, "body": body}
    return [
        kept | fresh | {"key": f"{notification.key} to {name}"[:120], "channel": name[:80]}
        for name in channels
    ]


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


def messages(
    store: Store, states: Collection[str] | None = None, limit: int | None = None
) -> list[MessageRow]:
    """Messages in these states, the oldest first; the newest `limit` of them."""
    query = select(Message).order_by(Message.id.desc())
    if states is not None:
        query = query.where(Message.state.in_(states))
    if limit is not None:
        query = query.limit(limit)
    with store.session() as session:
        return [record_of(MessageRow, one) for one in reversed(session.scalars(query).all())]
