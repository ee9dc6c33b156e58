"""The true latency and power of a cell on a simulated board: a roofline of its datasheet.

Not a prediction of any real board: plausible values, whose only use is that they are known.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from kswatch.declared.implementations import BY_NAME, Declared
from kswatch.kernels.implementation import Implementation
from kswatch.kernels.problem import Problem
from kswatch.profiler.devices.roofline import Datasheet, datasheet
from kswatch.profiler.devices.simulated_spec import SimulatedSpec

BANDWIDTH_SHARE = 0.9
CACHE_SPEEDUP = 2.5
"""Bandwidth of the last cache over that of memory."""
LAUNCH_MS = 2e-3
SPREAD = 0.15
"""Largest relative difference of cells of the same size; the same in every run."""

UNDECLARED = Declared("", "", "stock")
"""The costs of an implementation that is declared nowhere."""


@dataclass
class Truth:
    """The true latency and power of one cell."""

    time_ms: float = 1.0
    """True median latency, cold."""
    hot_ms: float | None = None
    """The same with the operands in the last cache; None for as cold."""
    power_w: float = 400.0
    noise: float = 0.01
    memory: float = 0.0
    second_mode: float | None = None
    """Latency in ms of half of the samples, in place of `time_ms`."""


def truth_of(spec: SimulatedSpec, problem: Problem, implementation: Implementation) -> Truth:
    """Latency and power of a cell, the same for every board of the model."""
    sheet = datasheet(spec.device())
    assert sheet is not None
    flops_ms = _flops_ms(sheet, problem, implementation)
    moved = _bytes_moved(problem, implementation)
    memory_ms = 1e3 * moved / (BANDWIDTH_SHARE * spec.model.bytes_per_s)
    own = 1 + SPREAD * zlib.crc32(f"{problem} {implementation.name}".encode()) / 2**32
    options = spec.options
    factor = own * options.slower.get(implementation.name, 1.0)
    cold_ms = factor * (max(memory_ms, flops_ms) + 0.2 * min(memory_ms, flops_ms)) + LAUNCH_MS
    hot_ms = factor * max(memory_ms / CACHE_SPEEDUP, flops_ms) + LAUNCH_MS
    return Truth(
        time_ms=cold_ms,
        hot_ms=hot_ms,
        power_w=_power_w(spec, memory_ms / cold_ms, flops_ms / cold_ms),
        noise=options.noise,
        memory=options.memory,
        second_mode=options.bimodal * cold_ms if options.bimodal != 1.0 else None,
    )


def _flops_ms(sheet: Datasheet, problem: Problem, implementation: Implementation) -> float:
    peak = sheet.flops_per_s(problem.precision) or sheet.fp32_flops_per_s
    share = BY_NAME.get(implementation.name, UNDECLARED).simulated_flops_share
    return 1e3 * implementation.flops(problem) / (share * peak)


def _bytes_moved(problem: Problem, implementation: Implementation) -> float:
    activations = problem.element_bytes * problem.batch * problem.pattern.columns + problem.output_bytes
    weights = problem.element_bytes * problem.pattern.nonzeros
    launchable = max(1, implementation.flops(problem) // max(1, problem.flops))
    declared = BY_NAME.get(implementation.name, UNDECLARED)
    passes = declared.simulated_passes if problem.pattern.d > 1 else 1.0
    return passes * activations + launchable * weights


def _power_w(spec: SimulatedSpec, memory_share: float, flops_share: float) -> float:
    used = min(1.0, 0.2 + 0.45 * min(1.0, memory_share) + 0.5 * min(1.0, flops_share))
    return spec.model.idle_w + used * (spec.model.limit_w - spec.model.idle_w)
