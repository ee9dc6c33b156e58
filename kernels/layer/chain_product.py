"""Two factors of a layer in one pass on a CPU, bit for bit as by two products.

Whatever is not plain (other devices, transforms, tracers, autocast, hooks on a factor, parametrized weights)
is left to the factors, one after the other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules import module as torch_module

from kswatch.kernels.catalogue import implementation
from kswatch.kernels.fused.cpu_twin import chain
from kswatch.kernels.fused.cpu_twin.twin import CPU, PackedWeights
from kswatch.kernels.layer.factor import KSFactor
from kswatch.kernels.layer.prepared_products import (
    MAX_CLOSURES,
    PRECISION_OF,
    Kept,
    ProductKey,
    chosen,
    laid_out_weights,
)
from kswatch.kernels.layer.torch_operator import (
    differentiate,
    is_observed,
    is_plain,
    is_transformed,
    multiply,
)
from kswatch.kernels.problem import Layout, Problem

FUSED = "fused"
HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")
Pair = tuple[Any, Any]
"""Two factors: modules of a layer, which are `KSFactor`s unless somebody replaced one."""


def multiply_pair(
    pair: Pair,
    x: torch.Tensor,
    algorithm: str,
    layout: Layout,
    bias: torch.Tensor | None,
    keep_intermediate: bool = False,
) -> torch.Tensor | None:
    """K2 K1 x + bias for x of shape (batch, features) or (features, batch); None where one pass cannot.

    Args:
        pair: The right-most factor, then the other.
        x: The input.
        algorithm: As in `KSLinear`; those that choose take one pass where they choose `fused` for both.
        layout: As in `KSLinear`.
        bias: One value for each feature of the result, or None.
        keep_intermediate: Keep K1 x for the gradient, instead of computing it again.
    """
    first, second = (factor._parameters.get("weight") for factor in pair)
    if x.device.type != "cpu" or first is None or second is None:
        return None
    operands = x, first, second, bias
    if not _is_plain_call(pair, operands):
        return None
    key = algorithm, x.shape[0 if layout == "batch_first" else 1], PRECISION_OF[x.dtype], layout, False
    kept_chain = _chain_for(pair[1].kept, first, second, key)
    if kept_chain.problems is None:
        return None
    if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in operands):
        return _Chain.apply(pair, kept_chain, key, keep_intermediate, *operands)
    return _compute(kept_chain, x, first, second, bias, (pair[0].kept, pair[1].kept))


def _is_plain_call(pair: Pair, operands: tuple[torch.Tensor | None, ...]) -> bool:
    """Whether nothing but the values of the two products can be expected of this call."""
    x = operands[0]
    if x is None or is_observed() or is_transformed() or x.dtype not in PRECISION_OF or not x.numel():
        return False
    plain = all(
        one is None or (is_plain(one) and one.dtype is x.dtype and one.device.type == "cpu")
        for one in operands
    )
    hooked = any(getattr(torch_module, f"_global_{name}") for name in HOOKS) or any(
        getattr(factor, f"_{name}") for factor in pair for name in HOOKS
    )
    return plain and not hooked and not torch.is_autocast_enabled("cpu") and _are_own(pair)


def _are_own(pair: Pair) -> bool:
    """Whether calling the factors does nothing but run the `forward` of their class."""
    return all(type(factor) is KSFactor and "forward" not in vars(factor) for factor in pair)


class KeptChain:
    """What is made for a product of two factors."""

    def __init__(self, problems: tuple[Problem, Problem] | None) -> None:
        self.problems = problems
        """None where the two are multiplied one after the other."""
        self.kept: tuple[tuple[PackedWeights, PackedWeights], chain.ChainProduct] | None = None
        """The newest product, with the weights that it reads."""

    def product(self, packed: tuple[PackedWeights, PackedWeights]) -> chain.ChainProduct:
        """The product of these weights, kept for the next call with the same ones."""
        kept = self.kept
        if kept is None or kept[0][0] is not packed[0] or kept[0][1] is not packed[1]:
            assert self.problems is not None
            kept = self.kept = packed, chain.product(self.problems, packed)
        return kept[1]


def _chain_for(kept: Kept, first: torch.Tensor, second: torch.Tensor, key: ProductKey) -> KeptChain:
    """The chain of this key, decided at its first call."""
    kept_chain = kept.chains.get(key)
    if kept_chain is None:
        if len(kept.chains) >= MAX_CLOSURES:
            kept.chains.clear()
        kept_chain = kept.chains[key] = KeptChain(_problems(first, second, key))
    return kept_chain


def _problems(first: torch.Tensor, second: torch.Tensor, key: ProductKey) -> tuple[Problem, Problem] | None:
    """Both products, where the twin computes both; `fused` asks for one after the other."""
    if key[0] == FUSED:
        return None
    pairs = [chosen(weight, key) for weight in (first, second)]
    if any(used.name != FUSED or used.unsupported(problem, CPU) for used, problem in pairs):
        return None
    return pairs[0][1], pairs[1][1]


def _compute(
    kept_chain: KeptChain,
    x: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    bias: torch.Tensor | None,
    kept: tuple[Kept | None, Kept | None],
) -> torch.Tensor:
    """The values only, of the present weights or the frozen ones."""
    assert kept_chain.problems is not None
    fused = implementation(FUSED)
    packed = (
        laid_out_weights(first, fused, kept_chain.problems[0], kept[0]),
        laid_out_weights(second, fused, kept_chain.problems[1], kept[1]),
    )
    bias = bias if kept[1] is None else kept[1].present_bias(bias)
    product = chain.product(kept_chain.problems, packed) if None in kept else kept_chain.product(packed)
    return product(x.contiguous(), bias)


class _Chain(torch.autograd.Function):
    """The same with gradients, whose intermediate is computed again unless it was to be kept."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (torch's context)
        pair: Pair,
        kept_chain: KeptChain,
        key: ProductKey,
        keep_intermediate: bool,
        *operands: Any,  # noqa: ANN401
    ) -> torch.Tensor:
        """The values. A weight that wants a gradient changes at each step, so nothing of it is kept."""
        x, first, second, bias = operands
        ctx.key, ctx.forms = key, [(weight.shape, weight.dtype) for weight in (first, second)]
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.kept = tuple(
            None if weight.requires_grad and factor.kept.source is None else factor.kept
            for factor, weight in zip(pair, (first, second), strict=True)
        )
        needed = ctx.needs_input_grad[4:]
        between = None
        if keep_intermediate and needed[2]:
            between = multiply(x, first, None, False, key[0], key[3], kept=ctx.kept[0])
            y = multiply(between, second, bias, False, key[0], key[3], kept=ctx.kept[1])
        else:
            y = _compute(kept_chain, x, first, second, bias, ctx.kept)
        again = needed[2] and between is None
        ctx.save_for_backward(
            x if needed[1] or again else None,
            first if needed[0] or again else None,
            second if needed[0] or needed[1] else None,
            between,
        )
        return y

    @staticmethod
    def backward(ctx: Any, y_gradient: torch.Tensor) -> Any:  # noqa: ANN401
        """Through the second factor, then through the first."""
        x, first, second, between = ctx.saved_tensors
        algorithm, layout = ctx.key[0], ctx.key[3]
        needed = ctx.needs_input_grad[4:]
        if needed[2] and between is None:
            between = multiply(x, first, None, False, algorithm, layout, kept=ctx.kept[0])
        settings = False, algorithm, layout
        wanted = needed[0] or needed[1], needed[2], needed[3]
        gradient, second_gradient, bias_gradient = differentiate(
            between if needed[2] else None,
            second,
            y_gradient,
            ctx.forms[1],
            ctx.bias_dtype,
            *settings,
            wanted,
            ctx.kept[1],
        )
        x_gradient = first_gradient = None
        if gradient is not None:
            x_gradient, first_gradient, _ = differentiate(
                x if needed[1] else None,
                first if needed[0] else None,
                gradient,
                ctx.forms[0],
                None,
                *settings,
                (needed[0], needed[1], False),
                ctx.kept[0],
            )
        return None, None, None, None, x_gradient, first_gradient, second_gradient, bias_gradient
