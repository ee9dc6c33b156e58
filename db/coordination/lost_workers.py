"""Runs that stopped because their device's worker was lost, until it reconnects.

Both are events of the run (`worker_lost`, `worker_back`), part of its history; `lost_runs` has the runs
whose worker is lost now.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import exists, func, select
from sqlalchemy.orm import aliased

from kswatch.db.coordination.run_events import add_run_event
from kswatch.db.schema.tables import Device, Run, RunEvent
from kswatch.db.store import Store

LOST: Final = "worker_lost"
BACK: Final = "worker_back"


class LostRun(NamedTuple):
    """A run that waits for its lost worker, with the text of the event."""

    run_id: int
    device_id: int
    device_uuid: str
    device_model: str
    kind: str
    origin: str
    at: datetime
    text: str


def mark_worker_lost(store: Store, run_id: int, text: str) -> None:
    """Record that a run stopped because its worker was lost; `text` names the worker and the time."""
    add_run_event(store, run_id, LOST, "kswatch", text)


def mark_worker_back(store: Store, run_id: int) -> None:
    """Record that the run continues; without effect where its worker was not lost."""
    if any(one.run_id == run_id for one in lost_runs(store)):
        add_run_event(store, run_id, BACK, "kswatch", "its worker is back: the run goes on")


def lost_runs(store: Store) -> list[LostRun]:
    """Runs that wait for a lost worker now, the oldest first.

    A run no longer waits once it continues, or once its device began a later run.
    """
    newest = select(func.max(RunEvent.id)).where(RunEvent.action.in_((LOST, BACK))).group_by(RunEvent.run_id)
    later = aliased(Run)
    columns = (Run.id, Run.device_id, Device.uuid, Device.model, Run.kind, Run.origin)
    query = (
        select(*columns, RunEvent.at, RunEvent.text)
        .join(Run, Run.id == RunEvent.run_id)
        .join(Device, Device.id == Run.device_id)
        .where(RunEvent.action == LOST, RunEvent.id.in_(newest), Run.state != "finished")
        .where(~exists().where(later.device_id == Run.device_id, later.id > Run.id))
        .order_by(Run.id)
    )
    with store.session() as session:
        return [LostRun(*row) for row in session.execute(query)]
