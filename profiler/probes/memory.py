"""Peak memory of a product, where the allocator counts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from kswatch.profiler.probes.base import Probe, ProbedDevice
from kswatch.profiler.subjects.demand import operand_bytes
from kswatch.profiler.subjects.problems import AnyProblem


class MemoryProbe(Probe):
    """Memory of input and weights, of the prepared weights, and the peak of one launch beyond that.

    It reads the single launch: during a visit, rotated sets and graphs take additional memory.
    """

    def __init__(self, cuda: Any = torch.cuda) -> None:  # noqa: ANN401  (the module, or a simulated one)
        self._cuda = cuda
        self._kept_bytes: dict[str, int] = {}
        self._taken_bytes: dict[str, int] = {}
        self._before_bytes = 0

    @classmethod
    def on(cls, device: ProbedDevice) -> MemoryProbe | None:
        """See `Probe`; it needs an allocator that counts."""
        return cls() if device.counts_memory else None

    def start_problem(self, problem: AnyProblem) -> None:
        """See `Probe`."""
        self._input_bytes = operand_bytes(problem)
        self._kept_bytes.clear()
        self._taken_bytes.clear()

    def before_prepare(self, cell: str) -> None:
        """See `Probe`."""
        self._before_bytes = self._cuda.memory_allocated()

    def after_prepare(self, cell: str) -> None:
        """See `Probe`."""
        self._kept_bytes[cell] = self._cuda.memory_allocated() - self._before_bytes

    def before_launch(self, cell: str) -> None:
        """See `Probe`."""
        self._cuda.reset_peak_memory_stats()
        self._before_bytes = self._cuda.memory_allocated()

    def after_launch(self, cell: str) -> None:
        """See `Probe`."""
        self._taken_bytes[cell] = self._cuda.max_memory_allocated() - self._before_bytes

    def results(self, cell: str) -> Mapping[str, Any]:
        """See `Probe`."""
        if cell not in self._taken_bytes or cell not in self._kept_bytes:
            return {}
        return {"memory_peak_bytes": self._input_bytes + self._kept_bytes[cell] + self._taken_bytes[cell]}
