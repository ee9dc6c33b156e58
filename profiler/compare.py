"""Two runs side by side: which cells became faster or slower, by how much, how sure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from db import queries
from db.queries import EnvironmentChange, MeasurementRow
from db.records import COMPARABLE
from db.store import Store
from kswatch_errors import UsageError

Verdict = Literal["faster", "slower", "same"]


@dataclass(frozen=True)
class CellChange:
    """One cell in both runs; `ratio` is time after over time before, < 1 means faster."""

    pattern: str
    batch: int
    precision: str
    layout: str
    implementation: str
    before_ms: float
    after_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    verdict: Verdict


@dataclass(frozen=True)
class RunComparison:
    """All cells that both runs measured, the most changed first."""

    before: int
    after: int
    cells: tuple[CellChange, ...]
    only_before: int
    only_after: int
    environment_changes: tuple[EnvironmentChange, ...]

    def count(self, verdict: Verdict) -> int:
        """Cells with this verdict."""
        return sum(cell.verdict == verdict for cell in self.cells)

    @property
    def median_ratio(self) -> float | None:
        """Over all cells; None without any."""
        return statistics.median(cell.ratio for cell in self.cells) if self.cells else None


def compare_runs(store: Store, before: int, after: int) -> RunComparison:
    """The second run against the first.

    Raises:
        UsageError: a run does not exist, or both are of different devices.
    """
    first, second = queries.run(store, before), queries.run(store, after)
    if first.device_uuid != second.device_uuid:
        raise UsageError(
            f"run {before} is of {first.device_model}, run {after} of {second.device_model}; "
            "only runs of one device can be compared"
        )
    old, new = _timed(store, before), _timed(store, after)
    changes = [_change(old[key], new[key]) for key in old.keys() & new.keys()]
    changes.sort(key=lambda change: (-abs(change.ratio - 1), change.pattern, change.implementation))
    return RunComparison(
        before,
        after,
        tuple(changes),
        only_before=len(old.keys() - new.keys()),
        only_after=len(new.keys() - old.keys()),
        environment_changes=tuple(queries.environment_changes(store, before, after)),
    )


def _timed(store: Store, run_id: int) -> dict[tuple[int, str], MeasurementRow]:
    rows: Sequence[MeasurementRow] = queries.measurements(store, run_id)
    return {(row.cell_id, row.mode): row for row in rows if row.status in COMPARABLE and row.latency_ms}


def _change(before: MeasurementRow, after: MeasurementRow) -> CellChange:
    """Ratio of medians; its interval takes both at their worst, so it is wider than 95 %."""
    old, new = before.latency_ms or 0.0, after.latency_ms or 0.0
    low = (after.latency_low_ms or new) / (before.latency_high_ms or old)
    high = (after.latency_high_ms or new) / (before.latency_low_ms or old)
    return CellChange(
        pattern=f"{after.a},{after.b},{after.c},{after.d}",
        batch=after.batch,
        precision=after.precision,
        layout=after.layout,
        implementation=after.implementation,
        before_ms=old,
        after_ms=new,
        ratio=new / old,
        ratio_low=low,
        ratio_high=high,
        verdict="faster" if high < 1 else "slower" if low > 1 else "same",
    )
