"""Canaries: kernels that never change, timed at the start, middle and end of every run.

They distinguish drift of the machine from changes of the code, and their rates are the run's roofline.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import torch

from kswatch.db.records import CanaryName, CanaryPosition, CanaryRecord
from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cpu_twin.twin import multiply_in_registers
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import precision_scope, unsupported_precision
from kswatch.kernels.problem import Problem
from kswatch.profiler.probes.timing import Launchable, Timer

SAMPLES = 30
LONG_MS = 40.0
COPIED_CACHES = 4
PEAK_STEPS = 1 << 20
"""Some milliseconds."""


@dataclass(frozen=True)
class CanaryKernel:
    """A kernel that never changes, and the bytes or operations of one launch."""

    name: CanaryName
    precision: str
    launchable: Launchable
    amount: int


def read_canary(canary: CanaryKernel, position: CanaryPosition, timer: Timer) -> CanaryRecord:
    """The median of thirty launches after a first one; a single launch where it takes long."""
    first_ms = timer.visit(canary.launchable, 1).samples_ms[0]
    visit = timer.visit(canary.launchable, 1 if first_ms > LONG_MS else SAMPLES)
    latency_ms = statistics.median(visit.samples_ms)
    rate = canary.amount / latency_ms * 1e3
    return CanaryRecord(position, canary.name, canary.precision, latency_ms, rate, visit.sm_clock_mhz)


def torch_canaries(device: torch.device, cache_bytes: int, gemm_size: int) -> Iterator[CanaryKernel]:
    """A copy larger than the last cache, then one square product per precision that torch supports there.

    Each must be read before the next one is produced: its precision is set only until then.
    """
    with torch.inference_mode():
        yield _copy(device, COPIED_CACHES * cache_bytes)
        for precision in SUITE_PRECISIONS:
            problem = Problem(Pattern(1, gemm_size, gemm_size, 1), gemm_size, precision, "batch_first")
            if unsupported_precision(precision, device) is None:
                with precision_scope(problem):
                    yield _gemm(problem, device)


def peak_canary() -> Iterator[CanaryKernel]:
    """Multiplications in the registers of a CPU; none where no compiler builds them.

    A library may use narrower instructions than the CPU has, as MKL does on CPUs of other makers: then
    `fused` would be faster than a floor of that library's rate.
    """
    with suppress(UnsupportedError):
        operations = multiply_in_registers(PEAK_STEPS)
        launchable = Launchable("peak", lambda _: multiply_in_registers(PEAK_STEPS))
        yield CanaryKernel("peak", "fp32", launchable, operations)


def _copy(device: torch.device, size_bytes: int) -> CanaryKernel:
    """Counts the bytes read and the bytes written."""
    source = torch.ones(size_bytes // 4, device=device)
    copied = torch.empty_like(source)
    return CanaryKernel("copy", "fp32", Launchable("copy", lambda _: copied.copy_(source)), 2 * source.nbytes)


def _gemm(problem: Problem, device: torch.device) -> CanaryKernel:
    generator = torch.Generator(device).manual_seed(0)
    one, other = (
        torch.randn(problem.input_shape, generator=generator, device=device).to(
            STORAGE_DTYPES[problem.precision]
        )
        for _ in range(2)
    )
    return CanaryKernel(
        "gemm", problem.precision, Launchable("gemm", lambda _: torch.mm(one, other)), problem.flops
    )
