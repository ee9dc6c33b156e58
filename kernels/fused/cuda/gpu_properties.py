"""The properties of a GPU that the choice of a tile depends on."""

from __future__ import annotations

from dataclasses import dataclass

from kswatch.kernels.fused.cuda.tile import Family
from kswatch.kernels.problem import Problem

MIN_ARCHITECTURE = 75
TENSOR_CORE_ARCHITECTURE = 80
"""The first architecture with mma.sync in tf32 and bf16, and with asynchronous copies."""

CLUSTER_ARCHITECTURE = 90
"""The first architecture with clusters of blocks, which write to each other's shared memory."""

MIN_ARCHITECTURES = {"tf32": TENSOR_CORE_ARCHITECTURE, "fp8": 89}
"""The first architecture with mma.sync in a precision, where it is not `MIN_ARCHITECTURE`."""

MIN_SPLIT_COLUMNS = 96
"""From this many columns on, 3xTF32 is as accurate as plain fp32, whose error grows with c
(`tests/kernels/fused/cuda/test_split.py`)."""

MAX_SPLIT_COLUMNS = 16_384
"""Up to this many columns: 3xTF32 adds 8 to 32 columns at a time to its fp32 sums, so their error grows with
c, too. Longer sums are left to the CUDA cores, which add them in blocks."""

SHARED_KIB = {75: 64, 80: 163, 87: 163, 90: 227, 100: 227, 103: 227}
"""Maximum shared memory per block, by architecture (CUDA C++ Programming Guide, compute capabilities)."""
OTHER_SHARED_KIB = 99


@dataclass(frozen=True, slots=True)
class GpuProperties:
    """The properties of a GPU that tiles depend on."""

    architecture: int
    """Compute capability: 90 for sm_90."""
    multiprocessors: int = 108

    @property
    def shared_bytes(self) -> int:
        """Maximum shared memory of one block."""
        return 1024 * SHARED_KIB.get(self.architecture, OTHER_SHARED_KIB)

    def supports(self, problem: Problem) -> bool:
        """Whether the fused kernel supports this precision on the GPU."""
        return self.architecture >= MIN_ARCHITECTURES.get(problem.precision, MIN_ARCHITECTURE)

    def families(self, problem: Problem) -> tuple[Family, ...]:
        """Tensor cores where the GPU has them; fp32 on CUDA cores, or on both where 3xTF32 is as accurate.

        Elements of 8 bytes, fp64 and complex64, are multiplied on CUDA cores alone.
        """
        if self.architecture < TENSOR_CORE_ARCHITECTURE or problem.element_bytes > 4:
            return ("cores",)
        if problem.precision != "fp32":
            return ("tensor_cores",)
        split = MIN_SPLIT_COLUMNS <= problem.pattern.c <= MAX_SPLIT_COLUMNS
        return ("cores", "tensor_cores") if split else ("cores",)
