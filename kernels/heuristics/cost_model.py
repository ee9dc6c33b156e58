"""The terms of the cost model: passes over memory, operations and launches of an implementation.

cost = sum of constant × term, with one set of constants for each device, metric, precision, layout
and implementation; no constant is negative. The terms are: a launch; X and Y once each; again where they
are permuted (d > 1); again by how poorly a stride of d elements uses a memory sector; the operations
that are actually executed; these again by how small the blocks are (a tile of b×c reuses less); weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from kswatch.declared.implementations import BY_NAME
from kswatch.kernels.problem import Problem

Floats = npt.NDArray[np.float64]

TERM_COUNT = 11
STRIDE_LIMIT = 16
"""From this d on, a strided access moves a whole sector for each element that it needs."""


def term_table(problems: Sequence[Problem], implementation: str) -> Floats:
    """The terms for one implementation of many problems, of shape (problems, `TERM_COUNT`)."""
    sizes = np.array([_sizes(problem) for problem in problems], dtype=float)
    input_mb, output_mb, weight_mb, gflops, a, b, c, d = sizes.T
    declared = BY_NAME.get(implementation)
    of_a, of_d = declared.extra_work if declared else (0, 0)
    extra_work = a**of_a * d**of_d  # a method that does more permutes nothing
    permuted = (d > 1) * float((of_a, of_d) == (0, 0))
    strided = permuted * np.minimum(d, STRIDE_LIMIT) / STRIDE_LIMIT
    executed = extra_work * gflops
    terms = {
        "launch": np.ones_like(a),
        "input_mb": input_mb,
        "output_mb": output_mb,
        "permuted_input_mb": permuted * input_mb,
        "permuted_output_mb": permuted * output_mb,
        "strided_input_mb": strided * input_mb,
        "strided_output_mb": strided * output_mb,
        "gflops": executed,
        "gflops_small_b": executed * b**-0.5,
        "gflops_small_c": executed * c**-0.5,
        "weight_mb": extra_work * weight_mb,
    }
    return np.column_stack(list(terms.values()))


@lru_cache(maxsize=8192)
def _sizes(problem: Problem) -> tuple[float, ...]:
    """The sizes behind the terms: input, output and weights in MB, necessary GFLOP, and the pattern."""
    pattern, element_mb = problem.pattern, problem.element_bytes / 1e6
    return (
        element_mb * problem.batch * pattern.columns,
        problem.output_element_bytes / 1e6 * problem.batch * pattern.rows,
        element_mb * pattern.nonzeros,
        problem.flops / 1e9,
        *pattern.as_tuple(),
    )
