"""Gradients of two factors in one pass, whose intermediate is computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from kswatch.kernels.layer.prepared_products import Kept, LaidOutWeight, copied
from kswatch.kernels.layer.torch_operator import Gradients, differentiate, multiply
from kswatch.kernels.problem import Layout


class OnePass(torch.autograd.Function):
    """Y = K2 K1 x + bias with the gradients, of every order, of one factor after the other.

    The intermediate is that of the weights of the forward pass, however they were changed since: a copy of
    the first factor's, which are few beside the activations, is kept where the second's want a gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (torch's context)
        compute: Callable[[], torch.Tensor],
        kept: tuple[Kept, Kept],
        first_copy: LaidOutWeight | None,
        settings: tuple[str, Layout],
        x: torch.Tensor,
        first: torch.Tensor,
        second: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """The values.

        Args:
            ctx: torch's context.
            compute: The one pass.
            kept: What both factors keep of their weights.
            first_copy: The first weight as it is now; copied where there is none.
            settings: Algorithm and layout.
            x: The input, of shape (batch, features) or (features, batch).
            first: The weight of the right-most factor, (a, b, c, d).
            second: That of the other.
            bias: One value for each feature of Y, or None.
        """
        x_needed, first_needed, second_needed, _ = ctx.needs_input_grad[4:]
        weights = first, second
        if second_needed:
            ctx.first = Kept()
            ctx.first.source, ctx.first.copy = first, first_copy or LaidOutWeight(copied(first))
        ctx.frozen = [
            one if one.source is weight else None for one, weight in zip(kept, weights, strict=True)
        ]
        ctx.settings, ctx.bias_dtype = settings, None if bias is None else bias.dtype
        ctx.forms = [(weight.shape, weight.dtype) for weight in weights]
        ctx.save_for_backward(
            x if first_needed or second_needed else None,
            first if x_needed else None,
            second if x_needed or first_needed else None,
        )
        return compute()

    @staticmethod
    def backward(ctx: Any, y_gradient: torch.Tensor) -> Any:  # noqa: ANN401
        """Those of the second factor, then those of the first."""
        x, first, second = ctx.saved_tensors
        x_needed, first_needed, second_needed, bias_needed = ctx.needs_input_grad[4:]
        algorithm, layout = ctx.settings

        def gradients(
            place: int,
            x: torch.Tensor | None,
            weight: torch.Tensor | None,
            y_gradient: torch.Tensor,
            needed: tuple[bool, bool, bool],
        ) -> Gradients:
            """Of the factor at this place."""
            form, kept, bias_dtype = ctx.forms[place], ctx.frozen[place], ctx.bias_dtype if place else None
            return differentiate(
                x, weight, y_gradient, form, bias_dtype, False, algorithm, layout, needed, kept
            )

        between = None
        if second_needed:
            between = multiply(x, ctx.first.source, None, False, algorithm, layout, kept=ctx.first)
        needed = x_needed or first_needed, second_needed, bias_needed
        between_gradient, *of_second = gradients(1, between, second, y_gradient, needed)
        of_first: tuple[torch.Tensor | None, ...] = None, None
        if between_gradient is not None:
            of_first = gradients(0, x, first, between_gradient, (x_needed, first_needed, False))[:2]
        return None, None, None, None, *of_first, *of_second
