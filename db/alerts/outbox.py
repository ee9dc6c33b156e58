"""The outbox: what is to be told, kept until each channel took it.

News is written in the transaction that moves the alert, so neither can be without the other. Whoever
knows the channels addresses it to each of them, claims one message at a time for `CLAIM_S`, sends it and
marks it. A sender that dies after the channel took a message and before the mark is the one case in which
it goes out twice: at least once, and otherwise exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.schema.tables import Alert, Message
from kswatch.db.store import Store

EVERYONE = "*"
"""The channel of news that was not addressed yet."""
CLAIM_S = 120.0
"""A sender that has not said how it went after so long is taken for dead, and its message is sent again."""
FIRST_RETRY_S = 30.0
LONGEST_RETRY_S = 6 * 3600.0
UNADDRESSED_DAYS = 7
"""News that found no channel for so long is no news any more when one is configured."""
QUEUED, SENDING, SENT, ADDRESSED, EXPIRED = "queued", "sending", "sent", "addressed", "expired"


@dataclass(frozen=True)
class MessageRow:
    """One message for one channel, or news that was not addressed yet."""

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


def queue_news(session: Session, alert: Alert, word: str) -> None:
    """Write that there is news of an alert, in the transaction that makes it; the same news once."""
    now = datetime.now(UTC)
    row = {
        "key": f"alert {alert.id} {word} {alert.version}",
        "alert_id": alert.id,
        "channel": EVERYONE,
        "title": f"alert {alert.id} {word}: {alert.title}"[:500],
        "body": "",
        "state": QUEUED,
        "attempts": 0,
        "queued_at": now,
        "next_try_at": now,
    }
    insert_rows(session, Message, [row], replace=False, key=("key",))


def address(store: Store, channels: Sequence[str], body_of: Callable[[MessageRow], str]) -> int:
    """Address what is news to every channel, once; gives how many messages that made.

    Args:
        store: whose news.
        channels: their names, which hold no secret.
        body_of: what to write to people about it.
    """
    waiting = [row for row in messages(store, (QUEUED,)) if row.channel == EVERYONE]
    bodies = {row.id: body_of(row) for row in waiting} if channels else {}
    made = 0
    for row in waiting:
        with store.writing() as session:
            news = session.get(Message, row.id, with_for_update=True)
            if news is None or news.state != QUEUED:
                continue
            age = datetime.now(UTC) - row.queued_at
            if age > timedelta(days=UNADDRESSED_DAYS):
                news.state = EXPIRED
            elif channels:
                insert_rows(
                    session, Message, _copies(row, channels, bodies[row.id]), replace=False, key=("key",)
                )
                news.state = ADDRESSED
                made += len(channels)
    return made


def _copies(news: MessageRow, channels: Iterable[str], body: str) -> list[dict[str, object]]:
    kept = {name: getattr(news, name) for name in ("alert_id", "title", "queued_at")}
    fresh = {"state": QUEUED, "attempts": 0, "next_try_at": news.queued_at, "body": body}
    return [kept | fresh | {"key": f"{news.key} to {name}"[:120], "channel": name[:80]} for name in channels]


def claim(store: Store, channels: Collection[str], now: datetime) -> MessageRow | None:
    """The next message that is due for one of the channels, now ours for `CLAIM_S`; None when none is."""
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
        return _row(found)


def mark_sent(store: Store, message_id: int, now: datetime) -> None:
    """The channel took it."""
    with store.writing() as session:
        values = {"state": SENT, "sent_at": now, "error": None}
        session.execute(update(Message).where(Message.id == message_id).values(values))


def mark_failed(store: Store, message: MessageRow, error: str, now: datetime) -> datetime:
    """The channel did not take it; gives when it is tried again: later each time, up to six hours."""
    wait_s = min(FIRST_RETRY_S * 2 ** (message.attempts - 1), LONGEST_RETRY_S)
    next_try_at = now + timedelta(seconds=wait_s)
    with store.writing() as session:
        values = {"state": QUEUED, "next_try_at": next_try_at, "error": error[:500]}
        session.execute(update(Message).where(Message.id == message.id).values(values))
    return next_try_at


def try_now(store: Store) -> None:
    """Let everything that waits for its next try be due; what another sender holds stays its own."""
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
        return [_row(one) for one in reversed(session.scalars(query).all())]


def _row(one: Message) -> MessageRow:
    return MessageRow(**{name: getattr(one, name) for name in MessageRow.__dataclass_fields__})
