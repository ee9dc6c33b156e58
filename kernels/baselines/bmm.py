"""`bmm`: permute the activations, multiply block by block, permute back.

Monarch's way (Dao et al., ICML 2022); the published measurements call it `monarch`.
"""

from __future__ import annotations

import torch

from kswatch.kernels.baselines.base import Baseline
from kswatch.kernels.baselines.blocks import (
    empty_output,
    gather,
    multiplier,
    scatter,
    unpermuted,
    weight_blocks,
)
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.problem import Problem


class Bmm(Baseline):
    """Gather, one `torch.bmm` over a·d blocks, scatter; at d = 1 only the `torch.bmm`."""

    name = "bmm"

    def laid_out(self, problem: Problem, weights: torch.Tensor) -> torch.Tensor:
        """The blocks (a·d, b, c), read in place where d = 1."""
        del problem
        return weight_blocks(weights).flatten(0, 1)

    def reads_in_place(self, problem: Problem, transposed: bool) -> bool:
        """Where d = 1, also the transposed weights."""
        del transposed
        return problem.pattern.d == 1

    def product(self, problem: Problem, laid_out: torch.Tensor) -> Product:
        """One strided `torch.bmm` where d = 1, otherwise three passes over the activations."""
        multiply = multiplier(problem.layout, laid_out)

        def permuting(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            products = multiply(gather(problem, x))
            return scatter(problem, products, empty_output(problem, x, empty))

        def direct(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            y = empty_output(problem, x, empty)
            multiply(unpermuted(problem, x), out=unpermuted(problem, y))
            return y

        return direct if problem.pattern.d == 1 else permuting

    def memory_bytes(self, problem: Problem) -> int:
        """The compulsory bytes, the re-laid weights and, where d > 1, the permuted activations."""
        if problem.pattern.d > 1:
            return 2 * problem.compulsory_bytes
        return problem.compulsory_bytes + problem.element_bytes * problem.pattern.nonzeros
