"""`bmm`: permute the activations, multiply block by block, permute back.

Monarch's way (Dao et al., ICML 2022); the published measurements call it `monarch`.
"""

from __future__ import annotations

import torch

from kernels.baselines.baseline import Baseline
from kernels.baselines.blocks import blocked, empty_output, gather, multiply, scatter, weight_blocks
from kernels.implementation import Empty, Product
from kernels.problem import Problem


class Bmm(Baseline):
    """Gather, one `torch.bmm` over a·d blocks, scatter; at d = 1 only the `torch.bmm`."""

    name = "bmm"

    def build(self, problem: Problem, weights: torch.Tensor) -> Product:
        """One strided `torch.bmm` where d = 1, three passes over the activations elsewhere."""
        blocks = weight_blocks(weights).flatten(0, 1)

        def permuting(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            products = multiply(problem, blocks, gather(problem, x))
            return scatter(problem, products, empty_output(problem, x, empty))

        def direct(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            y = empty_output(problem, x, empty)
            multiply(problem, blocks, gather(problem, x), out=blocked(problem, y).flatten(0, 1))
            return y

        return direct if problem.pattern.d == 1 else permuting
