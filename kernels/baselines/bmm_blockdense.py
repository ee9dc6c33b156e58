"""`bmm_blockdense`: no permutation in either layout, at the cost of d times the operations."""

from __future__ import annotations

from dataclasses import replace

import torch

from kswatch.kernels.baselines.base import Baseline
from kswatch.kernels.baselines.bmm import Bmm
from kswatch.kernels.implementation import Product
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


def widened(pattern: Pattern) -> Pattern:
    """The pattern (a, bd, cd, 1), whose support contains this one's."""
    return Pattern(pattern.a, pattern.b * pattern.d, pattern.c * pattern.d, 1)


def widened_weights(weights: torch.Tensor) -> torch.Tensor:
    """Weights (a, b, c, d) as weights of the widened pattern, (a, bd, cd, 1), zero outside the support."""
    a, b, c, d = weights.shape
    wide = weights.new_zeros(a, b, d, c, d)
    wide.diagonal(dim1=2, dim2=4).copy_(weights)
    return wide.view(a, b * d, c * d, 1)


class BmmBlockdense(Baseline):
    """For each i one dense bd×cd block with zeros outside the pattern; one `torch.bmm` over a blocks."""

    name = "bmm_blockdense"

    def laid_out(self, problem: Problem, weights: torch.Tensor) -> torch.Tensor:
        """The blocks of the widened pattern."""
        return Bmm().laid_out(problem, widened_weights(weights))

    def product(self, problem: Problem, laid_out: torch.Tensor) -> Product:
        """`bmm` of the widened pattern, which has the same X and Y, and d = 1."""
        return Bmm().product(replace(problem, pattern=widened(problem.pattern)), laid_out)

    def flops(self, problem: Problem) -> int:
        """The operations of the product, d times."""
        return problem.flops * problem.pattern.d

    def memory_bytes(self, problem: Problem) -> int:
        """The compulsory bytes and the widened weights."""
        return problem.compulsory_bytes + problem.element_bytes * widened(problem.pattern).nonzeros
