"""The measured problems that are most like the one that is asked about."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kswatch.ci.advisor.target_device import AskedDevice
from kswatch.db.queries.basic import ComparisonRow, DeviceRow, comparisons, devices, summaries
from kswatch.db.store import Store
from kswatch.kernels.heuristics.families import same_model
from kswatch.kernels.heuristics.learned import METRICS, Estimate
from kswatch.kernels.problem import Problem

SHOWN = 3


@dataclass(frozen=True)
class NearestMeasured:
    """A measured problem, of the same precision and layout."""

    pattern: str
    batch: int
    device: str
    metric: str
    winner: str | None
    best_baseline: str | None
    speedup: float
    """Best baseline over fused, in the metric."""
    doublings: float
    """Between the two, summed over a, b, c, d and batch; 0 is the very problem."""


def nearest_measured(
    store: Store | None, problem: Problem, asked: AskedDevice, said: Estimate | None
) -> tuple[NearestMeasured, ...]:
    """From the newest run with such problems, on the device or on the one that the answer is from."""
    device = store and (asked.row or _device_of(store, said))
    if store is None or not device:
        return ()
    metrics = [said.section.metric] if said else []
    for metric in dict.fromkeys([*metrics, *METRICS]):
        rows = _newest_comparisons(store, device, problem, metric)
        if rows:
            nearest = sorted(rows, key=lambda row: _doublings(problem, row))[:SHOWN]
            return tuple(_as_nearest(problem, device, row) for row in nearest)
    return ()


def _device_of(store: Store, said: Estimate | None) -> DeviceRow | None:
    if said is None:
        return None
    return next(
        (row for row in devices(store) if same_model({"model": row.model}, said.section.device)), None
    )


def _newest_comparisons(
    store: Store, device: DeviceRow, problem: Problem, metric: str
) -> list[ComparisonRow]:
    about = {"metric": metric, "precision": problem.precision, "layout": problem.layout}
    nights = summaries(store, device_id=device.id, kinds=None, origins=None, **about)  # type: ignore[arg-type]
    if not nights:
        return []
    rows = comparisons(store, nights[-1].run_id, **about)  # type: ignore[arg-type]
    return [row for row in rows if row.speedup is not None]


def _doublings(problem: Problem, row: ComparisonRow) -> float:
    asked = (*problem.pattern.as_tuple(), problem.batch)
    measured = (row.a, row.b, row.c, row.d, row.batch)
    return sum(abs(math.log2(x / y)) for x, y in zip(asked, measured, strict=True))


def _as_nearest(problem: Problem, device: DeviceRow, row: ComparisonRow) -> NearestMeasured:
    return NearestMeasured(
        pattern=f"{row.a},{row.b},{row.c},{row.d}",
        batch=row.batch,
        device=device.model,
        metric=row.metric,
        winner=row.winner,
        best_baseline=row.best_baseline,
        speedup=row.speedup or 0.0,
        doublings=_doublings(problem, row),
    )
