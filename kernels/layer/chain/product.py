"""Two factors of a layer in one pass (on a GPU one launch), with the bits of two.

Whatever is not plain (other devices, transforms, tracers, autocast, hooks on a factor, computed or
substituted weights) is left to the factors, one after the other.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from kswatch.kernels.catalogue import implementation
from kswatch.kernels.fused.cpu_twin import chain
from kswatch.kernels.layer.algorithm_choice import LAYER_ALGORITHMS
from kswatch.kernels.layer.chain import gpu_product
from kswatch.kernels.layer.chain.gradients import OnePass
from kswatch.kernels.layer.factor import KSFactor
from kswatch.kernels.layer.prepared_products import (
    MAX_CLOSURES,
    PRECISION_OF,
    Kept,
    LaidOutWeight,
    ProductKey,
    chosen,
    copied,
    precision_of,
)
from kswatch.kernels.layer.torch_operator import NATIVE, is_observed, is_plain, is_transformed
from kswatch.kernels.problem import Layout, Problem

FUSED = "fused"
GPU = "cuda"
Problems = tuple[Problem, Problem]
_module_call = nn.Module.__call__


def multiply_pair(
    pair: tuple[Any, Any],
    x: torch.Tensor,
    algorithm: str,
    layout: Layout,
    bias: torch.Tensor | None,
    keep_intermediate: bool,
) -> torch.Tensor | None:
    """K2 K1 x + bias for x of shape (batch, features) or (features, batch); None where one pass cannot.

    Args:
        pair: The right-most factor, then the other: `KSFactor`s, unless somebody replaced one.
        x: The input.
        algorithm: As in `KSLinear`; those that choose take one pass where they choose `fused` for both.
        layout: As in `KSLinear`.
        bias: One value for each feature of the result, or None.
        keep_intermediate: As in `KSLinear`: one pass does not keep it. Where it is smaller than the copy of a
            weight that computing it again would need, it is kept, too.
    """
    on_gpu = x.device.type == GPU
    if algorithm not in LAYER_ALGORITHMS or not (on_gpu or x.device.type == "cpu") or not _are_plain(pair):
        return None
    if any(factor.kept.scaled is not None for factor in pair):  # frozen in fp8
        return None
    first, second = (factor._parameters.get("weight") for factor in pair)
    if first is None or second is None or not _is_plain_call(x, first, second, bias):
        return None
    kept, weights = (pair[0].kept, pair[1].kept), (first, second)
    wants_gradient, recomputes = _gradients_of_call(x, first, second, bias)
    batch, precision = x.shape[0 if layout == "batch_first" else 1], precision_of(x.dtype, x.device)
    key = algorithm, batch, precision, layout, False
    problems = _problems_of(kept[1], first, second, key)
    if problems is None or (bias is not None and bias.shape != (problems[1].pattern.rows,)):
        return None
    is_small = recomputes and batch * problems[0].pattern.rows <= first.numel()
    if is_small or (wants_gradient and keep_intermediate):
        return None
    made = (
        gpu_product.product(kept, weights, problems) if on_gpu else _cpu_product(kept, weights, key, problems)
    )
    if made is None:
        return None
    product, first_copy = made
    compute = partial(product, x.contiguous(), kept[1].present_bias(bias))
    if not wants_gradient:
        return compute()
    return OnePass.apply(compute, kept, first_copy, (algorithm, layout), x, first, second, bias)


def _gradients_of_call(
    x: torch.Tensor, first: torch.Tensor, second: torch.Tensor, bias: torch.Tensor | None
) -> tuple[bool, bool]:
    """Whether a gradient is wanted, and whether its computation needs the intermediate."""
    if not torch.is_grad_enabled():
        return False, False
    operands = (x, first, second) if bias is None else (x, first, second, bias)
    return any(one.requires_grad for one in operands), second.requires_grad


def _cpu_product(
    kept: tuple[Kept, Kept], weights: tuple[torch.Tensor, torch.Tensor], key: ProductKey, problems: Problems
) -> tuple[chain.ChainProduct, LaidOutWeight] | None:
    """The product and the first weight that it multiplies by; None for weights that may be substituted."""
    is_trained = torch.is_grad_enabled() and any(weight.requires_grad for weight in weights)
    if is_trained and kept[0].source is None and kept[1].source is None:  # weights change at each step
        copies = LaidOutWeight(copied(weights[0])), LaidOutWeight(weights[1].detach().contiguous())
        return Chain(copies).product(key, problems), copies[0]
    first, second = (one.copy_of(weight) for one, weight in zip(kept, weights, strict=True))
    if first is None or second is None:
        return None
    made = kept[1].chain
    if made is None or made.copies[0] is not first or made.copies[1] is not second:
        made = kept[1].chain = Chain((first, second))
    return made.product(key, problems), first


class Chain:
    """The products of two copies of weights, which it keeps alive until the copies are replaced."""

    def __init__(self, copies: tuple[LaidOutWeight, LaidOutWeight]) -> None:
        self.copies = copies
        self._products: dict[ProductKey, chain.ChainProduct] = {}

    def product(self, key: ProductKey, problems: Problems) -> chain.ChainProduct:
        """The product of these problems, made at its first call."""
        found = self._products.get(key)
        if found is None:
            fused = implementation(FUSED)
            first, second = (
                copy.laid_out_for(fused, problem) for copy, problem in zip(self.copies, problems, strict=True)
            )
            if len(self._products) >= MAX_CLOSURES:
                self._products.clear()
            found = self._products[key] = chain.product(problems, (first, second))
        return found


def _are_plain(pair: tuple[Any, Any]) -> bool:
    """Whether calling both factors does nothing but run `KSFactor.forward`."""
    if KSFactor.forward is not NATIVE.factor_forward or nn.Module.__call__ is not _module_call:
        return False
    if (
        torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
    ):
        return False
    return all(
        type(factor) is KSFactor
        and not factor._forward_hooks
        and not factor._forward_pre_hooks
        and not factor._backward_hooks
        and not factor._backward_pre_hooks
        and "forward" not in factor.__dict__
        for factor in pair
    )


def _is_plain_call(
    x: torch.Tensor, first: torch.Tensor, second: torch.Tensor, bias: torch.Tensor | None
) -> bool:
    """Whether nothing but the values of the two products can be expected of this call."""
    if is_observed() or is_transformed() or torch.is_autocast_enabled(x.device.type):
        return False
    if x.dtype not in PRECISION_OF or not x.numel():
        return False
    operands = (x, first, second) if bias is None else (x, first, second, bias)
    return all(is_plain(one) and one.dtype is x.dtype and one.device == x.device for one in operands)


def _problems_of(kept: Kept, first: torch.Tensor, second: torch.Tensor, key: ProductKey) -> Problems | None:
    """Both products, where one pass computes both; decided at the first call of a kind."""
    kind = key, first.device, first.shape, second.shape
    if kind not in kept.chain_problems:
        if len(kept.chain_problems) >= MAX_CLOSURES:
            kept.chain_problems.clear()
        kept.chain_problems[kind] = _decide(first, second, key)
    return kept.chain_problems[kind]


def _decide(first: torch.Tensor, second: torch.Tensor, key: ProductKey) -> Problems | None:
    device = first.device
    used = [chosen(weight, key) for weight in (first, second)]
    if any(one.name != FUSED or one.unsupported(problem, device) for one, problem in used):
        return None
    problems = used[0][1], used[1][1]
    if problems[0].pattern.rows != problems[1].pattern.columns:
        return None
    if device.type == GPU:
        return problems if gpu_product.is_chosen(problems, device, key[0]) else None
    return None if chain.tile_size(*problems) is None else problems
