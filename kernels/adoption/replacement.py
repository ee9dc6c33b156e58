"""Puts the chains of a plan into a model."""

from __future__ import annotations

import copy

from torch import nn

from kswatch.errors import UsageError
from kswatch.kernels.adoption.layers import (
    linear_modules,
    parameter_users,
    reason_to_leave,
    sides,
    weight_groups,
)
from kswatch.kernels.adoption.plan import LayerPlan, Plan
from kswatch.kernels.linear import KSLinear


def replace(model: nn.Module, plan: Plan, inplace: bool = False) -> nn.Module:
    """The model with `KSLinear` in place of the layers that the plan replaces.

    Each new layer is the projection of the old weight and keeps its bias (the same parameter). Layers that
    share a weight share the factors, and a layer with several names stays one. Everything else is untouched.

    Args:
        model: the model that the plan was made for.
        plan: from `kswatch.plan`.
        inplace: change this model instead of a deep copy of it.

    Returns:
        The model; where it is itself a replaced linear layer, the new layer.

    Raises:
        UsageError: the plan is of another model, or a layer has got hooks or the like since then.
    """
    _check(model, plan)
    changed = model if inplace else copy.deepcopy(model)
    new_layers: dict[nn.Module, KSLinear] = {}
    names = linear_modules(changed)
    groups = {names[group[0]][0]: group for group in weight_groups(names)}
    for line in plan.layers:
        if line.is_replaced:
            new_layers |= _new_layers(groups["" if line.name == "(the model)" else line.name], line)
    if changed in new_layers:
        if inplace:
            raise UsageError(
                "the model is itself the layer to replace; take the result of replace(model, plan)"
            )
        return new_layers[changed]
    for module in list(changed.modules()):
        for name, child in module._modules.items():
            if child in new_layers:
                setattr(module, name, new_layers[child])
    return changed


def _new_layers(group: list[nn.Module], line: LayerPlan) -> dict[nn.Module, KSLinear]:
    """A new layer for each of those that share a weight; all share the factors of the first."""
    chain = line.best
    found: dict[nn.Module, KSLinear] = {}
    for module in group:
        bias = module._parameters.get("bias")
        if not found:
            layer = KSLinear.from_linear(module, chain.patterns, chain.algorithm or "auto")
        else:
            layer = _sharing(next(iter(found.values())), bias is not None)
        if bias is not None:
            layer.bias = bias
        found[module] = layer.train(module.training)
    return found


def _sharing(first: KSLinear, has_bias: bool) -> KSLinear:
    """A layer with the factors of the first one and room for a bias of its own."""
    weight = next(first.factors.parameters())
    layer = KSLinear(first.patterns, has_bias, first.algorithm, device=weight.device, dtype=weight.dtype)
    layer.projection_error = first.projection_error
    for factor, shared in zip(layer.factors, first.factors, strict=True):
        factor.weight = shared.weight
    return layer


def _check(model: nn.Module, plan: Plan) -> None:
    names, users = linear_modules(model), parameter_users(model)
    by_name = {name or "(the model)": module for module, found in names.items() for name in found}
    for line in plan.layers:
        if not line.is_replaced:
            continue
        for name in (line.name, *line.shared_with):
            module = by_name.get(name or "(the model)")
            if module is None or sides(module) != (line.in_features, line.out_features):
                raise UsageError(
                    f"the plan is of another model: here is no linear layer {name} of {line.in_features} -> "
                    f"{line.out_features}; make it again with kswatch.plan"
                )
            reason = reason_to_leave(module, users)
            if reason is not None:
                raise UsageError(f"{name} cannot be replaced any more: {reason}; make the plan again")
