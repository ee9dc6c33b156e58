"""The log of a run in progress: a bounded number of lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import func, select

from kswatch.db.backend.mapping import columns_of
from kswatch.db.schema.tables import RunLog
from kswatch.db.store import Store

Level = Literal["info", "warning", "error"]

MOST_LINES = 400
"""Most lines of one run; after them only `always` lines are kept."""

LEFT_OUT = "the log is full: further lines were dropped; the measurements have every cell's result"


@dataclass(frozen=True)
class LogLine:
    """One line of a run's log."""

    at: datetime
    level: str
    text: str


def log(store: Store, run_id: int, lines: Sequence[tuple[Level, str]], *, always: bool = False) -> None:
    """Add lines to a run's log; with `always` even to a full one, such as the reason of the run's end."""
    if not lines:
        return
    now = datetime.now(UTC)
    with store.writing() as session:
        held = session.scalar(select(func.count()).where(RunLog.run_id == run_id)) or 0
        kept = list(lines) if always else list(lines[: max(0, MOST_LINES - held)])
        if len(kept) < len(lines) and held <= MOST_LINES:
            kept.append(("warning", LEFT_OUT))
        session.add_all(
            RunLog(run_id=run_id, at=now, level=level, text=text.replace("\0", "")[:2000])
            for level, text in kept
        )


def run_log(store: Store, run_id: int) -> list[LogLine]:
    """A run's lines, the oldest first."""
    query = select(*columns_of(LogLine, RunLog)).where(RunLog.run_id == run_id)
    return store.read(query.order_by(RunLog.id), LogLine)
