"""What the choice of a tile needs to know of a GPU."""

from __future__ import annotations

from dataclasses import dataclass

from kswatch.kernels.fused.cuda.tile import Family
from kswatch.kernels.problem import Problem

MIN_ARCHITECTURE = 75
TENSOR_CORE_ARCHITECTURE = 80
"""The first with mma.sync in tf32 and bf16, and with asynchronous copies."""

MIN_SPLIT_COLUMNS = 96
"""From here on fp32 by 3xTF32 errs no more than plain fp32, whose error grows with c
(`tests/kernels/fused/cuda/test_split.py`)."""

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

    def lacks(self, family: Family, problem: Problem) -> str:
        """Why a family does not compute a problem there, as a sentence."""
        if family == "cores":
            return f"the CUDA cores compute fp32; {problem.precision} goes to the tensor cores"
        if self.architecture < TENSOR_CORE_ARCHITECTURE:
            return (
                f"the GPU is sm_{self.architecture}; tensor cores are used from "
                f"sm_{TENSOR_CORE_ARCHITECTURE} on, the CUDA cores compute instead"
            )
        if family == "tensor_cores":
            return f"fp32 by 3xTF32 errs more than plain fp32 under {MIN_SPLIT_COLUMNS} columns"
        return "wgmma takes fp16 and bf16 on sm_90, large b, c and batch, whole 16 bytes, and one j at a time"

    def families(self, problem: Problem) -> tuple[Family, ...]:
        """Tensor cores where the machine has them; fp32 on either, where that is as exact."""
        if self.architecture < TENSOR_CORE_ARCHITECTURE:
            return ("cores",)
        if problem.precision != "fp32":
            return ("tensor_cores",)
        split = problem.pattern.c >= MIN_SPLIT_COLUMNS
        return ("cores", "tensor_cores") if split else ("cores",)
