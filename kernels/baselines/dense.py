"""`dense`: K as a dense matrix, ad times the operations and the weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kswatch.declared.precisions import multiply_add_flops
from kswatch.kernels.baselines.base import Baseline
from kswatch.kernels.baselines.blocks import empty_output
from kswatch.kernels.baselines.bmm_blockdense import widened_weights
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import quantise

SCALED_UNIT = 16
"""Rows and columns of matrices that `torch._scaled_mm` multiplies are multiples of this."""


def scaled_limitation(problem: Problem, rows: int, columns: int) -> str | None:
    """Why `torch._scaled_mm` cannot multiply X by matrices of these sizes; None where it may."""
    if not hasattr(torch, "_scaled_mm"):
        return f"torch {torch.__version__} has no torch._scaled_mm, its only product of fp8"
    if problem.layout != "batch_first":
        return "torch._scaled_mm, torch's only product of fp8, reads X by samples, as in batch_first"
    if rows % SCALED_UNIT or columns % SCALED_UNIT:
        return f"torch._scaled_mm takes sizes in multiples of {SCALED_UNIT}, not a matrix of {rows}x{columns}"
    return None


def scaled_multiplier(matrix: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor], object]:
    """`multiply(x, y)`: y = x · matrixᵀ for x in fp8 and y in bf16; the matrix gets one scale."""
    elements, scales = quantise(matrix[None, :, :, None], "tensor")
    transposed, scale = elements[0, :, :, 0].contiguous().t(), scales[0, 0, 0, 0].clone()
    one = torch.ones_like(scale)

    def multiply(x: torch.Tensor, y: torch.Tensor) -> object:
        return torch._scaled_mm(x, transposed, scale_a=one, scale_b=scale, out_dtype=y.dtype, out=y)

    return multiply


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
        if problem.precision == "fp8":
            return _scaled_product(problem, laid_out)
        matrix, transposed = laid_out, laid_out.t()

        def batch_first(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            return torch.mm(x, transposed, out=empty_output(problem, x, empty))

        def batch_last(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            return torch.mm(matrix, x, out=empty_output(problem, x, empty))

        return batch_first if problem.layout == "batch_first" else batch_last

    def fp8_limitation(self, problem: Problem) -> str | None:
        """Those of `torch._scaled_mm`."""
        return scaled_limitation(problem, problem.pattern.rows, problem.pattern.columns)

    def flops(self, problem: Problem) -> int:
        """2·batch·M·N, of complex numbers 8·batch·M·N."""
        each = multiply_add_flops(problem.precision)
        return each * problem.batch * problem.pattern.rows * problem.pattern.columns

    def memory_bytes(self, problem: Problem) -> int:
        """The compulsory bytes and all of K."""
        full = problem.pattern.rows * problem.pattern.columns
        return problem.compulsory_bytes + problem.element_bytes * full


def _scaled_product(problem: Problem, matrix: torch.Tensor) -> Product:
    multiply = scaled_multiplier(matrix)

    def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        y = empty_output(problem, x, empty)
        multiply(x, y)
        return y

    return product
