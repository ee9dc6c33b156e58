"""The last due time of each schedule, so that one process catches up on a missed night once."""

from __future__ import annotations

from datetime import datetime

from kswatch.db.schema.tables import ScheduleMark
from kswatch.db.store import Store


def last_due(store: Store, name: str) -> datetime | None:
    """The last marked due time of a schedule; None if there is none."""
    with store.session() as session:
        mark = session.get(ScheduleMark, name)
        return mark.last_due_at if mark else None


def mark_due(store: Store, name: str, due_at: datetime) -> bool:
    """Mark a due time; False when it, or a later one, is marked already."""
    with store.writing() as session:
        mark = session.get(ScheduleMark, name, with_for_update=True)
        if mark is None:
            session.add(ScheduleMark(name=name, last_due_at=due_at))
            return True
        if mark.last_due_at >= due_at:
            return False
        mark.last_due_at = due_at
        return True
