"""The measured problems nearest to a given problem."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kswatch.ci.advisor.from_store import TargetDevice
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
    if store is None:
        return ()
    device, metrics = target.row, METRICS
    if estimate is not None:
        model, metrics = estimate.section.device, (estimate.section.metric, *METRICS)
        same_models = (row for row in devices(store) if same_model({"model": row.model}, model))
        device = device or next(same_models, None)
    if device is None:
        return ()
    for metric in dict.fromkeys(metrics):
        if rows := _newest_comparisons(store, device, problem, metric):
            measured = (_as_nearest(problem, device, row) for row in rows)
            return tuple(sorted(measured, key=lambda one: one.doublings)[:SHOWN])
    return ()


def _newest_comparisons(
    store: Store, device: DeviceRow, problem: Problem, metric: str
) -> list[ComparisonRow]:
    about = {"metric": metric, "precision": problem.precision, "layout": problem.layout}
    nights = summaries(store, device_id=device.id, kinds=None, origins=None, **about)  # type: ignore[arg-type]
    if not nights:
        return []
    rows = comparisons(store, nights[-1].run_id, **about)  # type: ignore[arg-type]
    return [row for row in rows if row.speedup is not None]


def _as_nearest(problem: Problem, device: DeviceRow, row: ComparisonRow) -> NearestMeasured:
    sizes = zip(
        (*problem.pattern.as_tuple(), problem.batch), (row.a, row.b, row.c, row.d, row.batch), strict=True
    )
    return NearestMeasured(
        pattern=f"{row.a},{row.b},{row.c},{row.d}",
        batch=row.batch,
        device=device.model,
        metric=row.metric,
        winner=row.winner,
        best_baseline=row.best_baseline,
        speedup=row.speedup or 0.0,
        doublings=sum(abs(math.log2(wanted / measured)) for wanted, measured in sizes),
    )
