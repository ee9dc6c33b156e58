"""The product in plain torch."""

from __future__ import annotations

import torch

from kswatch.kernels.implementation import Empty, Implementation, Product
from kswatch.kernels.problem import Problem


class ExampleTorch(Implementation):
    """One matmul of a·d blocks, in plain torch."""

    name = "example_torch"

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        """It computes in every precision but tf32, which is a mode of torch."""
        del device
        return "tf32 is not written here" if problem.precision == "tf32" else None

    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        """Weights as (a, d, b, c), once; X and Y as (a, d, features, batch) at each launch."""
        a, b, c, d = problem.pattern.as_tuple()
        laid_out = weights.permute(0, 3, 1, 2).contiguous()

        def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            y = empty(problem.output_shape, dtype=x.dtype, device=x.device)
            inputs, outputs = (x, y) if problem.layout == "batch_last" else (x.T, y.T)
            blocks = laid_out @ inputs.reshape(a, c, d, -1).transpose(1, 2)
            outputs.copy_(blocks.transpose(1, 2).reshape(a * b * d, -1))
            return y

        return product
