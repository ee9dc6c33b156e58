"""Peak memory of a product, where the allocator counts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from kswatch.kernels.problem import Problem
from kswatch.profiler.probes.base import Probe


@dataclass(frozen=True)
class Allocator:
    """Functions of a counting allocator; by default torch's on a GPU."""

    reset_peak: Callable[[], None] = torch.cuda.reset_peak_memory_stats
    peak_bytes: Callable[[], int] = torch.cuda.max_memory_allocated
    now_bytes: Callable[[], int] = torch.cuda.memory_allocated


class MemoryProbe(Probe):
    """Memory of input and weights, of the prepared weights, and the peak of one launch beyond that.

    It reads the single launch: during a visit, rotated sets and graphs take additional memory.
    """

    def __init__(self, allocator: Allocator | None = None) -> None:
        self._allocator = allocator or Allocator()
        self._kept_bytes: dict[str, int] = {}
        self._taken_bytes: dict[str, int] = {}
        self._before_bytes = 0

    def start_problem(self, problem: Problem) -> None:
        """See `Probe`."""
        self._input_bytes = problem.input_bytes
        self._kept_bytes.clear()
        self._taken_bytes.clear()

    def before_prepare(self, cell: str) -> None:
        """See `Probe`."""
        self._before_bytes = self._allocator.now_bytes()

    def after_prepare(self, cell: str) -> None:
        """See `Probe`."""
        self._kept_bytes[cell] = self._allocator.now_bytes() - self._before_bytes

    def before_launch(self, cell: str) -> None:
        """See `Probe`."""
        self._allocator.reset_peak()
        self._before_bytes = self._allocator.now_bytes()

    def after_launch(self, cell: str) -> None:
        """See `Probe`."""
        self._taken_bytes[cell] = self._allocator.peak_bytes() - self._before_bytes

    def results(self, cell: str) -> Mapping[str, Any]:
        """See `Probe`."""
        if cell not in self._taken_bytes or cell not in self._kept_bytes:
            return {}
        return {"memory_peak_bytes": self._input_bytes + self._kept_bytes[cell] + self._taken_bytes[cell]}
