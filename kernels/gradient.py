"""Gradients of the product, whichever implementation computed it."""

from __future__ import annotations

from typing import Any

import torch

from kernels.implementation import Product
from kernels.pattern import Pattern
from kernels.problem import Layout

X_INDICES = {"batch_first": "nilj", "batch_last": "iljn"}
Y_INDICES = {"batch_first": "nikj", "batch_last": "ikjn"}


def formula(pattern: Pattern, layout: Layout, weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The product as its definition says, differentiable by torch, for any batch, 0 included."""
    equation = f"iklj,{X_INDICES[layout]}->{Y_INDICES[layout]}"
    return _flat(layout, torch.einsum(equation, weights, _indexed(pattern, layout, x)))


class DifferentiableProduct(torch.autograd.Function):
    """`product(x)` with the gradients of x and weights by `formula`, themselves differentiable."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (torch's own context)
        x: torch.Tensor,
        weights: torch.Tensor,
        pattern: Pattern,
        layout: Layout,
        product: Product,
    ) -> torch.Tensor:
        """The product by an implementation prepared for these weights."""
        ctx.save_for_backward(x, weights)
        ctx.pattern, ctx.layout = pattern, layout
        return product(x)

    @staticmethod
    def backward(ctx: Any, y_gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        """Kᵀ, of pattern (a, c, b, d), applied to the gradient of Y; and the outer product of that with X."""
        x, weights = ctx.saved_tensors
        pattern, layout = ctx.pattern, ctx.layout
        x_gradient = weights_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = formula(pattern.transposed, layout, weights.transpose(1, 2), y_gradient)
        if ctx.needs_input_grad[1]:
            equation = f"{Y_INDICES[layout]},{X_INDICES[layout]}->iklj"
            operands = _indexed(pattern, layout, y_gradient), _indexed(pattern, layout, x)
            weights_gradient = torch.einsum(equation, *operands)
        return x_gradient, weights_gradient, None, None, None


def _indexed(pattern: Pattern, layout: Layout, activations: torch.Tensor) -> torch.Tensor:
    """X or Y as a 4-D view with the indices of the equations."""
    return activations.unflatten(_axis(layout), (pattern.a, -1, pattern.d))


def _flat(layout: Layout, indexed: torch.Tensor) -> torch.Tensor:
    return indexed.flatten(_axis(layout), _axis(layout) + 2)


def _axis(layout: Layout) -> int:
    return 1 if layout == "batch_first" else 0
