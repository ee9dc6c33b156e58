"""The difference of two runs, of one device or of two: each cell's change and its significance.

A cell's ratio is after over before. Its 95 % interval takes both medians' intervals as normal in the
logarithm; significance accounts for the number of compared cells (`benjamini_hochberg`). The intervals
cover noise within a run only: run-to-run drift is part of the history that `kswatch check` judges by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import aliased

from kswatch.db.backend.mapping import driver_rows
from kswatch.db.records import COMPARABLE, ProblemKey
from kswatch.db.schema.tables import Cell, Measurement, Problem
from kswatch.db.statistics import Z_95, benjamini_hochberg
from kswatch.db.store import Store
from kswatch.errors import UsageError

FALSE_DISCOVERY_RATE = 0.05
"""Expected share of chance among the significant changes."""

METRICS: tuple[str, ...] = ("latency_ms", "energy_mj")


class CellDifference(NamedTuple):
    """One cell in both runs; `change` is after over before - 1, its interval NaN where one is not known."""

    a: int
    b: int
    c: int
    d: int
    batch: int
    precision: str
    layout: str
    subject: str
    implementation: str
    mode: str
    before: float
    after: float
    change: float
    change_low: float
    change_high: float
    p_value: float
    clear: bool


class MissingCells(NamedTuple):
    """Number of cells with a latency in one run and none in the next, by status and reason."""

    implementation: str
    status: str
    reason: str | None
    cells: int


def cell_differences(
    store: Store, before_run_id: int, after_run_id: int, metric: str = "latency_ms"
) -> list[CellDifference]:
    """Cells measured in both runs: the significant changes first, the largest of them at the top.

    Raises:
        UsageError: the metric is none of `METRICS`.
    """
    if metric not in METRICS:
        raise UsageError(f"runs are compared by {' or '.join(METRICS)}, not by {metric!r}")
    cell, problem = Cell.__table__.c, Problem.__table__.c
    old, new = Measurement.__table__.alias(), Measurement.__table__.alias()
    bounds = (metric, metric.replace("_", "_low_"), metric.replace("_", "_high_"))
    values = [one.c[name] for one in (old, new) for name in bounds]
    problems = select(problem.id, *(problem[name] for name in ProblemKey.__dataclass_fields__))
    query = (
        select(cell.problem_id, cell.implementation, new.c.mode, *values)
        .select_from(old)
        .join(new, and_(new.c.cell_id == old.c.cell_id, new.c.mode == old.c.mode))
        .join(Cell, cell.id == new.c.cell_id)
        .where(old.c.run_id == before_run_id, new.c.run_id == after_run_id)
        .where(old.c.status.in_(COMPARABLE), new.c.status.in_(COMPARABLE))
        .where(values[0] > 0, values[3] > 0)
        .order_by(new.c.cell_id, new.c.mode)
    )
    with store.session() as session:
        key_of = {id_: tuple(key) for id_, *key in driver_rows(session, problems)}
        read = driver_rows(session, query)
    rows = [_difference((*key_of[row[0]], *row[1:3]), row[3:6], row[6:]) for row in read]
    significant = benjamini_hochberg([row.p_value for row in rows], FALSE_DISCOVERY_RATE)
    found = [row._replace(clear=one) for row, one in zip(rows, significant, strict=True)]
    return sorted(found, key=lambda row: (not row.clear, -abs(row.change)))


def _difference(
    key: Sequence[object], before: Sequence[float | None], after: Sequence[float | None]
) -> CellDifference:
    old, new = float(before[0] or 0), float(after[0] or 0)
    step = math.log(new / old)
    sigma = math.hypot(_sigma(*before), _sigma(*after))
    half_width = Z_95 * sigma
    p_value = math.erfc(abs(step) / sigma / math.sqrt(2)) if sigma > 0 else math.nan
    low, high = math.expm1(step - half_width), math.expm1(step + half_width)
    return CellDifference(*key, old, new, math.expm1(step), low, high, p_value, False)  # type: ignore[call-arg, arg-type]


def _sigma(value: float | None, low: float | None, high: float | None) -> float:
    """Standard error of a median's logarithm, from its interval; NaN where that is unknown."""
    if not value or not low or not high or not 0 < low <= high:
        return math.nan
    return math.log(high / low) / 2 / Z_95


def missing_cells(store: Store, before_run_id: int, after_run_id: int) -> list[MissingCells]:
    """Cells with a latency before and none after, counted by reason, the most cells first."""
    old, new = aliased(Measurement), aliased(Measurement)
    query = (
        select(Cell.implementation, new.status, new.reason)
        .select_from(old)
        .join(Cell, Cell.id == old.cell_id)
        .outerjoin(
            new,
            and_(new.run_id == after_run_id, new.cell_id == old.cell_id, new.mode == old.mode),
        )
        .where(old.run_id == before_run_id, old.status.in_(COMPARABLE), old.latency_ms.is_not(None))
        .where(or_(new.cell_id.is_(None), new.status.not_in(COMPARABLE)))
    )
    counts: dict[tuple[str, str], list[str | None]] = {}
    with store.session() as session:
        for implementation, status, reason in session.execute(query):
            counts.setdefault((implementation, status or "not measured"), []).append(reason)
    found = [MissingCells(*key, reasons[0], len(reasons)) for key, reasons in counts.items()]
    return sorted(found, key=lambda one: (-one.cells, one.implementation, one.status))
