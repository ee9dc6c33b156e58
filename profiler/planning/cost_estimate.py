"""Estimated time to measure a problem: from the device's last run, else from its datasheet.

The model counts visits until the interval is narrow enough, few visits of cells that are clearly slower,
warm-up, checks, and an energy pass. It decides which cells fit a budget, never which results are recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from kswatch.db.records import DeviceRecord
from kswatch.db.request_queue import requests
from kswatch.db.statistics import Z_95
from kswatch.db.store import Store
from kswatch.kernels.problem import Problem
from kswatch.profiler.devices.roofline import Datasheet, datasheet
from kswatch.profiler.planning.plan import Plan
from kswatch.profiler.settings import MeasureSettings

Seconds = Callable[[Problem, int, bool], float]
"""Seconds for a problem, a number of implementations, and whether energy is measured."""

NOISE = 0.01
"""Expected standard deviation of a sample, as a share of its mean."""
SLOWDOWN = 2.0
"""Time of a fast implementation over the least time that the datasheet allows."""
FULLY_MEASURED = 3
"""Implementations close enough to the best to be measured until their intervals are narrow."""
SLOW_CELL_FACTOR = 8.0
LAUNCH_MS = 0.005
MEDIAN_OVER_MEAN = 1.2533
"""Standard error of the median over that of the mean, for normal noise: the square root of pi/2."""
CHECKS_S = 0.03
"""Operands, float64 reference and two checks of each cell."""
OVERHEAD = 1.15
SETTLED_S, WINDOWS = 0.5, 3


@dataclass(frozen=True)
class CostEstimate:
    """Estimated seconds of a problem, and the source of the estimate."""

    seconds: Seconds
    source: str


def estimate_cost(
    store: Store, device: DeviceRecord, plan: Plan, settings: MeasureSettings
) -> CostEstimate | None:
    """The estimate from the device's last run, else from its datasheet; None for an unknown device."""
    per_cell_s = requests.seconds_per_cell(store, device.uuid)
    source = "the device's last run"
    if per_cell_s is None:
        if sheet := datasheet(device):
            return CostEstimate(partial(problem_seconds, sheet=sheet, settings=settings), "its datasheet")
        if plan.within_s is None:
            return None
        per_cell_s, source = plan.within_s / plan.cells, "the suite's time limit"
    each_s = per_cell_s
    return CostEstimate(lambda problem, cells, energy: each_s * cells, source)


def problem_seconds(
    problem: Problem, cells: int, energy: bool, sheet: Datasheet, settings: MeasureSettings
) -> float:
    """Estimated seconds by the cost model of this module."""
    flops_per_s = sheet.flops_per_s(problem.precision) or sheet.fp32_flops_per_s
    least_s = max(problem.compulsory_bytes / sheet.bytes_per_s, problem.flops / flops_per_s)
    best_ms = SLOWDOWN * 1e3 * least_s + LAUNCH_MS
    full = min(cells, FULLY_MEASURED)
    timed_ms = full * _fully_measured_ms(best_ms, settings)
    timed_ms += (cells - full) * settings.slow_samples * SLOW_CELL_FACTOR * best_ms
    seconds = (settings.warm_up_ms + timed_ms) / 1e3 + cells * CHECKS_S
    if energy:
        seconds += 2 * (SETTLED_S + WINDOWS * settings.energy_window_s)
    return OVERHEAD * seconds


def _fully_measured_ms(time_ms: float, settings: MeasureSettings) -> float:
    """Timed milliseconds until the interval of the median is narrow enough."""
    needed = (Z_95 * MEDIAN_OVER_MEAN * NOISE / settings.half_width) ** 2 * settings.check_growth
    samples = max(needed, settings.min_samples, settings.min_timed_ms / time_ms)
    return min(samples * time_ms, settings.cell_cap_ms)
