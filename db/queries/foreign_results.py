"""Reads of what a run gave for implementations of other projects, which are in no set of baselines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import select

from kswatch.db.queries.baseline_sets import versions_in_words
from kswatch.db.records import FOREIGN
from kswatch.db.schema.tables import Cell, Measurement, Run
from kswatch.db.store import Store


@dataclass(frozen=True)
class ForeignResult:
    """One foreign implementation in one run."""

    library: str
    """The distribution or the file that it comes from, with its version."""
    by_status: dict[str, int]
    median_ratio_to_fused: float | None
    """The median of its latencies over those of `fused`; None where they were not measured together."""
    reason: str | None
    """Of the first cell that has one."""


def foreign_results(store: Store, run_id: int) -> dict[str, ForeignResult]:
    """What the run gave for each foreign implementation, by its name without the marker."""
    query = (
        select(Cell.implementation, Measurement.status, Measurement.ratio_to_fused, Measurement.reason)
        .join(Cell, Cell.id == Measurement.cell_id)
        .where(Measurement.run_id == run_id, Measurement.mode != "hot")
        .where(Cell.implementation.startswith(FOREIGN, autoescape=True))
        .order_by(Measurement.cell_id)
    )
    cells: dict[str, list[Any]] = defaultdict(list)
    with store.session() as session:
        for row in session.execute(query):
            cells[row.implementation].append(row)
        libraries = session.scalar(select(Run.libraries).where(Run.id == run_id)) or {}
    return {
        name.removeprefix(FOREIGN): _result(versions_in_words(libraries.get(name, {})), rows)
        for name, rows in sorted(cells.items())
    }


def _result(library: str, rows: Sequence[Any]) -> ForeignResult:
    ratios = [row.ratio_to_fused for row in rows if row.ratio_to_fused is not None]
    return ForeignResult(
        library,
        dict(Counter(row.status for row in rows)),
        median(ratios) if ratios else None,
        next((row.reason for row in rows if row.reason), None),
    )
