"""What one launch passes to the kernel: `ks::Arguments` of tile.cuh."""

from __future__ import annotations

from kernels.problem import Problem

FORMAT = "PPPqiiii"
"""x, w, y, batch, a, b, c, d, in the native alignment that `struct` and the kernel share."""


def pack(problem: Problem, x: int, w: int, y: int) -> tuple[int, ...]:
    """The values of `FORMAT` for three addresses."""
    return (x, w, y, problem.batch, *problem.pattern.as_tuple())
