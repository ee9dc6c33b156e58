"""The ways that a layer's inputs took, taken again without asking what was answered before.

Torch's machinery of modules, and looking up what is prepared, take longer than a small product. A shortcut
holds the products that an input of one shape went through. It is closed once anything has changed, while
gradients are wanted, and while anybody watches: hooks, compilers, autocast, modes, subclasses of tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as every_module

from kswatch.kernels.layer.prepared_products import KEPT, prepared_for, state_of
from kswatch.kernels.layer.torch_operator import is_watched, product_for
from kswatch.kernels.precision import allows_tf32

Shortcut = Callable[[Any, torch.Tensor], torch.Tensor | None]
"""`shortcut(layer, x)`: the layer applied to x of the one shape; None where the shortcut is closed."""


class Shortcuts(dict[torch.Size, Shortcut]):
    """Of one layer, by the shape of the input."""

    def keep(self, shape: torch.Size, shortcut: Shortcut | None) -> None:
        """Add one, where there is one; an old one goes where there are many."""
        if shortcut is None:
            return
        if len(self) >= KEPT:
            del self[next(iter(self))]
        self[shape] = shortcut

    def __reduce__(self) -> tuple[type[Shortcuts], tuple[()]]:
        """Copied and pickled empty: a copy has weights of its own."""
        return Shortcuts, ()


def shortcut(layer: Any, x: torch.Tensor, full: torch.Size) -> Shortcut | None:  # noqa: ANN401
    """The way of inputs like x; None where some change could not be seen. It does not own the layer.

    Args:
        layer: A KSLinear (which imports this).
        x: An input that it took.
        full: The shape of what came out.
    """
    factors = tuple(layer.factors)
    named = [(factor._parameters, "weight") for factor in factors]
    if layer.bias is not None:
        named.append((layer._parameters, "bias"))
    states = [(owner, name, owner.get(name), state_of(owner.get(name))) for owner, name in named]
    hooks = _hooks_of(layer, *factors)
    if any(state is None for *_, state in states) or any(hooks):
        return None
    parameters = [(owner, name, parameter, *state) for owner, name, parameter, state in states if state]
    algorithm, layout, dtype, device = layer.algorithm, layer.layout, x.dtype, x.device
    is_flat, gradients_are_on, in_tf32 = x.dim() == 2, torch.is_grad_enabled, allows_tf32(device)
    flat = (-1, layer.in_features) if layout == "batch_first" else (layer.in_features, -1)
    flat_x = x.reshape(flat)
    products = [
        product_for(prepared_for(factor.weight), flat_x, factor.weight, bias, False, algorithm, layout)
        for factor, bias in zip(factors, layer.biases(), strict=True)
    ]

    def take(layer: Any, x: torch.Tensor) -> torch.Tensor | None:  # noqa: ANN401
        if (
            x.dtype is not dtype
            or x.device != device
            or gradients_are_on()
            or is_watched(x)
            or layer.algorithm is not algorithm
            or layer.layout is not layout
            or tuple(layer._modules["factors"]._modules.values()) != factors
            or any(hooks)
            or (x.is_cuda and allows_tf32(device) != in_tf32)
        ):
            return None
        for owner, name, parameter, address, version in parameters:
            if owner.get(name) is not parameter:
                return None
            if parameter._version != version or parameter.data_ptr() != address:
                return None
        y = x if is_flat else x.reshape(flat)
        if not y.is_contiguous():
            y = y.contiguous()
        for product in products:
            y = product(y)
        return y if is_flat else y.view(full)

    return take


def _hooks_of(*modules: nn.Module) -> list[Any]:
    """The tables in which torch keeps them, of these modules and of all: they fill while we look."""
    of_all = [every_module._global_forward_hooks, every_module._global_forward_pre_hooks]
    return of_all + [table for one in modules for table in (one._forward_hooks, one._forward_pre_hooks)]
