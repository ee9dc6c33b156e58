"""The last time that a schedule was due: what lets a missed night be caught up once, by one process."""

from __future__ import annotations

from datetime import datetime

from kswatch.db.schema.tables import ScheduleMark
from kswatch.db.store import Store


def last_due(store: Store, name: str) -> datetime | None:
    """When the schedule of that name was last marked as due; None if it never was."""
    with store.session() as session:
        mark = session.get(ScheduleMark, name)
        return mark.last_due_at if mark else None


def mark_due(store: Store, name: str, due_at: datetime) -> bool:
    """Mark that it was due then; False when it, or a later time, is marked already."""
    with store.writing() as session:
        mark = session.get(ScheduleMark, name, with_for_update=True)
        if mark is None:
            session.add(ScheduleMark(name=name, last_due_at=due_at))
            return True
        if mark.last_due_at >= due_at:
            return False
        mark.last_due_at = due_at
        return True
