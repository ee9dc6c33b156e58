"""Estimated time to measure a problem: from the device's last run, else from its datasheet.

The model counts visits until the interval is narrow enough, few visits of cells that are clearly slower,
warm-up, checks, and an energy pass. It decides which cells fit a budget, never which results are recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from kswatch.db.queries import basic as queries
from kswatch.db.records import DeviceRecord
from kswatch.db.request_queue.measuring_cost import MeasuringCost, measuring_cost
from kswatch.db.statistics import Z_95
from kswatch.db.store import Store
from kswatch.profiler.devices.discovery import cpu_threads
from kswatch.profiler.devices.roofline import Datasheet, datasheet
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.planning.plan import Plan
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.subjects.cells import dense_demand
from kswatch.profiler.subjects.problems import AnyProblem, ModelForward
from kswatch.services import TimingLimits

Seconds = Callable[[AnyProblem, Sequence[str], bool], float]
"""Seconds for a problem by these implementations, and whether energy is measured."""

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
MODEL_SET_UP_S = 2.0
"""The same for a cell of a model, with its share of time in linear layers."""
OVERHEAD = 1.15
SETTLED_S, WINDOWS = 0.5, 3
CPU_FLOPS_PER_S, CPU_BYTES_PER_S = 40e9, 10e9
"""Rates of a thread, and of the memory, of a usual CPU: for layers and models on a CPU without canaries."""


@dataclass(frozen=True)
class CostEstimate:
    """Estimated seconds of a problem, and the source of the estimate."""

    seconds: Seconds
    source: str


def estimate_cost(
    store: Store, device: DeviceRecord, plan: Plan, settings: MeasureSettings
) -> CostEstimate | None:
    """The estimate from the device's last run, else from its datasheet; None for an unknown device.

    Cells of layers and models differ too much from those of another run: on a CPU theirs are estimated from
    the rates of its last canaries.
    """
    if device.kind == "cpu" and len(plan.structured) == len(plan.problems):
        rates, source = _cpu_rates(store, device)
        most_s = plan.within_s / len(plan.problems) if plan.within_s else math.inf

        def seconds(problem: AnyProblem, names: Sequence[str], energy: bool) -> float:
            return min(most_s, problem_seconds(problem, len(names), energy, rates, settings))

        return CostEstimate(seconds, source)
    limits = TimingLimits(settings.too_slow_ms, settings.cell_cap_ms)
    if known := measuring_cost(store, device.uuid, limits):
        return CostEstimate(partial(_known_seconds, known), "the device's last run")
    if sheet := datasheet(device):

        def by_sheet(problem: AnyProblem, names: Sequence[str], energy: bool) -> float:
            return problem_seconds(problem, len(names), energy, sheet, settings)

        return CostEstimate(by_sheet, "its datasheet")
    if plan.within_s is None:
        return None
    each_s = plan.within_s / plan.cells
    return CostEstimate(lambda problem, names, energy: each_s * len(names), "the suite's time limit")


def _known_seconds(known: MeasuringCost, problem: AnyProblem, names: Sequence[str], energy: bool) -> float:
    return known.of_problem(problem_key(problem), names, energy).seconds


def _cpu_rates(store: Store, device: DeviceRecord) -> tuple[Datasheet, str]:
    """The best rates of the CPU's last canaries, and where they come from."""
    known = next((one.id for one in queries.devices(store) if one.uuid == device.uuid), None)
    runs = queries.runs(store, known, None, None, ("finished",), limit=1) if known else []
    read = queries.canaries(store, runs[0].id) if runs else []
    rates = {(one.name, one.precision): one.rate for one in sorted(read, key=lambda one: one.rate)}
    usual = CPU_FLOPS_PER_S * cpu_threads()
    flops_per_s = rates.get(("gemm", "fp32"), usual)
    sheet = Datasheet(
        rates.get(("copy", "fp32"), CPU_BYTES_PER_S),
        flops_per_s,
        None,
        rates.get(("gemm", "bf16"), flops_per_s),
    )
    return sheet, "the device's last canaries" if read else "the rates of a usual CPU"


def problem_seconds(
    problem: AnyProblem, cells: int, energy: bool, sheet: Datasheet, settings: MeasureSettings
) -> float:
    """Estimated seconds by the cost model of this module."""
    is_model = isinstance(problem, ModelForward)
    settings = settings.for_models() if is_model else settings
    flops_per_s = sheet.flops_per_s(problem.precision) or sheet.fp32_flops_per_s
    needed = dense_demand(problem)
    least_s = max(needed.compulsory_bytes / sheet.bytes_per_s, needed.flops / flops_per_s)
    best_ms = SLOWDOWN * 1e3 * least_s + LAUNCH_MS
    if best_ms > SLOWDOWN * settings.too_slow_ms:
        return cells * CHECKS_S
    full = min(cells, FULLY_MEASURED)
    timed_ms = full * _fully_measured_ms(best_ms, settings)
    timed_ms += (cells - full) * settings.slow_samples * SLOW_CELL_FACTOR * best_ms
    timed_ms = min(timed_ms, settings.problem_cap_ms)
    seconds = (settings.warm_up_ms + timed_ms) / 1e3 + cells * (MODEL_SET_UP_S if is_model else CHECKS_S)
    if energy:
        seconds += 2 * (SETTLED_S + WINDOWS * settings.energy_window_s)
    return OVERHEAD * seconds


def _fully_measured_ms(time_ms: float, settings: MeasureSettings) -> float:
    """Timed milliseconds until the interval of the median is narrow enough."""
    needed = (Z_95 * MEDIAN_OVER_MEAN * NOISE / settings.half_width) ** 2 * settings.check_growth
    samples = max(needed, settings.min_samples, settings.min_timed_ms / time_ms)
    return min(samples * time_ms, settings.cell_cap_ms)
