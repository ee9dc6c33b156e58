"""One Kronecker-sparse factor with its weights, and the products prepared for them."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import nn

from kernels.choosing import choose
from kernels.gradient import DifferentiableProduct, formula
from kernels.implementation import Product
from kernels.pattern import Pattern
from kernels.precision import allows_tf32
from kernels.problem import Layout, Precision, Problem
from kswatch_errors import UsageError

PRECISION_OF: dict[torch.dtype, Precision] = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}

PREPARED_PRODUCTS = 4
"""Batch sizes for which a factor keeps its weights re-laid out; each is a copy of them."""


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
        precision_of(dtype)
        self.pattern = pattern
        self.weight = nn.Parameter(torch.empty(pattern.as_tuple(), device=device, dtype=dtype))
        self._prepared = PreparedProducts(pattern)

    def forward(self, x: torch.Tensor, algorithm: str, layout: Layout) -> torch.Tensor:
        """The product with x of shape (batch, acd) or (acd, batch), contiguous; batch may be 0.

        Raises:
            UsageError: x has another dtype or device than the weight.
            UnsupportedError: the algorithm cannot compute this product here.
        """
        weight = self.weight
        if x.dtype != weight.dtype or x.device != weight.device:
            raise UsageError(
                f"the input is {x.dtype} on {x.device}, the layer's weights are {weight.dtype} on "
                f"{weight.device}; convert either with .to()"
            )
        batch = x.shape[0 if layout == "batch_first" else 1]
        if batch == 0:
            return formula(self.pattern, layout, weight, x)
        precision = "tf32" if x.dtype == torch.float32 and allows_tf32(x.device) else precision_of(x.dtype)
        product = self._prepared.product(weight, algorithm, batch, precision, layout)
        if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
            return DifferentiableProduct.apply(x, weight, self.pattern, layout, product)
        return product(x)

    def extra_repr(self) -> str:
        """The pattern, as `print` shows it."""
        return str(self.pattern)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> KSFactor:
        """Behind `.to()`, `.cuda()`, `.half()`: what was prepared for the former weight is let go."""
        self._prepared.forget()
        return super()._apply(fn, recurse)


class PreparedProducts:
    """A factor's prepared products, for as long as its weights are what they were."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self.forget()

    def forget(self) -> None:
        """Free the re-laid weights."""
        self._products: dict[tuple[str, int, Precision, Layout], Product] = {}
        self._weights: Callable[[], torch.Tensor | None] = lambda: None
        self._state: tuple[int, int] | None = None

    def product(
        self, weights: torch.Tensor, algorithm: str, batch: int, precision: Precision, layout: Layout
    ) -> Product:
        """The product prepared earlier for the same question and weights, or a new one."""
        state = _state(weights)
        if state is None or state != self._state or self._weights() is not weights:
            self.forget()
            self._weights, self._state = weakref.ref(weights), state
        question = (algorithm, batch, precision, layout)
        product = self._products.get(question)
        if product is None:
            problem = Problem(self._pattern, batch, precision, layout)
            product = choose(algorithm, problem, weights.device, weights.detach()).prepare(
                problem, weights.detach()
            )
            if len(self._products) == PREPARED_PRODUCTS:
                del self._products[next(iter(self._products))]
            self._products[question] = product
        return product

    def __reduce__(self) -> tuple[type[PreparedProducts], tuple[Pattern]]:
        """Copied and pickled empty: a copy has weights of its own."""
        return PreparedProducts, (self._pattern,)


def precision_of(dtype: torch.dtype) -> Precision:
    """The precision of products of that dtype, where torch's TF32 switch is off.

    Raises:
        UsageError: there is none.
    """
    if dtype not in PRECISION_OF:
        names = ", ".join(str(known) for known in PRECISION_OF)
        raise UsageError(f"KSLinear computes in {names}, not in {dtype}; pass dtype=torch.float32")
    return PRECISION_OF[dtype]


def _state(weights: torch.Tensor) -> tuple[int, int] | None:
    """Where the weights lie and how often they were changed in place; None where torch does not count."""
    return None if weights.is_inference() else (weights.data_ptr(), weights._version)
