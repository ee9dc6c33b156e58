"""`csr`: K in compressed rows; no permutation, an index per weight."""

from __future__ import annotations

import torch

from kswatch.kernels.baselines.base import Baseline
from kswatch.kernels.baselines.blocks import empty_output
from kswatch.kernels.baselines.sparse import compressed, index_dtype, multiply_into
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.problem import Problem


def to_csr(problem: Problem, weights: torch.Tensor) -> torch.Tensor:
    """K (abd × acd) as a CSR tensor; row (i, k, j) holds W[i, k, :, j] in columns i·cd + l·d + j."""
    a, b, c, d = problem.pattern.as_tuple()
    dtype, device = index_dtype(problem), weights.device
    rows = torch.arange(a * b * d + 1, dtype=dtype, device=device) * c
    slice_start = torch.arange(a, dtype=dtype, device=device).view(a, 1, 1, 1) * (c * d)
    offset = torch.arange(c * d, dtype=dtype, device=device).view(1, 1, c, d).transpose(2, 3)
    columns = (slice_start + offset).expand(a, b, d, c).reshape(-1)
    values = weights.permute(0, 1, 3, 2).reshape(-1)
    return compressed(problem, torch.sparse_csr, rows, columns, values)


class Csr(Baseline):
    """One sparse product with MKL or cuSPARSE."""

    name = "csr"

    def laid_out(self, problem: Problem, weights: torch.Tensor) -> torch.Tensor:
        """K in compressed rows."""
        return to_csr(problem, weights)

    def product(self, problem: Problem, laid_out: torch.Tensor) -> Product:
        """A sparse product from X directly into Y."""

        def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            return multiply_into(problem, laid_out, x, empty_output(problem, x, empty))

        return product

    def memory_bytes(self, problem: Problem) -> int:
        """The compulsory bytes and an index for each weight and each row."""
        indices = problem.pattern.nonzeros + problem.pattern.rows + 1
        return problem.compulsory_bytes + index_dtype(problem).itemsize * indices
