"""What is said of a run, by people or by whoever runs it. Nothing is deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from kswatch.db.schema.tables import RunEvent
from kswatch.db.store import Store
from kswatch.db.writes.runs import the_run
from kswatch.errors import UsageError

Say = Literal["exclude", "include", "note", "worker_lost", "worker_back"]


def say(store: Store, run_id: int, action: Say, who: str, text: str) -> None:
    """Exclude a run from headlines and judgement, include it again, or note something about it.

    Raises:
        UsageError: there is no such run, or nothing is said.
    """
    if not text.strip():
        raise UsageError(f"run {run_id}: say why; others will ask")
    with store.writing() as session:
        run = the_run(session, run_id)
        if action in ("exclude", "include"):
            run.excluded = action == "exclude"
        session.add(RunEvent(run_id=run_id, at=datetime.now(UTC), who=who, action=action, text=text[:2000]))
