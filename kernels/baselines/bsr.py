"""`bsr`: K as a block-diagonal matrix, up to permutations, in square blocks."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

import torch

from kswatch.kernels.baselines.base import Baseline
from kswatch.kernels.baselines.blocks import empty_output, weight_blocks
from kswatch.kernels.baselines.sparse import compressed, index_dtype, multiply_into
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


def side(pattern: Pattern) -> int:
    """Side of the largest square blocks that tile b×c: gcd(b, c)."""
    return gcd(pattern.b, pattern.c)


def to_bsr(problem: Problem, weights: torch.Tensor) -> torch.Tensor:
    """The block-diagonal (adb × adc) matrix of the a·d blocks b×c, as a BSR tensor."""
    a, b, c, d = problem.pattern.as_tuple()
    size, dtype = side(problem.pattern), index_dtype(problem)
    high, wide = b // size, c // size
    rows = torch.arange(a * d * high + 1, dtype=dtype, device=weights.device) * wide
    columns = torch.arange(a * d * wide, dtype=dtype, device=weights.device).view(a * d, 1, wide)
    blocks = weight_blocks(weights).reshape(a * d, high, size, wide, size).transpose(2, 3)
    columns = columns.expand(a * d, high, wide).reshape(-1)
    return compressed(problem, torch.sparse_bsr, rows, columns, blocks.reshape(-1, size, size))


def reordered(problem: Problem, activations: torch.Tensor) -> torch.Tensor:
    """X or Y as a 4-D view with the features in the order of the blocks: (i, j, l) instead of (i, l, j)."""
    a, d = problem.pattern.a, problem.pattern.d
    if problem.layout == "batch_last":
        return activations.view(a, -1, d, problem.batch).transpose(1, 2)
    return activations.view(problem.batch, a, -1, d).transpose(2, 3)


class Bsr(Baseline):
    """Gather, one block-sparse product with MKL, cuSPARSE or torch's Triton kernel, scatter."""

    name = "bsr"

    def laid_out(self, problem: Problem, weights: torch.Tensor) -> torch.Tensor:
        """The block-diagonal matrix."""
        return to_bsr(problem, weights)

    def product(self, problem: Problem, laid_out: torch.Tensor) -> Product:
        """The permutations are needed only where d > 1."""
        matrix = laid_out

        def permuting(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            block_input = reordered(problem, x).reshape(problem.input_shape)
            block_output = multiply_into(problem, matrix, block_input, empty_output(problem, x, torch.empty))
            y = empty_output(problem, x, empty)
            view = reordered(problem, y)
            view.copy_(block_output.view(view.shape))
            return y

        def direct(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            return multiply_into(problem, matrix, x, empty_output(problem, x, empty))

        return direct if problem.pattern.d == 1 else permuting

    def probe(self, problem: Problem) -> Problem:
        """The same block size and divisors of the batch, on which torch's support of a BSR matrix depends."""
        size = side(problem.pattern)
        return replace(problem, pattern=Pattern(2, size, size, 1), batch=gcd(problem.batch, 16))
