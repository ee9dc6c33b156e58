"""Reads of predictions, of heuristics' scores and of the verdicts on these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, func, select

from kswatch.db.backend.mapping import columns_of, driver_rows, matching
from kswatch.db.queries.measurements import RunIds, problem_filters, which_runs
from kswatch.db.queries.rows import PredictionOutcome
from kswatch.db.records import HeuristicVerdictRecord
from kswatch.db.schema.tables import Comparison, HeuristicScore, HeuristicVerdict, Prediction, Problem, Run
from kswatch.db.statistics import PredictionScore, wrong_choice_cost
from kswatch.db.store import Store
from kswatch.db.writes.heuristic_scores import KEYS


def prediction_outcomes(
    store: Store,
    run_id: int,
    *,
    metric: str = "latency",
    baselines: str = "all",
    precision: str | None = None,
    layout: str | None = None,
) -> list[PredictionOutcome]:
    """A run's predictions beside the measured speedups; problems that were left out have none."""
    columns = columns_of(PredictionOutcome, Prediction, Run, Problem, Comparison)
    query = _predictions(columns, _which([run_id], metric, baselines, precision, layout))
    query = query.order_by(Prediction.heuristic, Prediction.version, Prediction.problem_id)
    return store.read(query, PredictionOutcome)


def _which(
    run_ids: Collection[int], metric: str, baselines: str, precision: str | None, layout: str | None
) -> list[ColumnElement[bool]]:
    return [
        Prediction.run_id.in_(run_ids),
        Comparison.metric == metric,
        Comparison.baselines == baselines,
        Comparison.speedup.is_not(None),
        *problem_filters(precision, layout),
    ]


def _predictions(columns: Collection[Any], which: Collection[ColumnElement[bool]]) -> Select:
    compared = and_(Comparison.run_id == Prediction.run_id, Comparison.problem_id == Prediction.problem_id)
    return (
        select(*columns)
        .select_from(Prediction)
        .join(Comparison, compared)
        .join(Run, Run.id == Prediction.run_id)
        .join(Problem, Problem.id == Prediction.problem_id)
        .where(*which)
    )


@dataclass(frozen=True)
class RunScoreRow(PredictionScore):
    """A heuristic's score in one run."""

    run_id: int
    device_id: int
    started_at: datetime
    heuristic: str
    version: int


def counted_scores(
    store: Store,
    run_ids: Collection[int],
    *,
    metric: str = "latency",
    baselines: str = "all",
    precision: str | None = None,
    layout: str | None = None,
) -> list[RunScoreRow]:
    """Each heuristic's score in each of these runs, counted now, the oldest run first."""
    keys = (Run.id, Run.device_id, Run.started_at, Prediction.heuristic, Prediction.version)
    fused, won = Prediction.predicts_fused.is_(True), Comparison.speedup > 1
    cells = (and_(fused, won), and_(fused, ~won), and_(~fused, won), and_(~fused, ~won))
    counts = (func.sum(case((cell, 1), else_=0)) for cell in cells)
    which = _which(run_ids, metric, baselines, precision, layout)
    matrices = _predictions((*keys, *counts), which).group_by(*keys).order_by(keys[0], *keys[3:])
    wrong = _predictions((keys[0], *keys[3:], Comparison.speedup), which).where(fused != won)
    regrets: dict[tuple[Any, ...], float] = defaultdict(float)
    with store.session() as session:
        for *group, speedup in driver_rows(session, wrong):
            regrets[tuple(group)] += wrong_choice_cost(speedup)
        rows = session.execute(matrices).all()
    found = []
    for row in rows:
        key, (tp, fp, fn, tn) = row[: len(keys)], map(int, row[len(keys) :])
        score = PredictionScore.of_counts(tp, fp, fn, tn, regrets[key[0], *key[3:]])
        found.append(RunScoreRow(**vars(score), **dict(zip(_SCORE_KEYS, key, strict=True))))
    return found


_SCORE_KEYS = ("run_id", "device_id", "started_at", "heuristic", "version")


@dataclass(frozen=True)
class HeuristicScoreRow(RunScoreRow):
    """A stored score; the interval of its accuracy is that of measuring again."""

    accuracy_low: float | None
    accuracy_high: float | None
    metric: str
    precision: str
    layout: str


def heuristic_scores(
    store: Store,
    runs: RunIds,
    *,
    metric: str | None = None,
    precision: str | None = None,
    layout: str | None = None,
) -> list[HeuristicScoreRow]:
    """Stored scores of these runs, the oldest run first."""
    query = (
        select(*columns_of(HeuristicScoreRow, HeuristicScore, Run))
        .join(Run, Run.id == HeuristicScore.run_id)
        .where(*which_runs(HeuristicScore.run_id, runs), *matching((HeuristicScore.metric, metric)))
        .where(*matching((HeuristicScore.precision, precision), (HeuristicScore.layout, layout)))
        .order_by(HeuristicScore.run_id, *(getattr(HeuristicScore, name) for name in KEYS))
    )
    return store.read(query, HeuristicScoreRow)


class ScorePoint(NamedTuple):
    """The part of a stored score that is judged."""

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


def score_points(
    store: Store,
    run_ids: Collection[int],
    metric: str | None = None,
    precision: str | None = None,
    layout: str | None = None,
) -> list[ScorePoint]:
    """The judged part of these runs' scores, the oldest run first."""
    columns = [HeuristicScore.__table__.c[name] for name in ScorePoint._fields]
    about = zip(columns, (run_ids, metric, precision, layout), strict=False)
    query = select(*columns).where(*matching(*about)).order_by(*columns[:6])
    with store.session() as session:
        return [ScorePoint._make(row) for row in driver_rows(session, query)]


def heuristic_verdicts(
    store: Store, runs: RunIds, *, verdict: str | None = None
) -> list[HeuristicVerdictRecord]:
    """Verdicts on heuristics' scores in these runs, all or those of one kind, the oldest run first."""
    which = matching((HeuristicVerdict.run_id, runs), (HeuristicVerdict.verdict, verdict))
    query = select(*columns_of(HeuristicVerdictRecord, HeuristicVerdict)).where(*which)
    query = query.order_by(*(getattr(HeuristicVerdict, name) for name in ("run_id", *KEYS, "score")))
    with store.session() as session:
        return [HeuristicVerdictRecord(**row._asdict()) for row in session.execute(query)]
