"""Heartbeats of coordinators and workers.

A worker never opens the store: its coordinator writes its row.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import select, update

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.backend.mapping import columns_of, field_names
from kswatch.db.schema.tables import Device, Worker
from kswatch.db.store import Store

HEARTBEAT_TIMEOUT = timedelta(seconds=90)
"""Age of the last heartbeat after which a process counts as stale."""


@dataclass(frozen=True)
class Heartbeat:
    """A live process and its current run; the name is the row's key."""

    name: str
    role: Literal["coordinator", "worker"]
    engine: str
    host: str
    device_uuid: str | None = None
    run_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerRow(Heartbeat):
    """A coordinator or a worker, with its last heartbeat."""

    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    device_model: str | None
    """None where the store does not know the device yet."""

    def state(self, now: datetime) -> Literal["alive", "stale", "stopped"]:
        """`stopped` after a clean exit; `stale` without a heartbeat for `HEARTBEAT_TIMEOUT`."""
        if self.stopped_at is not None:
            return "stopped"
        return "alive" if now - self.heartbeat_at <= HEARTBEAT_TIMEOUT else "stale"


def record_heartbeat(store: Store, *heartbeats: Heartbeat) -> None:
    """Write heartbeats; a process that had been marked as stopped starts anew."""
    if not heartbeats:
        return
    now = datetime.now(UTC)
    values = {"heartbeat_at": now, "stopped_at": None}
    names = [one.name for one in heartbeats]
    with store.writing() as session:
        back = (Worker.name.in_(names), Worker.stopped_at.is_not(None))
        session.execute(update(Worker).where(*back).values(started_at=now))
        known = {name: at for name, at in session.execute(select(Worker.name, Worker.started_at))}
        rows = [asdict(one) | values | {"started_at": known.get(one.name, now)} for one in heartbeats]
        insert_rows(session, Worker, rows, replace=True)


def mark_stopped(store: Store, *names: str) -> None:
    """Record that these processes exited cleanly; one that is not marked becomes stale instead."""
    with store.writing() as session:
        running = update(Worker).where(Worker.name.in_(names), Worker.stopped_at.is_(None))
        session.execute(running.values(stopped_at=datetime.now(UTC), run_id=None))


def workers(store: Store, seen_since: datetime | None = None) -> list[WorkerRow]:
    """Coordinators, then workers, by name; with `seen_since` only those with a heartbeat since then."""
    query = select(*columns_of(WorkerRow, Worker), Device.model).order_by(Worker.role, Worker.name)
    if seen_since is not None:
        query = query.where(Worker.heartbeat_at >= seen_since)
    with store.session() as session:
        rows = session.execute(query.outerjoin(Device, Device.uuid == Worker.device_uuid)).all()
    return [WorkerRow(**dict(zip(field_names(WorkerRow), row, strict=True))) for row in rows]
