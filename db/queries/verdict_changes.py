"""Reads of verdicts for pages: how many, in what groups, and the worst; never all of a night's."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Select, and_, case, func, select

from kswatch.db.queries.measurements import PROBLEM_COLUMNS
from kswatch.db.queries.rows import VerdictRow
from kswatch.db.records import ProblemKey
from kswatch.db.schema.tables import Cell, Problem, Run, Verdict
from kswatch.db.store import Store

TOO_LITTLE_HISTORY = "too little history"
"""How the reason of a verdict begins that judged nothing."""

NOT_THE_SAME = ("slower", "faster", "ambiguous")
WORST_FIRST = case({"slower": 0, "faster": 1, "ambiguous": 2}, value=Verdict.verdict, else_=3)


class VerdictCount(NamedTuple):
    """How many series of a run were judged so."""

    run_id: int
    verdict: str
    series: int
    too_new: int
    """Of them, with too little history to be judged by: these are `same` whatever they did."""


class ChangeGroup(NamedTuple):
    """Series of one run that changed in the same way, put down to the same cause."""

    run_id: int
    verdict: str
    implementation: str
    metric: str
    precision: str
    cause: str | None
    series: int
    smallest: float | None
    largest: float | None


def verdict_counts(store: Store, run_ids: Collection[int]) -> list[VerdictCount]:
    """How many series of each of these runs were judged how."""
    too_new = case((Verdict.reason.startswith(TOO_LITTLE_HISTORY), 1), else_=0)
    query = (
        select(Verdict.run_id, Verdict.verdict, func.count(), func.sum(too_new))
        .where(Verdict.run_id.in_(run_ids))
        .group_by(Verdict.run_id, Verdict.verdict)
        .order_by(Verdict.run_id, Verdict.verdict)
    )
    with store.session() as session:
        return [VerdictCount(*row) for row in session.execute(query)]


def change_groups(store: Store, run_ids: Collection[int]) -> list[ChangeGroup]:
    """What became faster or slower in these runs, in groups, the worst first."""
    keys = (
        Verdict.run_id,
        Verdict.verdict,
        Cell.implementation,
        Verdict.metric,
        Problem.precision,
        Verdict.cause,
    )
    largest = func.max(func.abs(Verdict.change))
    query = (
        select(*keys, func.count(), func.min(Verdict.change), func.max(Verdict.change))
        .join(Cell, Cell.id == Verdict.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .where(Verdict.run_id.in_(run_ids), Verdict.verdict.in_(("slower", "faster")))
        .group_by(*keys)
        .order_by(WORST_FIRST, func.coalesce(largest, 0).desc(), *keys)
    )
    with store.session() as session:
        return [ChangeGroup(*row) for row in session.execute(query)]


def changes(store: Store, run_ids: Collection[int], limit: int | None = 200) -> list[VerdictRow]:
    """Series of these runs that are not the same: slower, then faster, then ambiguous; the largest first."""
    key = (Verdict.run_id, Verdict.cell_id, Verdict.metric)
    size = func.abs(func.coalesce(Verdict.change, 0)).desc()
    worst = select(*key).where(Verdict.run_id.in_(run_ids), Verdict.verdict.in_(NOT_THE_SAME))
    first = worst.order_by(WORST_FIRST, size, Verdict.run_id, Verdict.cell_id).limit(limit).subquery()
    same = (of_first == of_verdict for of_first, of_verdict in zip(first.c, key, strict=True))
    query = _verdicts().join(first, and_(*same))
    with store.session() as session:
        rows = session.execute(query.order_by(WORST_FIRST, size, Verdict.run_id, Cell.id))
        return [VerdictRow(*row) for row in rows]


def problem_verdicts(store: Store, run_ids: Collection[int], problem: ProblemKey) -> list[VerdictRow]:
    """What was said of one problem's series in these runs, the same left out, the newest run first."""
    query = _verdicts().where(Verdict.run_id.in_(run_ids), Verdict.verdict.in_(NOT_THE_SAME))
    query = query.where(*(getattr(Problem, name) == value for name, value in vars(problem).items()))
    with store.session() as session:
        rows = session.execute(query.order_by(Verdict.run_id.desc(), Cell.id, Verdict.metric))
        return [VerdictRow(*row) for row in rows]


def _verdicts() -> Select:
    columns = [getattr(Verdict, name) for name in VerdictRow._fields if name in Verdict.__table__.c]
    named = [columns[0], Run.device_id, columns[1], Problem.id, *PROBLEM_COLUMNS, Cell.implementation]
    return (
        select(*named, *columns[2:])
        .join(Run, Run.id == Verdict.run_id)
        .join(Cell, Cell.id == Verdict.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
    )
