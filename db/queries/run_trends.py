"""Reads of a few columns of some runs, by their ids: what a chart of many nights draws."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import select

from kswatch.db.backend.fetch import driver_rows
from kswatch.db.schema.tables import Canary, HeuristicScore, RunSummary
from kswatch.db.store import Store
from kswatch.db.writes.speedup import COMPARED_METRICS


class Median(NamedTuple):
    """A run's summary in one metric, without the columns of its run."""

    run_id: int
    metric: str
    median_speedup: float
    speedup_p25: float
    speedup_p75: float
    problems: int
    fused_wins: int
    left_out: int


def medians_of_runs(
    store: Store, run_ids: Collection[int], baselines: str, precision: str, layout: str
) -> list[Median]:
    """Run summaries that have a median, in both metrics, the oldest run first."""
    table = RunSummary.__table__
    query = (
        select(*(table.c[name] for name in Median._fields))
        .where(table.c.run_id.in_(run_ids), table.c.metric.in_(COMPARED_METRICS))
        .where(table.c.precision == precision, table.c.layout == layout, table.c.baselines == baselines)
        .where(table.c.median_speedup.is_not(None))
        .order_by(table.c.run_id)
    )
    with store.session() as session:
        return [Median._make(row) for row in driver_rows(session, query)]


class Accuracy(NamedTuple):
    """How often a heuristic named the winner in one run."""

    run_id: int
    heuristic: str
    version: int
    accuracy: float | None


def accuracies(
    store: Store, run_ids: Collection[int], metric: str, precision: str, layout: str
) -> list[Accuracy]:
    """The stored accuracies of these runs, the oldest run first."""
    score = HeuristicScore.__table__.c
    query = (
        select(score.run_id, score.heuristic, score.version, score.accuracy)
        .where(score.run_id.in_(run_ids), score.metric == metric)
        .where(score.precision == precision, score.layout == layout)
        .order_by(score.run_id, score.heuristic, score.version)
    )
    with store.session() as session:
        return [Accuracy._make(row) for row in driver_rows(session, query)]


class CanaryRate(NamedTuple):
    """The mean rate of a canary over the positions of one run."""

    run_id: int
    name: str
    precision: str
    rate: float


def canary_rates(store: Store, run_ids: Collection[int]) -> list[CanaryRate]:
    """Canary rates of these runs, the oldest run first."""
    table = Canary.__table__.c
    query = select(table.run_id, table.name, table.precision, table.rate).where(table.run_id.in_(run_ids))
    rates: dict[tuple[int, str, str], list[float]] = {}
    with store.session() as session:
        for *key, rate in driver_rows(session, query):
            rates.setdefault((key[0], key[1], key[2]), []).append(rate)
    return [CanaryRate(*key, sum(found) / len(found)) for key, found in sorted(rates.items())]
