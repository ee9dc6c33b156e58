"""One Kronecker-sparse factor with its weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from kernels import torch_operator
from kernels.pattern import Pattern
from kernels.prepared import PRECISION_OF, PreparedProducts, precision_of, prepared_for
from kernels.problem import Layout
from kswatch_errors import UsageError


class KSFactor(nn.Module):
    """y = K x for one pattern, by any implementation, with gradients.

    Attributes:
        weight: Parameter of shape (a, b, c, d).
    """

    def __init__(
        self,
        pattern: Pattern,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if dtype not in (*PRECISION_OF, torch.float64):
            precision_of(dtype, torch.device("cpu"))
        self.pattern = pattern
        self.weight = nn.Parameter(torch.empty(pattern.as_tuple(), device=device, dtype=dtype))
        self._prepared = PreparedProducts()

    def forward(
        self, x: torch.Tensor, algorithm: str, layout: Layout, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The product with x of shape (batch, acd) or (acd, batch), plus the bias; batch may be 0.

        Raises:
            UsageError: x has another dtype or device than the weight.
            UnsupportedError: the algorithm cannot compute this product here.
        """
        weight = self.weight
        if x.dtype != weight.dtype or x.device != weight.device:
            _refuse_unless_autocast(x, weight)
        if _needs_dispatcher(x, weight, bias):
            return torch_operator.product(x, weight, bias, False, algorithm, layout)
        batch = x.shape[0 if layout == "batch_first" else 1]
        if batch == 0 or x.dtype == torch.float64:
            return torch_operator.compute(x, weight, bias, False, algorithm, layout)
        if not self._prepared.are_of(weight):
            self._prepared = prepared_for(weight)
        question = (algorithm, batch, precision_of(x.dtype, x.device), layout, False)
        y = self._prepared.product(weight, question)(x if x.is_contiguous() else x.contiguous())
        return y if bias is None else torch_operator.add_bias(y, bias, layout)

    def extra_repr(self) -> str:
        """The pattern, as `print` shows it."""
        return str(self.pattern)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> KSFactor:
        """Behind `.to()`, `.cuda()`, `.half()`: what was prepared for the former weight is let go."""
        self._prepared.forget()
        return super()._apply(fn, recurse)


def _needs_dispatcher(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    """Whether somebody other than the device must see this product: autograd, autocast, a tracer, a mode.

    torch's dispatcher costs a Python operator more than a launch takes, so that plain inference goes by it.
    """
    if torch.compiler.is_compiling() or torch._C._is_any_autocast_enabled():
        return True
    if torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return True
    return (
        type(x) is not torch.Tensor
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


def _refuse_unless_autocast(x: torch.Tensor, weight: torch.Tensor) -> None:
    roundable = torch.float64 not in (x.dtype, weight.dtype) and x.is_floating_point()
    if x.device == weight.device and roundable and torch.is_autocast_enabled(x.device.type):
        return
    raise UsageError(
        f"the input is {x.dtype} on {x.device}, the layer's weights are {weight.dtype} on "
        f"{weight.device}; convert either with .to()"
    )
