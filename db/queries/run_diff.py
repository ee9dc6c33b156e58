"""Two runs side by side, of one device or of two: what each cell gave in both, and how sure the step is.

A cell's ratio is after over before. Its 95 % interval takes both medians' intervals as normal in the
logarithm; a step is clear where it stands out among all compared cells (Benjamini and Hochberg 1995).
What the machine itself does between two runs is not in these intervals: `kswatch check` knows that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import aliased

from kswatch.db.backend.fetch import driver_rows
from kswatch.db.queries.rows import CellDifference as CellDifference
from kswatch.db.queries.rows import SilentCells as SilentCells
from kswatch.db.records import COMPARABLE, ProblemKey
from kswatch.db.schema.tables import Cell, Measurement, Problem
from kswatch.db.store import Store
from kswatch.errors import UsageError

HALF_WIDTH_IN_SIGMAS = 1.96
FALSE_AMONG_CLEAR = 0.05
"""Share of the clear steps that may be chance."""

METRICS: tuple[str, ...] = ("latency_ms", "energy_mj")


def cell_differences(
    store: Store, before_run_id: int, after_run_id: int, metric: str = "latency_ms"
) -> list[CellDifference]:
    """Cells with a number in both runs: the clear ones first, and the largest of them.

    Args:
        store: to read from.
        before_run_id: of one run.
        after_run_id: of the other; another device's run is as good.
        metric: one of `METRICS`.

    Raises:
        UsageError: there is no such metric.
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
    clear = _clear([row.p_value for row in rows])
    found = [row._replace(clear=one) for row, one in zip(rows, clear, strict=True)]
    return sorted(found, key=lambda row: (not row.clear, -abs(row.change)))


def _difference(
    key: Sequence[object], before: Sequence[float | None], after: Sequence[float | None]
) -> CellDifference:
    old, new = float(before[0] or 0), float(after[0] or 0)
    step = math.log(new / old)
    sigma = math.hypot(_sigma(*before), _sigma(*after))
    reach = HALF_WIDTH_IN_SIGMAS * sigma
    chance = math.erfc(abs(step) / sigma / math.sqrt(2)) if sigma > 0 else math.nan
    low, high = math.expm1(step - reach), math.expm1(step + reach)
    return CellDifference(*key, old, new, math.expm1(step), low, high, chance, False)  # type: ignore[call-arg, arg-type]


def _sigma(value: float | None, low: float | None, high: float | None) -> float:
    """Standard error of a median's logarithm, from its interval; NaN where that is not known."""
    if not value or not low or not high or not 0 < low <= high:
        return math.nan
    return math.log(high / low) / 2 / HALF_WIDTH_IN_SIGMAS


def _clear(p_values: Sequence[float]) -> list[bool]:
    """Which steps stand out among all, so that few clear ones are chance; an unknown one never does."""
    known = sorted(value for value in p_values if value == value)
    limits = [value for rank, value in enumerate(known, 1) if value <= FALSE_AMONG_CLEAR * rank / len(known)]
    limit = max(limits, default=-1.0)
    return [value <= limit for value in p_values]


def silent_cells(store: Store, before_run_id: int, after_run_id: int) -> list[SilentCells]:
    """What gave a time before and gives none after, the most cells first; never asked for is not silent."""
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
    found = [SilentCells(*key, reasons[0], len(reasons)) for key, reasons in counts.items()]
    return sorted(found, key=lambda one: (-one.cells, one.implementation, one.status))
