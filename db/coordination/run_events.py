"""Events of a run, by people or by the process that runs it. Nothing is deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from kswatch.db.schema.tables import RunEvent
from kswatch.db.store import Store
from kswatch.db.writes.runs import get_run
from kswatch.errors import UsageError

RunEventAction = Literal["exclude", "include", "note", "worker_lost", "worker_back"]


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
        session.add(RunEvent(run_id=run_id, at=datetime.now(UTC), who=who, action=action, text=text[:2000]))
