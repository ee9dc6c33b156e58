"""The interface of an implementation: a named way to compute a Kronecker-sparse product."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from kswatch.errors import UsageError
from kswatch.kernels.problem import Problem

Empty = Callable[..., torch.Tensor]
"""Allocates a tensor, like `torch.empty`; the correctness check passes a function that fills it with NaN."""

Product = Callable[..., torch.Tensor]
"""`product(x, empty=torch.empty) -> y`: allocates its output and launches; the weights are already laid out.

x has the problem's `input_shape`, y its `output_shape`, both contiguous, in `STORAGE_DTYPES`.
"""


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
        """Why this problem cannot be computed on the device, as a sentence; None where it can."""

    @abstractmethod
    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        """A closure that only launches; weights of shape (a, b, c, d) are re-laid out here, untimed.

        Raises:
            UnsupportedError: `unsupported` returns a reason.
        """

    def prepare_with_bias(self, problem: Problem, weights: torch.Tensor, bias: torch.Tensor) -> Product:
        """The same with a bias of shape (a·b·d,), which is copied, added to each sample.

        Raises:
            UnsupportedError: `unsupported` returns a reason.
        """
        product = self.prepare(problem, weights)
        added = bias.clone() if problem.layout == "batch_first" else bias.clone()[:, None]

        def with_bias(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            return product(x, empty=empty).add_(added)

        return with_bias

    def flops(self, problem: Problem) -> int:
        """Operations actually executed; `dense`, for example, executes more than the product needs."""
        return problem.flops

    def memory_bytes(self, problem: Problem) -> int:
        """Peak bytes of weights, input, output and temporaries while the product runs."""
        return 2 * problem.compulsory_bytes

    def code_hash(self, problem: Problem, device: torch.device) -> str | None:
        """Hash of the machine code, where this project compiles it; None for libraries."""
        del problem, device
        return None

    def tile(self, problem: Problem, device: torch.device) -> str | None:
        """The tile that the kernel chooses, readable; None for libraries."""
        del problem, device
        return None


def require_input(x: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    """Check the input of a product that reads memory by its address.

    Raises:
        UsageError: x has another shape, dtype or device, is not contiguous, or requires a gradient.
    """
    require_tensor("x", x, shape, dtype, device)
    if not x.is_contiguous():
        raise UsageError(f"x has strides {x.stride()}; pass x.contiguous()")
    if x.requires_grad and torch.is_grad_enabled():
        raise UsageError(
            "x requires a gradient, which this product does not compute; use KSLinear or torch.no_grad()"
        )


def require_tensor(
    name: str, tensor: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> None:
    """Check an operand that a kernel would misread otherwise.

    Raises:
        UsageError: the tensor has another shape, dtype or device.
    """
    if tensor.shape != shape:
        raise UsageError(f"{name} has shape {tuple(tensor.shape)}; this product takes {shape}")
    if tensor.dtype != dtype:
        raise UsageError(f"{name} is {tensor.dtype}; this product takes {dtype}")
    if tensor.device != device:
        raise UsageError(f"{name} is on {tensor.device}; this product was prepared on {device}")
