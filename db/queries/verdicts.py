"""Reads of verdicts: those of a run or an alert, and for pages their counts, groups and largest changes."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Select, and_, case, func, select

from kswatch.db.backend.mapping import columns_of, is_problem, matching
from kswatch.db.queries.rows import VerdictRow
from kswatch.db.records import FUSED, ProblemKey
from kswatch.db.schema.tables import Cell, Problem, Run, Verdict
from kswatch.db.store import Store

TOO_LITTLE_HISTORY = "too little history"
"""The reason of a verdict that judged nothing begins so."""

NOT_THE_SAME = ("slower", "faster", "ambiguous")
WORST_FIRST = case({"slower": 0, "faster": 1, "ambiguous": 2}, value=Verdict.verdict, else_=3)
_LARGEST_FIRST = func.abs(func.coalesce(Verdict.change, 0)).desc()


class VerdictCount(NamedTuple):
    """Number of a run's series with one verdict."""

    run_id: int
    verdict: str
    series: int
    too_new: int
    """Series among them with too little history to be judged; their verdict is always `same`."""


class ChangeGroup(NamedTuple):
    """Series of one run that changed in the same way, attributed to the same cause."""

    run_id: int
    verdict: str
    implementation: str
    metric: str
    precision: str
    cause: str | None
    series: int
    smallest: float | None
    largest: float | None


def verdicts(store: Store, run_id: int | None = None, *, alert_id: int | None = None) -> list[VerdictRow]:
    """Verdicts of a run or of an alert, the newest run first, the largest change first."""
    which = matching((Verdict.run_id, run_id), (Verdict.alert_id, alert_id))
    order = (Verdict.run_id.desc(), _LARGEST_FIRST, Cell.id)
    return store.read(_verdicts().where(*which).order_by(*order), VerdictRow)


def verdict_counts(store: Store, run_ids: Collection[int]) -> list[VerdictCount]:
    """The number of series with each verdict, by run."""
    too_new = case((Verdict.reason.startswith(TOO_LITTLE_HISTORY), 1), else_=0)
    query = (
        select(Verdict.run_id, Verdict.verdict, func.count(), func.sum(too_new))
        .where(Verdict.run_id.in_(run_ids))
        .group_by(Verdict.run_id, Verdict.verdict)
        .order_by(Verdict.run_id, Verdict.verdict)
    )
    return store.read(query, VerdictCount)


def change_groups(store: Store, run_ids: Collection[int]) -> list[ChangeGroup]:
    """Regressions and improvements of these runs, in groups, the worst first."""
    keys = columns_of(ChangeGroup, Verdict, Cell, Problem)
    largest = func.max(func.abs(Verdict.change))
    query = (
        select(*keys, func.count(), func.min(Verdict.change), func.max(Verdict.change))
        .join(Cell, Cell.id == Verdict.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .where(Verdict.run_id.in_(run_ids), Verdict.verdict.in_(("slower", "faster")))
        .group_by(*keys)
        .order_by(WORST_FIRST, func.coalesce(largest, 0).desc(), *keys)
    )
    return store.read(query, ChangeGroup)


def changes(store: Store, run_ids: Collection[int], limit: int | None = 200) -> list[VerdictRow]:
    """Series of these runs that are not the same: slower, then faster, then ambiguous; the largest first."""
    key = (Verdict.run_id, Verdict.cell_id, Verdict.metric)
    worst = select(*key).where(Verdict.run_id.in_(run_ids), Verdict.verdict.in_(NOT_THE_SAME))
    order = (WORST_FIRST, _LARGEST_FIRST, Verdict.run_id, Verdict.cell_id)
    first = worst.order_by(*order).limit(limit).subquery()
    same = (of_first == of_verdict for of_first, of_verdict in zip(first.c, key, strict=True))
    return store.read(_verdicts().join(first, and_(*same)).order_by(*order), VerdictRow)


def problem_verdicts(store: Store, run_ids: Collection[int], problem: ProblemKey) -> list[VerdictRow]:
    """Verdicts on one problem's series in these runs, `same` left out, the newest run first."""
    which = (Verdict.run_id.in_(run_ids), Verdict.verdict.in_(NOT_THE_SAME), *is_problem(problem))
    order = (Verdict.run_id.desc(), Cell.id, Verdict.metric)
    return store.read(_verdicts().where(*which).order_by(*order), VerdictRow)


class LevelChange(NamedTuple):
    """One series of `fused` against its level on one night."""

    run_id: int
    problem_id: int
    change: float


def fused_changes(
    store: Store, run_ids: Collection[int], metric: str, problem_ids: Collection[int]
) -> list[LevelChange]:
    """The judged change of `fused` against its level, of these problems on these nights, changed or not."""
    query = (
        select(Verdict.run_id, Cell.problem_id, Verdict.change)
        .join(Cell, Cell.id == Verdict.cell_id)
        .where(Verdict.run_id.in_(run_ids), Verdict.metric == metric, Verdict.change.is_not(None))
        .where(Cell.implementation == FUSED, Cell.problem_id.in_(problem_ids))
        .order_by(Verdict.run_id, Cell.problem_id)
    )
    return store.read(query, LevelChange)


def _verdicts() -> Select:
    return (
        select(*columns_of(VerdictRow, Verdict, Run, Cell, Problem))
        .join(Run, Run.id == Verdict.run_id)
        .join(Cell, Cell.id == Verdict.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
    )
