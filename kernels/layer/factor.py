"""One Kronecker-sparse factor with its weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from kswatch.errors import UsageError
from kswatch.kernels.layer.prepared_products import PRECISION_OF, precision_of, prepared_for
from kswatch.kernels.layer.torch_operator import multiply, product
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Layout


class KSFactor(nn.Module):
    """y = K x for one pattern, with any implementation and with gradients.

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

    def forward(
        self, x: torch.Tensor, algorithm: str, layout: Layout, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The product with x of shape (batch, acd) or (acd, batch), plus the bias; batch may be 0.

        Raises:
            UsageError: x has a different dtype or device than the weight.
            UnsupportedError: the algorithm cannot compute this product here.
        """
        weight = self._parameters.get("weight")
        if weight is None:  # it is parametrized; tried last, since torch's attribute look-up is slow
            weight = self.weight
        if x.dtype != weight.dtype or x.device != weight.device:
            _refuse_unless_autocast(x, weight)
        if torch.compiler.is_compiling():
            return product(x, weight, bias, False, algorithm, layout)
        return multiply(x, weight, bias, False, algorithm, layout)

    def extra_repr(self) -> str:
        """The pattern, for `print`."""
        return str(self.pattern)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> KSFactor:
        """Called by `.to()`, `.cuda()`, `.half()`; frees the products prepared for the previous weight."""
        if (weight := self._parameters.get("weight")) is not None:
            prepared_for(weight).clear()
        return super()._apply(fn, recurse)


def _refuse_unless_autocast(x: torch.Tensor, weight: torch.Tensor) -> None:
    roundable = torch.float64 not in (x.dtype, weight.dtype) and x.is_floating_point()
    if x.device == weight.device and roundable and torch.is_autocast_enabled(x.device.type):
        return
    raise UsageError(
        f"the input is {x.dtype} on {x.device}, the layer's weights are {weight.dtype} on "
        f"{weight.device}; convert either with .to()"
    )
