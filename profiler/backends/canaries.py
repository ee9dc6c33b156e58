"""Canaries: kernels that never change, read at the start, middle and end of every run.

They tell a moved machine from moved code, and their rates are the roofline of the run.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from kswatch.db.records import CanaryRecord
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import precision_scope, unsupported_precision
from kswatch.kernels.problem import PRECISIONS, Problem
from kswatch.profiler.probes.timing import Timer, Work

Position = Literal["start", "middle", "end"]

SAMPLES = 30
LONG_MS = 40.0
COPIED_CACHES = 4


@dataclass(frozen=True)
class Canary:
    """A kernel that never changes, and the bytes or operations that one launch takes."""

    name: Literal["copy", "gemm"]
    precision: str
    work: Work
    amount: int


def read_canary(canary: Canary, position: Position, timer: Timer) -> CanaryRecord:
    """The median of thirty launches after the first; the second one alone where they take long."""
    first_ms = timer.visit(canary.work, 1).samples_ms[0]
    launches = 1 if first_ms > LONG_MS else SAMPLES
    latency_ms = statistics.median(timer.visit(canary.work, launches).samples_ms)
    return CanaryRecord(position, canary.name, canary.precision, latency_ms, canary.amount / latency_ms * 1e3)


def torch_canaries(device: torch.device, cache_bytes: int, gemm_size: int) -> Iterator[Canary]:
    """A copy that exceeds the last cache, then one square product per precision that torch has there.

    Each must be read before the next one is asked for: its precision is set only so long.
    """
    with torch.inference_mode():
        yield _copy(device, COPIED_CACHES * cache_bytes)
        for precision in PRECISIONS:
            problem = Problem(Pattern(1, gemm_size, gemm_size, 1), gemm_size, precision, "batch_first")
            if unsupported_precision(precision, device) is None:
                with precision_scope(problem):
                    yield _gemm(problem, device)


def _copy(device: torch.device, size_bytes: int) -> Canary:
    """Counts the bytes read and the bytes written."""
    source = torch.ones(size_bytes // 4, device=device)
    copied = torch.empty_like(source)
    return Canary("copy", "fp32", Work("copy", lambda _: copied.copy_(source)), 2 * source.nbytes)


def _gemm(problem: Problem, device: torch.device) -> Canary:
    generator = torch.Generator(device).manual_seed(0)
    one, other = (
        torch.randn(problem.input_shape, generator=generator, device=device).to(
            STORAGE_DTYPES[problem.precision]
        )
        for _ in range(2)
    )
    return Canary("gemm", problem.precision, Work("gemm", lambda _: torch.mm(one, other)), problem.flops)
