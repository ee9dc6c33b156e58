"""Frozen layers: products of the weights as they were, used until they are refreshed."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from kswatch.errors import UsageError
from kswatch.kernels.layer.prepared_products import Kept
from kswatch.kernels.layer.scaled_weight import ScaledWeight
from kswatch.kernels.reference import ScalePer

Layer = Any
"""A KSLinear, which imports this module."""


def freeze(layer: Layer, scale_per: ScalePer | None = None) -> None:
    """Keep copies of all parameters of a layer; a frozen layer is frozen anew.

    Args:
        layer: The layer.
        scale_per: Quantise the weights to fp8, with a scale for each of these; None for their own precision.

    Raises:
        UsageError: its weights want gradients in training mode; or they are computed, sharded or on meta.
    """
    if layer.training and _wants_gradients(layer):
        raise UsageError(
            "the weights of this layer want gradients, and in training mode a frozen layer would not see "
            "them change; call layer.eval() or layer.requires_grad_(False) first"
        )
    parameters = [
        (factor, factor.weight, bias) for factor, bias in zip(layer.factors, layer.biases(), strict=True)
    ]
    for _, weight, bias in parameters:
        for parameter in (weight, bias):
            _require_plain(parameter)
    for factor, weight, bias in parameters:
        factor.kept.freeze(weight, bias, ScaledWeight(weight, scale_per) if scale_per else None)


def refuse_training(layer: Layer) -> None:
    """Raise where a frozen layer is about to be trained.

    Raises:
        UsageError: its weights want gradients.
    """
    if torch.is_grad_enabled() and is_frozen(layer) and _wants_gradients(layer):
        raise UsageError(
            "this layer is frozen, so training would not change its outputs; call layer.unfreeze() first"
        )


def refresh(layer: Layer) -> None:
    """Freeze a frozen layer anew, with its present weights and in the same way."""
    scaled = next((kept.scaled for kept in _all_kept(layer)), None)
    freeze(layer, scaled.scale_per if scaled else None)


def release(layer: Layer) -> None:
    """Free what is kept for a layer, frozen or not."""
    for kept in _all_kept(layer):
        kept.clear()


def is_frozen(layer: Layer) -> bool:
    """Whether copies of the layer's parameters are used in place of them."""
    return any(kept.source is not None for kept in _all_kept(layer))


def _all_kept(layer: Layer) -> list[Kept]:
    """Of the factors; one of another class keeps nothing."""
    return [factor.kept for factor in layer.factors if isinstance(getattr(factor, "kept", None), Kept)]


def _wants_gradients(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters())


def _require_plain(parameter: torch.Tensor | None) -> None:
    if parameter is not None and (type(parameter) is not nn.Parameter or parameter.is_meta):
        raise UsageError(
            f"a {type(parameter).__name__} on {parameter.device} cannot be frozen: it is computed at each "
            "use, sharded or without values; freeze the layer after that was undone"
        )
