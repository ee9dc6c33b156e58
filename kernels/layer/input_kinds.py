"""Inputs that are not plain dense tensors: nested ones are computed, others refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from kswatch.errors import UsageError

Layer = Callable[[torch.Tensor], torch.Tensor]
"""Applies a layer to a dense tensor (..., features)."""


def is_dense(x: torch.Tensor) -> bool:
    """Whether x is a tensor, also of a subclass, with sizes and strides: neither nested nor sparse."""
    return isinstance(x, torch.Tensor) and x.layout is torch.strided and not x.is_nested


def require_dense(x: object, module: str) -> None:
    """Check that x is a dense tensor, for what takes no nested ones.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(x, torch.Tensor) and x.is_nested:
        raise UsageError(f"{module} takes a dense tensor, not a nested one; pass its values or components")
    if not isinstance(x, torch.Tensor) or not is_dense(x):
        raise UsageError(_refusal(x, module))


def call_as_leaf(layer: torch.nn.Module, x: torch.fx.Proxy) -> torch.fx.Proxy:
    """The call of a layer as one node of `torch.fx.symbolic_trace`, as for torch's own layers.

    Raises:
        UsageError: the layer is traced by itself, not as a part of a model.
    """
    path = x.tracer.path_of_module(layer)
    if not path:
        raise UsageError(
            f"torch.fx.symbolic_trace takes {type(layer).__name__} as a part of a model only; "
            "wrap it in nn.Sequential"
        )
    return x.tracer.create_proxy("call_module", path, (x,), {})


def apply_to_nested(layer: Layer, x: torch.Tensor, features_last: bool) -> torch.Tensor:
    """The layer applied to a nested tensor (batch, ragged, ..., features) of either layout; so is the result.

    All rows are one product. Gradients reach x and the layer.

    Raises:
        UsageError: x is of another kind, or its features are not on the last axis.
    """
    if not isinstance(x, torch.Tensor) or not x.is_nested:
        raise UsageError(_refusal(x))
    if not features_last:
        raise UsageError(
            "a nested tensor has its batch on axis 0, where batch_last takes the features; "
            'use layout="batch_first"'
        )
    return _apply_to_jagged(layer, x) if x.layout is torch.jagged else _apply_to_components(layer, x)


def _apply_to_jagged(layer: Layer, x: Any) -> torch.Tensor:  # noqa: ANN401  (torch has no class for it)
    ragged: int = x._ragged_idx
    if ragged == x.dim() - 1:
        raise UsageError("the last axis of this nested tensor is ragged; KSLinear takes the features there")
    y = layer(x.values())
    return torch.nested.nested_tensor_from_jagged(y, x.offsets(), x.lengths(), jagged_dim=ragged)


def _apply_to_components(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    """Of a nested tensor in the strided layout."""
    components = x.unbind()
    if len({component.shape[-1:] for component in components}) != 1 or not components[0].dim():
        raise UsageError("this nested tensor has no components of one size on the last axis, the features")
    features = components[0].shape[-1]
    rows = [component.reshape(-1, features) for component in components]
    parts = layer(torch.cat(rows)).split([len(part) for part in rows])
    outputs = [
        part.reshape(*component.shape[:-1], part.shape[-1])
        for part, component in zip(parts, components, strict=True)
    ]
    return torch.nested.as_nested_tensor(outputs)


def _refusal(x: object, module: str = "KSLinear") -> str:
    if not isinstance(x, torch.Tensor):
        return f"{module} takes a torch.Tensor, not {type(x).__name__}; convert it with torch.as_tensor"
    return f"{module} takes a dense tensor, and the input has the layout {x.layout}; pass x.to_dense()"
