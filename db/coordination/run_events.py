"""Events of a run, by people or by the process that runs it. Nothing is deleted.

A run that stopped because its device's worker was lost has the events `worker_lost` and, once it continues,
`worker_back`; `lost_runs` has the runs whose worker is lost now.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from sqlalchemy import exists, func, select
from sqlalchemy.orm import aliased

from kswatch.db.schema.tables import Device, Run, RunEvent
from kswatch.db.store import Store
from kswatch.db.writes.runs import get_run
from kswatch.errors import UsageError

RunEventAction = Literal["exclude", "include", "note", "worker_lost", "worker_back"]

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


def add_run_event(store: Store, run_id: int, action: RunEventAction, who: str, text: str) -> None:
    """Exclude a run from headlines and checks, include it again, or add a note to it.

    Raises:
        UsageError: there is no such run, or the text is empty.
    """
    if not text.strip():
        raise UsageError(f"run {run_id}: a reason is required")
    with store.writing() as session:
        run = get_run(session, run_id)
        if action in ("exclude", "include"):
            run.excluded = action == "exclude"
        session.add(RunEvent(run_id=run_id, at=datetime.now(UTC), who=who, action=action, text=text))


def mark_worker_lost(store: Store, run_id: int, text: str) -> None:
    """Record that a run stopped because its worker was lost; `text` names the worker and the time."""
    add_run_event(store, run_id, LOST, "kswatch", text)


def mark_worker_back(store: Store, run_id: int) -> None:
    """Record that the run continues; without effect where its worker was not lost."""
    if any(one.run_id == run_id for one in lost_runs(store)):
        add_run_event(store, run_id, BACK, "kswatch", "its worker is back: the run continues")


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
    return store.read(query, LostRun)
