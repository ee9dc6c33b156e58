"""Reads of heuristics' scores and of the judgements on them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from kswatch.db.backend.fetch import driver_rows
from kswatch.db.queries.runs import MEASURED, NIGHTLY, run_filters
from kswatch.db.records import HeuristicVerdictRecord
from kswatch.db.schema.tables import HeuristicScore, HeuristicVerdict, Run
from kswatch.db.store import Store
from kswatch.db.writes.heuristic_scores import KEYS, RunScore


@dataclass(frozen=True)
class HeuristicScoreRow(RunScore):
    """A stored score with its run."""

    run_id: int
    device_id: int
    started_at: datetime
    heuristic: str
    version: int
    metric: str
    precision: str
    layout: str

    @property
    def key(self) -> tuple[str | int, ...]:
        """What is the same along a series of scores."""
        return tuple(getattr(self, name) for name in KEYS)


def heuristic_scores(
    store: Store,
    run_id: int | None = None,
    *,
    run_ids: Collection[int] | None = None,
    device_id: int | None = None,
    newest_runs: int | None = None,
    metric: str | None = None,
    precision: str | None = None,
    layout: str | None = None,
    kinds: Collection[str] | None = NIGHTLY,
    origins: Collection[str] | None = MEASURED,
) -> list[HeuristicScoreRow]:
    """Scores of named runs whatever they are, or of these kinds of runs, the oldest run first.

    Args:
        store: to read from.
        run_id: only this run.
        run_ids: only these.
        device_id: only this device.
        newest_runs: only of so many of the newest runs.
        metric: only of this metric.
        precision: only of this precision.
        layout: only of this layout.
        kinds: of runs; None for all.
        origins: of runs; None for all.
    """
    named = run_ids if run_id is None else [run_id]
    one = run_filters(device_id, kinds, origins) if named is None else [Run.id.in_(named)]
    names = [field.name for field in fields(HeuristicScoreRow)]
    columns = [
        (Run if name in ("device_id", "started_at") else HeuristicScore).__table__.c[name] for name in names
    ]
    order = (HeuristicScore.run_id, *(getattr(HeuristicScore, name) for name in KEYS))
    query = select(*columns).join(Run, Run.id == HeuristicScore.run_id).where(*one).order_by(*order)
    for name, value in (("metric", metric), ("precision", precision), ("layout", layout)):
        if value is not None:
            query = query.where(getattr(HeuristicScore, name) == value)
    if newest_runs is not None:
        runs = select(Run.id).where(*one).order_by(Run.id.desc()).limit(newest_runs)
        query = query.where(HeuristicScore.run_id.in_(runs))
    with store.session() as session:
        return [HeuristicScoreRow(*row) for row in session.execute(query)]


class ScorePoint(NamedTuple):
    """What of a score is judged."""

    run_id: int
    metric: str
    precision: str
    layout: str
    heuristic: str
    version: int
    problems: int
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    regret: float | None


def score_points(store: Store, run_ids: Collection[int]) -> list[ScorePoint]:
    """What of these runs' scores is judged, the oldest run first."""
    table = HeuristicScore.__table__
    columns = [table.c[name] for name in ScorePoint._fields]
    query = select(*columns).where(table.c.run_id.in_(run_ids)).order_by(*columns[:6])
    with store.session() as session:
        return [ScorePoint._make(row) for row in driver_rows(session, query)]


def heuristic_verdicts(
    store: Store,
    run_id: int | None = None,
    *,
    run_ids: Collection[int] | None = None,
    alert_id: int | None = None,
    verdict: str | None = None,
) -> list[HeuristicVerdictRecord]:
    """Judgements on heuristics' scores, of runs or of an alert, all or one verdict, the oldest run first."""
    names = [field.name for field in fields(HeuristicVerdictRecord)]
    query = select(*(getattr(HeuristicVerdict, name) for name in names))
    named = run_ids if run_id is None else [run_id]
    if named is not None:
        query = query.where(HeuristicVerdict.run_id.in_(named))
    if alert_id is not None:
        query = query.where(HeuristicVerdict.alert_id == alert_id)
    if verdict is not None:
        query = query.where(HeuristicVerdict.verdict == verdict)
    query = query.order_by(*(getattr(HeuristicVerdict, name) for name in ("run_id", *KEYS, "score")))
    with store.session() as session:
        return [HeuristicVerdictRecord(**row._asdict()) for row in session.execute(query)]
