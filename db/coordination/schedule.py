"""The last due time of each schedule, so that one process catches up on a missed night once."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.schema.tables import ScheduleMark
from kswatch.db.store import Store

_BEFORE_ALL = datetime.fromtimestamp(0, UTC)


def last_due(store: Store, name: str) -> datetime | None:
    """The last marked due time of a schedule; None if there is none."""
    with store.session() as session:
        mark = session.get(ScheduleMark, name)
        return mark.last_due_at if mark else None


def mark_due(session: Session, name: str, due_at: datetime) -> bool:
    """Mark a due time in the caller's transaction; False when it, or a later one, is marked already.

    The transaction that marks it also queues what is due: a process that ends in between loses neither.
    """
    # Two processes that start at once on a new store: the second one waits here for the first.
    insert_rows(session, ScheduleMark, [{"name": name, "last_due_at": _BEFORE_ALL}], replace=False)
    mark = session.get_one(ScheduleMark, name, with_for_update=True)
    if mark.last_due_at >= due_at:
        return False
    mark.last_due_at = due_at
    return True


def correct_mark(store: Store, name: str, wrong: datetime, right: datetime) -> bool:
    """Replace a mark of a clock that was ahead; False where another process has done so already."""
    with store.writing() as session:
        mark = session.get(ScheduleMark, name, with_for_update=True)
        if mark is None or mark.last_due_at != wrong:
            return False
        mark.last_due_at = right
        return True
