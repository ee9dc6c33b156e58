"""`einsum`: one `torch.einsum` on 4-D views."""

from __future__ import annotations

import torch

from kswatch.kernels.baselines.base import Baseline
from kswatch.kernels.baselines.blocks import weight_blocks
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.problem import Problem

EQUATIONS = {"batch_first": "ijkl,nilj->nikj", "batch_last": "ijkl,iljn->ikjn"}


class Einsum(Baseline):
    """Leaves every choice to torch; a copy of the result, where needed, is part of the product."""

    name = "einsum"

    def build(self, problem: Problem, weights: torch.Tensor) -> Product:
        """The result is allocated by torch, since `torch.einsum` has no `out=`."""
        equation, blocks = EQUATIONS[problem.layout], weight_blocks(weights)
        a, _, c, d = problem.pattern.as_tuple()
        batch_first = problem.layout == "batch_first"
        shape = (problem.batch, a, c, d) if batch_first else (a, c, d, problem.batch)

        def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            del empty
            return torch.einsum(equation, blocks, x.view(shape)).reshape(problem.output_shape).contiguous()

        return product
