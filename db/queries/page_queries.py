"""Reads that only pages need: a stamp of the store's state, groups of runs, patterns, revisions, counts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select

from kswatch.db.records import FACTOR
from kswatch.db.schema.tables import (
    Alert,
    AlertEvent,
    Artifact,
    GateRun,
    Problem,
    Revision,
    Run,
    RunEvent,
    Verdict,
)
from kswatch.db.store import Store


class RunGroup(NamedTuple):
    """Ended, not excluded runs of one kind, origin and suite on one device."""

    device_id: int
    kind: str
    origin: str
    suite: str
    runs: int
    newest_run_id: int
    newest_started_at: datetime


class MeasuredRevision(NamedTuple):
    """A revision, and the first run that measured it."""

    commit: str
    dirty: bool
    subject: str | None
    committed_at: datetime | None
    first_run_id: int


def stamp(store: Store) -> str:
    """A text that changes with a new run, verdict, alert, note, gate or file; equal ones mean equal pages."""
    columns: tuple[Any, ...] = (Run.id, Run.finished_at, RunEvent.id, Verdict.run_id, AlertEvent.id)
    columns += (GateRun.id, Artifact.id)
    newest = select(*(select(func.max(column)).scalar_subquery() for column in columns))
    with store.session() as session:
        return " ".join(map(str, session.execute(newest).one()))


def run_groups(store: Store) -> list[RunGroup]:
    """The groups of runs that each device has, the newest first."""
    keys = (Run.device_id, Run.kind, Run.origin, Run.suite)
    query = (
        select(*keys, func.count(), func.max(Run.id).label("newest"), func.max(Run.started_at))
        .where(Run.state.in_(("finished", "interrupted")), Run.excluded.is_(False))
        .group_by(*keys)
        .order_by(func.max(Run.id).desc())
    )
    return store.read(query, RunGroup)


def patterns(store: Store) -> list[tuple[int, int, int, int]]:
    """Every pattern that the store knows, sorted."""
    letters = (Problem.a, Problem.b, Problem.c, Problem.d)
    query = select(*letters).where(Problem.subject == FACTOR).distinct().order_by(*letters)
    return store.read(query, lambda a, b, c, d: (a, b, c, d))


def revisions_between(store: Store, device_id: int, after_run: int, last_run: int) -> list[MeasuredRevision]:
    """The revisions that a device measured after one run, up to another one, the oldest first."""
    columns = (Revision.commit, Revision.dirty, Revision.subject, Revision.committed_at)
    query = (
        select(*columns, func.min(Run.id))
        .join(Run, Run.revision_id == Revision.id)
        .where(Run.device_id == device_id, Run.id > after_run, Run.id <= last_run)
        .group_by(Revision.id, *columns)
        .order_by(func.min(Run.id))
    )
    return store.read(query, MeasuredRevision)


def alert_counts(store: Store) -> dict[str, int]:
    """The number of alerts in each state."""
    query = select(Alert.state, func.count()).group_by(Alert.state)
    return dict(store.read(query, lambda state, number: (state, number)))
