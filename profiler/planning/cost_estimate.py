"""About how long a problem takes to measure: from the device's last night, else from its datasheet.

The model is MEASUREMENT's cost: visits until the interval is narrow enough, few for cells that lose
clearly, warm-up, checks, and an energy pass. It decides what a budget holds, never what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kswatch.db.records import DeviceRecord
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.kernels.problem import Problem
from kswatch.profiler.devices.roofline import Datasheet, datasheet
from kswatch.profiler.planning.plan import Plan
from kswatch.profiler.settings import MeasureSettings

Seconds = Callable[[Problem, int, bool], float]
"""Of a problem by so many implementations, with energy or without."""

NOISE = 0.01
"""Standard deviation of a sample that is expected, as a share."""
SLOWDOWN = 2.0
"""Time of a contender over what the datasheet allows."""
CONTENDERS = 3
"""Implementations that are near enough to the best to be measured to the end."""
LOSER_SLOWDOWN = 8.0
LAUNCH_MS = 0.005
CHECKS_S = 0.03
"""Operands, float64 truth and two checks, for each cell."""
HARNESS = 1.15
SETTLED_S, WINDOWS = 0.5, 3


@dataclass(frozen=True)
class Estimate:
    """Seconds of a problem, and what that is known from."""

    seconds: Seconds
    source: str


def estimate(store: Store, device: DeviceRecord, plan: Plan, settings: MeasureSettings) -> Estimate | None:
    """By what the device took lately, else by its datasheet; None where nothing is known of it."""
    per_cell_s = requests.seconds_per_cell(store, device.uuid)
    if per_cell_s is not None:
        known_s = per_cell_s
        return Estimate(lambda problem, cells, energy: known_s * cells, "the device's last run")
    sheet = datasheet(device)
    if sheet is not None:
        board = sheet
        return Estimate(
            lambda problem, cells, energy: problem_seconds(problem, cells, energy, board, settings),
            "its datasheet",
        )
    if plan.within_s is None:
        return None
    promised_s = plan.within_s / plan.cells
    return Estimate(lambda problem, cells, energy: promised_s * cells, "what the suite promises")


def problem_seconds(
    problem: Problem, cells: int, energy: bool, sheet: Datasheet, settings: MeasureSettings
) -> float:
    """The cost model: see the top of this file."""
    flops_per_s = sheet.flops_per_s(problem.precision) or sheet.fp32_flops_per_s
    least_s = max(problem.compulsory_bytes / sheet.bytes_per_s, problem.flops / flops_per_s)
    best_ms = SLOWDOWN * 1e3 * least_s + LAUNCH_MS
    contenders = min(cells, CONTENDERS)
    timed_ms = contenders * _to_the_end_ms(best_ms, settings)
    timed_ms += (cells - contenders) * settings.slow_samples * LOSER_SLOWDOWN * best_ms
    seconds = (settings.warm_up_ms + timed_ms) / 1e3 + cells * CHECKS_S
    if energy:
        seconds += 2 * (SETTLED_S + WINDOWS * settings.energy_window_s)
    return HARNESS * seconds


def _to_the_end_ms(time_ms: float, settings: MeasureSettings) -> float:
    """Samples until the interval of the median is narrow enough; at least as many as are always taken."""
    needed = (1.96 * 1.2533 * NOISE / settings.half_width) ** 2 * settings.look_growth
    samples = max(needed, settings.min_samples, settings.min_timed_ms / time_ms)
    return min(samples * time_ms, settings.cell_cap_ms)
