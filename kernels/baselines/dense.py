"""`dense`: K as a dense matrix, ad times the operations and the weights."""

from __future__ import annotations

import torch

from kswatch.kernels.baselines.base import Baseline
from kswatch.kernels.baselines.blocks import empty_output
from kswatch.kernels.baselines.bmm_blockdense import widened_weights
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.problem import Problem, multiply_add_flops


def to_dense(weights: torch.Tensor) -> torch.Tensor:
    """K of shape (abd, acd) from weights of shape (a, b, c, d)."""
    wide = widened_weights(weights).squeeze(-1)
    a, rows, columns = wide.shape
    if a == 1:
        return wide[0]
    matrix = weights.new_zeros(a, rows, a, columns)
    matrix.diagonal(dim1=0, dim2=2).copy_(wide.permute(1, 2, 0))
    return matrix.view(a * rows, a * columns)


class Dense(Baseline):
    """One dense product, as launched by `F.linear` and `torch.matmul`."""

    name = "dense"

    def laid_out(self, problem: Problem, weights: torch.Tensor) -> torch.Tensor:
        """K as a dense matrix."""
        del problem
        return to_dense(weights)

    def product(self, problem: Problem, laid_out: torch.Tensor) -> Product:
        """X · Kᵀ or K · X, directly into Y."""
        matrix, transposed = laid_out, laid_out.t()

        def batch_first(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            return torch.mm(x, transposed, out=empty_output(problem, x, empty))

        def batch_last(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            return torch.mm(matrix, x, out=empty_output(problem, x, empty))

        return batch_first if problem.layout == "batch_first" else batch_last

    def flops(self, problem: Problem) -> int:
        """2·batch·M·N, of complex numbers 8·batch·M·N."""
        each = multiply_add_flops(problem.precision)
        return each * problem.batch * problem.pattern.rows * problem.pattern.columns

    def memory_bytes(self, problem: Problem) -> int:
        """The compulsory bytes and all of K."""
        full = problem.pattern.rows * problem.pattern.columns
        return problem.compulsory_bytes + problem.element_bytes * full
