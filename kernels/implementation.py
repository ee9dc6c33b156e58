"""The interface of an implementation: a named way to compute a Kronecker-sparse product."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any

import torch

from kswatch.errors import UsageError
from kswatch.kernels.problem import Problem

Empty = Callable[..., torch.Tensor]
"""Allocates a tensor, like `torch.empty`; the correctness check passes a function that fills it with NaN."""

Product = Callable[..., torch.Tensor]
"""`product(x, empty=torch.empty) -> y`: allocates its output and launches; the weights are already laid out.

x has the problem's `input_shape`, in `STORAGE_DTYPES` (in fp8 also e5m2), y its `output_shape`, in
`OUTPUT_DTYPES`; both are contiguous.
"""

LiveProduct = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""`product(weights, x, bias) -> y` for any weights and bias of a problem, as they are when it is called."""

STORAGE_DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp64": torch.float64,
    "complex64": torch.complex64,
    "fp8": torch.float8_e4m3fn,
}
"""The type of X."""
OUTPUT_DTYPES: dict[str, torch.dtype] = {**STORAGE_DTYPES, "fp8": torch.bfloat16}
"""The type of Y and of a bias."""
WEIGHT_DTYPES = OUTPUT_DTYPES
"""The type of W as `prepare` takes it; in fp8 it is quantised there."""
WIDE_RANGE = torch.float8_e5m2
"""The other type that X may have in fp8: less precise, with a wider range, as for gradients."""


class Implementation(ABC):
    """A named way to compute the product of a problem."""

    name: str
    fixes_threads: bool = False
    """Whether a product keeps the number of CPU threads that torch had when it was prepared."""

    @abstractmethod
    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        """Why this problem cannot be computed on the device, as a sentence; None where it can."""

    @abstractmethod
    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        """A closure that only launches; weights of shape (a, b, c, d) are re-laid out here, untimed.

        Raises:
            UnsupportedError: `unsupported` returns a reason.
        """

    def lay_out(self, problem: Problem, weights: torch.Tensor, transposed: bool = False) -> Any:  # noqa: ANN401
        """The weights in the order in which products of this pattern read them, whatever the batch.

        May be a view of `weights` where they are read as they lie.

        Args:
            problem: One of the problems that the weights serve; only its batch may differ from the others'.
            weights: Of shape (a, b, c, d), or those of Kᵀ, of shape (a, c, b, d), where `transposed`.
            transposed: Whether to multiply by the transpose of each block.
        """
        del problem
        return weights.transpose(1, 2).contiguous() if transposed else weights

    def product(self, problem: Problem, laid_out: Any) -> Product:  # noqa: ANN401
        """A closure over weights from `lay_out`, for the batch of this problem.

        Raises:
            UnsupportedError: `unsupported` returns a reason.
        """
        return self.prepare(problem, laid_out)

    def live_product(self, problem: Problem, device: torch.device, transposed: bool = False) -> LiveProduct:
        """A product that lays out its weights at each call, so that it needs no copy of them.

        Raises:
            UnsupportedError: `unsupported` returns a reason.
        """
        del device

        def product(weights: torch.Tensor, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
            y = self.product(problem, self.lay_out(problem, weights, transposed))(x)
            return add_bias(problem, y, bias)

        return product

    def weight_order(self, problem: Problem, device: torch.device) -> Hashable:
        """Problems that differ in their batch at most share laid-out weights where this is equal."""
        del problem, device
        return None

    def reads_in_place(self, problem: Problem, transposed: bool) -> bool:
        """Whether `lay_out` is a view of contiguous weights, so that nothing is worth keeping."""
        del problem, transposed
        return False

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

    def caveats(self, problem: Problem, device: torch.device) -> tuple[str, ...]:
        """Flags of what its time includes besides the product; empty for most."""
        del problem, device
        return ()

    def compile_ms(self, problem: Problem, device: torch.device) -> float | None:
        """Time that the last `prepare` of this problem spent compiling; None where nothing is compiled."""
        del problem, device
        return None

    def code_hash(self, problem: Problem, device: torch.device) -> str | None:
        """Hash of the machine code, where this project compiles it; None for libraries."""
        del problem, device
        return None

    def tile(self, problem: Problem, device: torch.device) -> str | None:
        """The tile that the kernel chooses, readable; None for libraries."""
        del problem, device
        return None


def add_bias(problem: Problem, y: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Y with a bias of any dtype, if there is one, added in place to each sample."""
    if bias is None:
        return y
    return y.add_((bias if problem.layout == "batch_first" else bias[:, None]).to(y.dtype))


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
