"""The matrix and bias of a dense layer, read for `KSLinear.from_linear`.

Only a layer that computes x·Wᵀ + bias with nothing of its own is read: a layer with another forward, or whose
weights are quantised, sharded or set by a hook, would be projected to something that it does not compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from kswatch.errors import UsageError


@dataclass(frozen=True)
class DenseSource:
    """A dense layer's matrix and the flags that a replacement inherits."""

    matrix: torch.Tensor
    """(features out, features in), detached."""
    bias: torch.Tensor | None
    """(features out,), detached."""
    matrix_requires_grad: bool
    bias_requires_grad: bool


def read_dense(layer: nn.Module) -> DenseSource:
    """The matrix and bias of an `nn.Linear`, or of the `Conv1D` of transformers, which stores W as (in, out).

    A parametrized weight (`torch.nn.utils.parametrize`) is read as it is now.

    Raises:
        UsageError: the layer is of another kind, overrides forward, or has no readable dense weight.
    """
    base = _base_class(layer)
    stored = _tensor(layer, "weight")
    if stored is None or stored.dim() != 2:
        raise UsageError(f"the weight of this {_name(layer)} is not a matrix; from_linear takes nn.Linear")
    bias = _tensor(layer, "bias")
    if bias is not None and not bias.is_meta and not bias.isfinite().all():
        raise UsageError(f"the bias of this {_name(layer)} holds NaN or infinite values")
    return DenseSource(
        matrix=stored if base is nn.Linear else stored.t(),
        bias=bias,
        matrix_requires_grad=_requires_grad(layer, "weight"),
        bias_requires_grad=bias is not None and _requires_grad(layer, "bias"),
    )


def _base_class(layer: nn.Module) -> type:
    """The class whose forward the layer uses: `nn.Linear`, or a `Conv1D` with an attribute `nf`."""
    base: Any
    for base in type(layer).__mro__:
        if base is nn.Linear or (base.__name__ == "Conv1D" and hasattr(layer, "nf")):
            if type(layer).forward is base.forward and "forward" not in vars(layer):
                return base
            raise UsageError(
                f"this {_name(layer)} has a forward of its own, which may not be x·Wᵀ + bias; copy its "
                "weight and bias to a plain nn.Linear and pass that"
            )
    cure = "copy its matrix (features out, features in) and bias to an nn.Linear and pass that"
    raise UsageError(
        f"from_linear takes nn.Linear or the Conv1D of transformers, not {_name(layer)}; "
        f"{'pass layer.to_linear()' if hasattr(layer, 'to_linear') else cure}"
    )


def _tensor(layer: nn.Module, name: str) -> torch.Tensor | None:
    """A weight or bias without its history; None where the layer has none."""
    if name not in layer._parameters and not parametrize.is_parametrized(layer, name):
        raise UsageError(
            f"the {name} of this {_name(layer)} is not a parameter but is set by a hook or by hand, so it "
            "may be out of date; make it a parameter first (torch.nn.utils.remove_weight_norm, prune.remove)"
        )
    value = getattr(layer, name)
    if is_lazy(value):
        raise UsageError(f"this {_name(layer)} has no {name} yet; run one batch through it first")
    if value is None:
        return None
    if type(value) not in (torch.Tensor, nn.Parameter) or value.layout is not torch.strided:
        kind = value.layout if type(value) in (torch.Tensor, nn.Parameter) else type(value).__name__
        raise UsageError(
            f"the {name} of this {_name(layer)} is a {kind}, not a plain dense tensor; gather it "
            "(full_tensor()) or make it dense (to_dense(), dequantize()) in an nn.Linear and pass that"
        )
    return value.detach()


def _requires_grad(layer: nn.Module, name: str) -> bool:
    """Whether a parameter, or any parameter that it is computed from, is trained."""
    if parametrize.is_parametrized(layer, name):
        originals = layer.get_submodule(f"parametrizations.{name}").parameters()
        return any(original.requires_grad for original in originals)
    parameter: torch.Tensor = getattr(layer, name)
    return parameter.requires_grad


def _name(layer: object) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"
