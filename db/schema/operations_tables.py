"""Tables of current operations: live processes, run logs, request events and the outbox."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from kswatch.db.schema.base import Base


class Worker(Base):
    """A coordinator or a worker, with its last heartbeat."""

    __tablename__ = "worker"
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    engine: Mapped[str] = mapped_column(String(16))
    host: Mapped[str] = mapped_column(String(255))
    device_uuid: Mapped[str | None] = mapped_column(String(80))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]


class RunLog(Base):
    """A line of a run's log."""

    __tablename__ = "run_log"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), index=True)
    at: Mapped[datetime]
    level: Mapped[str] = mapped_column(String(8))
    text: Mapped[str] = mapped_column(String(2000))


class RequestEvent(Base):
    """An event of a request, by a user or the schedule. Nothing is deleted."""

    __tablename__ = "request_event"
    id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("request.id"), index=True)
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(120))
    action: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(2000))


class Message(Base):
    """The outbox: a notification for one channel, kept until the channel accepts it."""

    __tablename__ = "message"
    __table_args__ = (Index("message_outbox", "state", "next_try_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(120), unique=True)
    alert_id: Mapped[int | None] = mapped_column(ForeignKey("alert.id"), index=True)
    channel: Mapped[str] = mapped_column(String(80))
    title: Mapped[str] = mapped_column(String(500))
    body: Mapped[str]
    state: Mapped[str] = mapped_column(String(16), default="queued")
    attempts: Mapped[int] = mapped_column(default=0)
    queued_at: Mapped[datetime]
    next_try_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(String(500))


class ScheduleMark(Base):
    """The last due time of a schedule, so that a missed night is caught up once."""

    __tablename__ = "schedule_mark"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    last_due_at: Mapped[datetime]
