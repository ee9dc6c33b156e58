"""Who is alive: coordinators and workers leave a sign of life; only coordinators write them.

A worker never opens the store: the coordinator that hears of it writes its row.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import select, update

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.schema.tables import Device, Worker
from kswatch.db.store import Store

SILENT_AFTER = timedelta(seconds=90)
"""Without a sign for so long, whoever it is counts as silent."""


@dataclass(frozen=True)
class Sign:
    """Who is alive and what it does now; the same name is the same row."""

    name: str
    role: Literal["coordinator", "worker"]
    engine: str
    host: str
    device_uuid: str | None = None
    run_id: int | None = None


@dataclass(frozen=True)
class WorkerRow:
    """A coordinator or a worker, with its last sign of life."""

    name: str
    role: str
    engine: str
    host: str
    device_uuid: str | None
    run_id: int | None
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    device_model: str | None
    """None where the store does not know the device yet."""

    def state(self, now: datetime) -> Literal["alive", "silent", "stopped"]:
        """`stopped` after a goodbye; `silent` without a sign for `SILENT_AFTER`: killed, or cut off."""
        if self.stopped_at is not None:
            return "stopped"
        return "alive" if now - self.heartbeat_at <= SILENT_AFTER else "silent"


def say_alive(store: Store, *signs: Sign) -> None:
    """Write signs of life; one that had said goodbye begins anew."""
    if not signs:
        return
    now = datetime.now(UTC)
    values = {"heartbeat_at": now, "stopped_at": None}
    names = [sign.name for sign in signs]
    with store.writing() as session:
        back = (Worker.name.in_(names), Worker.stopped_at.is_not(None))
        session.execute(update(Worker).where(*back).values(started_at=now))
        known = {name: at for name, at in session.execute(select(Worker.name, Worker.started_at))}
        rows = [asdict(sign) | values | {"started_at": known.get(sign.name, now)} for sign in signs]
        insert_rows(session, Worker, rows, replace=True)


def say_goodbye(store: Store, *names: str) -> None:
    """Write that these ended on purpose; what nobody said goodbye for is silent in a while."""
    with store.writing() as session:
        mine = update(Worker).where(Worker.name.in_(names), Worker.stopped_at.is_(None))
        session.execute(mine.values(stopped_at=datetime.now(UTC), run_id=None))


def workers(store: Store, seen_since: datetime | None = None) -> list[WorkerRow]:
    """Coordinators first, then workers, by name; only those with a sign since then, if it is given."""
    columns = [getattr(Worker, name) for name in WorkerRow.__dataclass_fields__ if name != "device_model"]
    columns.append(Device.model)
    query = (
        select(*columns)
        .outerjoin(Device, Device.uuid == Worker.device_uuid)
        .order_by(Worker.role, Worker.name)
    )
    if seen_since is not None:
        query = query.where(Worker.heartbeat_at >= seen_since)
    with store.session() as session:
        return [WorkerRow(*row) for row in session.execute(query)]
