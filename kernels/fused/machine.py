"""What the choice of a tile needs to know of a GPU."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.fused.tile import Family
from kernels.problem import Problem

MIN_ARCHITECTURE = 75
TENSOR_CORE_ARCHITECTURE = 80
"""The first with mma.sync in tf32 and bf16, and with asynchronous copies."""

SHARED_KIB = {75: 64, 80: 163, 87: 163, 90: 227, 100: 227, 103: 227}
"""Most shared memory of a block by architecture (CUDA C++ Programming Guide, compute capabilities)."""
OTHER_SHARED_KIB = 99


@dataclass(frozen=True, slots=True)
class Machine:
    """A GPU, as far as tiles depend on it."""

    architecture: int
    """Compute capability: 90 for sm_90."""
    multiprocessors: int = 108

    @property
    def shared_bytes(self) -> int:
        """Most shared memory of one block."""
        return 1024 * SHARED_KIB.get(self.architecture, OTHER_SHARED_KIB)

    def computes(self, problem: Problem) -> bool:
        """Whether the fused kernel serves this precision there."""
        least = TENSOR_CORE_ARCHITECTURE if problem.precision == "tf32" else MIN_ARCHITECTURE
        return self.architecture >= least

    def family(self, problem: Problem) -> Family:
        """Tensor cores for all but fp32, where the machine has them in every other precision."""
        if problem.precision == "fp32" or self.architecture < TENSOR_CORE_ARCHITECTURE:
            return "cores"
        return "tensor_cores"
