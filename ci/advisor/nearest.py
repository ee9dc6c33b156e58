"""The measured problems nearest to a given problem."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kswatch.ci.advisor.target_device import TargetDevice
from kswatch.db.queries.basic import ComparisonRow, DeviceRow, comparisons, devices, summaries
from kswatch.db.store import Store
from kswatch.kernels.heuristics.device_distance import same_model
from kswatch.kernels.heuristics.learned import METRICS, CostEstimate
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
    """Distance to the problem: doublings summed over a, b, c, d and batch; 0 is the problem itself."""


def nearest_measured(
    store: Store | None, problem: Problem, target: TargetDevice, estimate: CostEstimate | None
) -> tuple[NearestMeasured, ...]:
    """The nearest problems in the newest run with such problems, on the device or on that of the estimate."""
    device = store and (target.row or _device_of(store, estimate))
    if store is None or not device:
        return ()
    metrics = [estimate.section.metric] if estimate else []
    for metric in dict.fromkeys([*metrics, *METRICS]):
        rows = _newest_comparisons(store, device, problem, metric)
        if rows:
            nearest = sorted(rows, key=lambda row: _doublings(problem, row))[:SHOWN]
            return tuple(_as_nearest(problem, device, row) for row in nearest)
    return ()


def _device_of(store: Store, estimate: CostEstimate | None) -> DeviceRow | None:
    if estimate is None:
        return None
    return next(
        (row for row in devices(store) if same_model({"model": row.model}, estimate.section.device)), None
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
    target = (*problem.pattern.as_tuple(), problem.batch)
    measured = (row.a, row.b, row.c, row.d, row.batch)
    return sum(abs(math.log2(x / y)) for x, y in zip(target, measured, strict=True))


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
