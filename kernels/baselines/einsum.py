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

    def laid_out(self, problem: Problem, weights: torch.Tensor) -> torch.Tensor:
        """The blocks (a, d, b, c)."""
        del problem
        return weight_blocks(weights)

    def reads_in_place(self, problem: Problem, transposed: bool) -> bool:
        """Where d = 1, also the transposed weights."""
        del transposed
        return problem.pattern.d == 1

    def product(self, problem: Problem, laid_out: torch.Tensor) -> Product:
        """The result is allocated by torch, since `torch.einsum` has no `out=`."""
        equation = EQUATIONS[problem.layout]
        a, _, c, d = problem.pattern.as_tuple()
        batch_first = problem.layout == "batch_first"
        shape = (problem.batch, a, c, d) if batch_first else (a, c, d, problem.batch)

        def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            del empty
            return torch.einsum(equation, laid_out, x.view(shape)).reshape(problem.output_shape).contiguous()

        return product
