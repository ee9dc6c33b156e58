"""What every way of computing a Kronecker-sparse product looks like to those who call it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from kswatch.kernels.problem import Problem

Empty = Callable[..., torch.Tensor]
"""Gives an uninitialised tensor, as `torch.empty`; the correctness check passes one full of NaN."""

Product = Callable[..., torch.Tensor]
"""`product(x, empty=torch.empty) -> y`: launches, allocates its output, re-lays no weights.

x has the problem's `input_shape`, y its `output_shape`, both contiguous, in `STORAGE_DTYPES`.
"""

NO_GRADIENT = "x requires a gradient, which this product has not; use KSLinear or torch.no_grad()"

STORAGE_DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


class Implementation(ABC):
    """A named way to compute the product of a problem."""

    name: str

    @abstractmethod
    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        """Why this problem cannot be computed there, as a sentence; None where it can."""

    @abstractmethod
    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        """A closure that only launches; weights of shape (a, b, c, d) are re-laid out here, untimed.

        Raises:
            UnsupportedError: `unsupported` would have said so.
        """

    def prepare_with_bias(self, problem: Problem, weights: torch.Tensor, bias: torch.Tensor) -> Product:
        """The same with a bias of shape (a·b·d,) added to each sample; copied, so that it may go.

        Raises:
            UnsupportedError: `unsupported` would have said so.
        """
        product = self.prepare(problem, weights)
        added = bias.clone() if problem.layout == "batch_first" else bias.clone()[:, None]

        def with_bias(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            return product(x, empty=empty).add_(added)

        return with_bias

    def flops(self, problem: Problem) -> int:
        """Operations really executed; `dense` and its like do more than the product needs."""
        return problem.flops

    def memory_bytes(self, problem: Problem) -> int:
        """Peak bytes of weights, input, output and temporaries while the product runs."""
        return 2 * problem.compulsory_bytes

    def code_hash(self, problem: Problem, device: torch.device) -> str | None:
        """Hash of the machine code that runs, where this project compiles it; None for libraries."""
        del problem, device
        return None

    def tile(self, problem: Problem, device: torch.device) -> str | None:
        """The tile that the kernel chooses, readable; None for libraries."""
        del problem, device
        return None
