"""`kswatch compare`: the significant changes between two runs of one device."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Literal

from kswatch.db.backend.mapping import record_of
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import EnvironmentChange
from kswatch.db.queries.run_diff import CellDifference, cell_differences, missing_cells
from kswatch.db.records import ProblemKey
from kswatch.db.store import Store
from kswatch.errors import UsageError

ChangeVerdict = Literal["faster", "slower", "same"]

MIN_CHANGE = 0.02
"""A smaller change counts as the same, even a significant one: machines drift as much between two runs."""


@dataclass(frozen=True)
class CellChange:
    """One cell in both runs; `ratio` is the later latency over the earlier one, < 1 means faster."""

    pattern: str
    batch: int
    precision: str
    layout: str
    implementation: str
    mode: str
    before_ms: float
    after_ms: float
    ratio: float
    ratio_low: float | None
    """Lower end of the 95 % interval; None where a run has no interval."""
    ratio_high: float | None
    verdict: ChangeVerdict


@dataclass(frozen=True)
class RunComparison:
    """All cells of both runs, the largest changes first."""

    before: int
    after: int
    cells: tuple[CellChange, ...]
    only_before: int
    only_after: int
    environment_changes: tuple[EnvironmentChange, ...]

    def count(self, verdict: ChangeVerdict) -> int:
        """Number of cells with this verdict."""
        return sum(cell.verdict == verdict for cell in self.cells)

    @property
    def median_ratio(self) -> float | None:
        """Median ratio over all cells; None without cells."""
        return statistics.median(cell.ratio for cell in self.cells) if self.cells else None


def compare_runs(store: Store, before: int, after: int) -> RunComparison:
    """Compare the second run with the first.

    Raises:
        UsageError: a run does not exist, or the runs are of different devices.
    """
    first, second = queries.run(store, before), queries.run(store, after)
    if first.device_uuid != second.device_uuid:
        raise UsageError(
            f"run {before} is of {first.device_model}, run {after} of {second.device_model}; "
            "only runs of one device can be compared"
        )
    changes = [_change(cell) for cell in cell_differences(store, before, after)]
    changes.sort(key=lambda change: (-abs(change.ratio - 1), change.pattern, change.implementation))
    return RunComparison(
        before,
        after,
        tuple(changes),
        only_before=sum(group.cells for group in missing_cells(store, before, after)),
        only_after=sum(group.cells for group in missing_cells(store, after, before)),
        environment_changes=tuple(queries.environment_changes(store, before, after)),
    )


def _change(cell: CellDifference) -> CellChange:
    changed = cell.clear and abs(cell.change) >= MIN_CHANGE
    return CellChange(
        pattern=record_of(ProblemKey, cell).pattern,
        batch=cell.batch,
        precision=cell.precision,
        layout=cell.layout,
        implementation=cell.implementation,
        mode=cell.mode,
        before_ms=cell.before,
        after_ms=cell.after,
        ratio=1 + cell.change,
        ratio_low=_ratio(cell.change_low),
        ratio_high=_ratio(cell.change_high),
        verdict="same" if not changed else "faster" if cell.change < 0 else "slower",
    )


def _ratio(change: float) -> float | None:
    return None if math.isnan(change) else 1 + change
