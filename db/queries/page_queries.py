"""Reads that only pages need: a stamp of the store's state, groups of runs, patterns, revisions, counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select

from kswatch.db.records import FACTOR, ProblemKey
from kswatch.db.schema.tables import (
    Alert,
    AlertEvent,
    Artifact,
    Cell,
    GateRun,
    Measurement,
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


class SuitePlan(NamedTuple):
    """The cells of a suite, as its newest run that nothing narrowed had them."""

    run_id: int
    planned_cells: int


def newest_plan(store: Store, suite: str) -> SuitePlan | None:
    """The plan of the newest unfiltered run of a suite; None where there was none."""
    newest = select(Run.id, Run.planned_cells, Run.arguments)
    newest = newest.where(Run.suite == suite, Run.planned_cells > 0).order_by(Run.id.desc()).limit(20)
    with store.session() as session:
        rows = session.execute(newest).all()
    narrowing = {"pattern", "batch", "precision", "layout", "implementation", "baselines"}
    plans = (SuitePlan(run, cells) for run, cells, given in rows if not narrowing & set(given or {}))
    return next(plans, None)


def narrowed_cells(store: Store, run_id: int, chosen: Mapping[str, Collection[object]]) -> int | None:
    """The number of a run's cells with these values of `pattern`, `batch`, `precision` and others.

    None where the run lacks one of them: what is then measured is not a part of what it measured.
    """
    names = [*ProblemKey.__dataclass_fields__]
    query = (
        select(Cell.implementation, *(getattr(Problem, name) for name in names))
        .join(Measurement, Measurement.cell_id == Cell.id)
        .join(Problem, Problem.id == Cell.problem_id)
        .where(Measurement.run_id == run_id)
        .distinct()
    )
    with store.session() as session:
        rows = session.execute(query).all()
    cells = [
        {"implementation": implementation, **ProblemKey(*values).fields} for implementation, *values in rows
    ]
    kept = [cell for cell in cells if all(cell[name] in values for name, values in chosen.items())]
    held = {name: {cell[name] for cell in kept} for name in chosen}
    return len(kept) if all(set(values) <= held[name] for name, values in chosen.items()) else None


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
