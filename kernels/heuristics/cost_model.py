"""What an implementation costs: a sum of passes over memory, operations and launches.

cost = sum of constant × term, with one set of constants for each device, metric, precision, layout
and implementation; no constant is negative. The terms say what a method can be made to pay for:
X and Y once each, again where they are permuted (d > 1), again by how badly a stride of d elements
uses a memory sector, the operations that are really executed, and those again by how small the
blocks are (a tile of b×c reuses less).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from kernels.problem import Problem

Floats = npt.NDArray[np.float64]

TERMS: tuple[str, ...] = (
    "launch",
    "input_mb",
    "output_mb",
    "permuted_input_mb",
    "permuted_output_mb",
    "strided_input_mb",
    "strided_output_mb",
    "gflops",
    "gflops_small_b",
    "gflops_small_c",
    "weight_mb",
)

STRIDE_LIMIT = 16
"""From this d on, a strided access wastes a whole sector for each element that it wants."""

_EXTRA_WORK: dict[str, Callable[[Problem], int]] = {
    "dense": lambda problem: problem.pattern.a * problem.pattern.d,
    "bmm_blockdense": lambda problem: problem.pattern.d,
}
"""How many times the needed operations, and the weights, a method goes through."""

_NO_PERMUTATION = ("dense", "bmm_blockdense")


def terms(problem: Problem, implementation: str) -> list[float]:
    """The values of `TERMS` for one cell."""
    pattern, element_mb = problem.pattern, problem.element_bytes / 1e6
    input_mb = element_mb * problem.batch * pattern.columns
    output_mb = element_mb * problem.batch * pattern.rows
    extra_work = _EXTRA_WORK.get(implementation, lambda problem: 1)(problem)
    permuted = pattern.d > 1 and implementation not in _NO_PERMUTATION
    strided = permuted * min(pattern.d, STRIDE_LIMIT) / STRIDE_LIMIT
    gflops = extra_work * problem.flops / 1e9
    return [
        1.0,
        input_mb,
        output_mb,
        permuted * input_mb,
        permuted * output_mb,
        strided * input_mb,
        strided * output_mb,
        gflops,
        gflops * pattern.b**-0.5,
        gflops * pattern.c**-0.5,
        extra_work * element_mb * pattern.nonzeros,
    ]


def term_table(problems: Sequence[Problem], implementation: str) -> Floats:
    """The terms of many problems, of shape (problems, terms)."""
    return np.array([terms(problem, implementation) for problem in problems], dtype=float)
