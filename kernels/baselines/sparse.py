"""Shared by torch's compressed sparse formats: the index type, and the product written into Y."""

from __future__ import annotations

import warnings

import torch

from kswatch.kernels.problem import Problem

INT32_MAX = 2**31 - 1


def index_dtype(problem: Problem) -> torch.dtype:
    """The narrowest index type that holds all positions: half the index traffic of torch's default."""
    return torch.int32 if max(problem.pattern.nonzeros, problem.pattern.columns) <= INT32_MAX else torch.int64


def compressed(
    problem: Problem, layout: torch.layout, rows: torch.Tensor, columns: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """An abd × acd matrix in `torch.sparse_csr` or `torch.sparse_bsr`.

    The parts are made contiguous: libraries take their addresses, and read past the end of an expanded one.
    """
    size = (problem.pattern.rows, problem.pattern.columns)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse .* is in beta state")
        return torch.sparse_compressed_tensor(
            rows, columns.contiguous(), values.contiguous(), size=size, layout=layout, check_invariants=False
        )


def multiply_into(problem: Problem, matrix: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Write matrix · x or, in `batch_first`, x · matrixᵀ to y, with one sparse product on views."""
    if problem.layout == "batch_last":
        torch.mm(matrix, x, out=y)
    else:
        torch.mm(matrix, x.t(), out=y.t())
    return y
