"""A fast path for repeated inputs of one shape, without torch's module machinery and repeated checks.

`nn.Module.__call__` and the look-up of prepared products take longer than a small product. A fast path
holds the products for inputs of one shape. It is not used after any change of weights, bias or settings,
with gradients, or under hooks, compilers, autocast, torch modes and tensor subclasses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as global_hooks

from kswatch.kernels.layer.prepared_products import MAX_PREPARED, parameter_state
from kswatch.kernels.layer.torch_operator import needs_dispatcher, product_for
from kswatch.kernels.precision import allows_tf32

FastPath = Callable[[Any, torch.Tensor], torch.Tensor | None]
"""`fast_path(layer, x)`: the layer applied to x of one shape; None where the fast path is not valid."""


class FastPaths(dict[torch.Size, FastPath]):
    """The fast paths of one layer, by the shape of the input."""

    def add(self, shape: torch.Size, fast_path: FastPath | None) -> None:
        """Add a fast path, unless it is None; the oldest one is dropped when there are too many."""
        if fast_path is None:
            return
        if len(self) >= MAX_PREPARED:
            del self[next(iter(self))]
        self[shape] = fast_path

    def __reduce__(self) -> tuple[type[FastPaths], tuple[()]]:
        """Copy and pickle as empty: a copied layer has its own weights."""
        return FastPaths, ()


def make_fast_path(layer: Any, x: torch.Tensor, full: torch.Size) -> FastPath | None:  # noqa: ANN401
    """The fast path for inputs like x; None where a change of the layer could go unnoticed.

    It holds no reference to the layer.

    Args:
        layer: A KSLinear (which imports this module).
        x: An input that the layer has processed.
        full: The shape of the layer's output.
    """
    factors = tuple(layer.factors)
    parameters, hooks = _parameters_of(layer, factors), _hooks_of(layer, *factors)
    if parameters is None or any(hooks):
        return None
    algorithm, layout, dtype, device = layer.algorithm, layer.layout, x.dtype, x.device
    is_flat, is_grad_enabled, in_tf32 = x.dim() == 2, torch.is_grad_enabled, allows_tf32(device)
    flat = (-1, layer.in_features) if layout == "batch_first" else (layer.in_features, -1)
    flat_x = x.reshape(flat)
    products = [
        product_for(flat_x, factor.weight, bias, False, algorithm, layout)
        for factor, bias in zip(factors, layer.biases(), strict=True)
    ]

    def fast_path(layer: Any, x: torch.Tensor) -> torch.Tensor | None:  # noqa: ANN401
        if (
            x.dtype is not dtype
            or x.device != device
            or is_grad_enabled()
            or needs_dispatcher(x)
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

    return fast_path


def _parameters_of(layer: Any, factors: tuple[nn.Module, ...]) -> list[tuple[Any, ...]] | None:  # noqa: ANN401
    """(owner, name, parameter, address, version) of each weight and the bias; None if one has no version."""
    named = [(factor._parameters, "weight") for factor in factors]
    if layer.bias is not None:
        named.append((layer._parameters, "bias"))
    found = []
    for owner, name in named:
        state = parameter_state(owner.get(name))
        if state is None:
            return None
        found.append((owner, name, owner.get(name), *state))
    return found


def _hooks_of(*modules: nn.Module) -> list[Any]:
    """Torch's hook tables of these modules and the global ones; hooks added later appear in them."""
    tables = [global_hooks._global_forward_hooks, global_hooks._global_forward_pre_hooks]
    for module in modules:
        tables += [module._forward_hooks, module._forward_pre_hooks]
    return tables
