"""Reads that only pages need: is there news, which kinds of runs are there, how far is a run."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, case, func, select

from kswatch.db.queries.measurements import problem_filters
from kswatch.db.queries.rows import AlertRow
from kswatch.db.schema.tables import (
    Alert,
    AlertEvent,
    Comparison,
    Prediction,
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


class HeuristicRegret(NamedTuple):
    """What following a heuristic cost in one run, as a mean over the problems: 0.1 is 10 % more."""

    run_id: int
    heuristic: str
    version: int
    regret: float


class MeasuredRevision(NamedTuple):
    """A revision, and the first run that measured it."""

    commit: str
    dirty: bool
    subject: str | None
    committed_at: datetime | None
    first_run_id: int


def stamp(store: Store) -> str:
    """Changes whenever a run, verdict, alert or note was written; equal stamps mean equal pages."""
    newest = select(
        select(func.max(Run.id)).scalar_subquery(),
        select(func.max(Run.finished_at)).scalar_subquery(),
        select(func.max(RunEvent.id)).scalar_subquery(),
        select(func.max(Verdict.run_id)).scalar_subquery(),
        select(func.max(AlertEvent.id)).scalar_subquery(),
    )
    with store.session() as session:
        return " ".join(map(str, session.execute(newest).one()))


def run_groups(store: Store) -> list[RunGroup]:
    """What kinds of runs each device has, the newest first."""
    keys = (Run.device_id, Run.kind, Run.origin, Run.suite)
    query = (
        select(*keys, func.count(), func.max(Run.id).label("newest"), func.max(Run.started_at))
        .where(Run.state.in_(("finished", "interrupted")), Run.excluded.is_(False))
        .group_by(*keys)
        .order_by(func.max(Run.id).desc())
    )
    with store.session() as session:
        return [RunGroup(*row) for row in session.execute(query)]


def heuristic_regrets(
    store: Store,
    run_ids: Collection[int],
    metric: str = "latency",
    baselines: str = "all",
    precision: str | None = None,
    layout: str | None = None,
) -> list[HeuristicRegret]:
    """Each heuristic's mean regret in each of these runs: what is lost against always choosing right."""
    speedup = Comparison.speedup
    right = Prediction.predicts_fused == (speedup > 1)
    regret = case((right, 0.0), (speedup > 1, speedup - 1), else_=1 / speedup - 1)
    keys = (Prediction.run_id, Prediction.heuristic, Prediction.version)
    query = (
        select(*keys, func.avg(regret))
        .join(
            Comparison,
            and_(Comparison.run_id == Prediction.run_id, Comparison.problem_id == Prediction.problem_id),
        )
        .join(Problem, Problem.id == Prediction.problem_id)
        .where(Prediction.run_id.in_(run_ids), Comparison.metric == metric)
        .where(Comparison.baselines == baselines, speedup.is_not(None))
        .where(*problem_filters(precision=precision, layout=layout))
        .group_by(*keys)
        .order_by(*keys)
    )
    with store.session() as session:
        return [HeuristicRegret(*row) for row in session.execute(query)]


def patterns(store: Store) -> list[tuple[int, int, int, int]]:
    """Every pattern that the store knows, sorted."""
    letters = (Problem.a, Problem.b, Problem.c, Problem.d)
    with store.session() as session:
        rows = session.execute(select(*letters).distinct().order_by(*letters))
        return [(a, b, c, d) for a, b, c, d in rows]


def newest_plan(store: Store, suite: str) -> int | None:
    """How many cells the newest whole run of a suite set out to measure; None where there was none."""
    newest = select(Run.planned_cells, Run.arguments).where(Run.suite == suite, Run.planned_cells > 0)
    with store.session() as session:
        rows = session.execute(newest.order_by(Run.id.desc()).limit(20)).all()
    narrowing = {"pattern", "batch", "precision", "layout", "implementation"}
    return next((planned for planned, arguments in rows if not narrowing & set(arguments or {})), None)


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
    with store.session() as session:
        return [MeasuredRevision(*row) for row in session.execute(query)]


def alert_counts(store: Store) -> dict[str, int]:
    """How many alerts are in each state."""
    query = select(Alert.state, func.count()).group_by(Alert.state)
    with store.session() as session:
        return {state: number for state, number in session.execute(query)}


def alerts_named(store: Store, *alert_ids: int) -> list[AlertRow]:
    """The alerts with these ids, as far as there are any."""
    with store.session() as session:
        found = session.scalars(select(Alert).where(Alert.id.in_(alert_ids)))
        return [
            AlertRow(**{name: getattr(one, name) for name in AlertRow.__dataclass_fields__}) for one in found
        ]
