"""The linear layers of a model, with the rows of their calls, and the plan for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from kswatch.errors import UsageError
from kswatch.kernels.adoption.found_layer import PRECISION_OF, FoundLayer
from kswatch.kernels.adoption.layers import (
    is_conv1d,
    linear_modules,
    parameter_users,
    reason_to_leave,
    sides,
    weight_groups,
)
from kswatch.kernels.adoption.plan import Plan
from kswatch.kernels.adoption.planner import plan_layers
from kswatch.kernels.adoption.selection import Limits
from kswatch.kernels.adoption.usage import Usage, watch_forward
from kswatch.kernels.heuristics.layer_costs import LayerCosts


def plan_model(
    model: nn.Module,
    example_input: Any,  # noqa: ANN401  (whatever the model takes)
    device: str,
    costs: LayerCosts,
    limits: Limits,
    notes: Sequence[str] = (),
) -> Plan:
    """The plan for a model; see `kswatch.plan`.

    Raises:
        UsageError: the model does not run on the example, or the limits cannot be met.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"plan takes a torch.nn.Module, not {type(model).__name__}")
    found = find_layers(model, example_input)
    count = sum(one.numel() for one in model.parameters() if not nn.parameter.is_lazy(one))
    return plan_layers(found, count, device, costs, limits, notes)


def find_layers(model: nn.Module, example_input: Any) -> list[FoundLayer]:  # noqa: ANN401
    """The linear layers of a model, one for each weight, with the rows of their calls on the example."""
    names = linear_modules(model)
    users, modules = parameter_users(model), list(names)
    usage = watch_forward(model, example_input, modules)
    places = {module: place for place, module in enumerate(modules)}
    found = []
    for group in weight_groups(names):
        reasons = (_reason(module, places[module], usage, users) for module in group)
        called = [rows for module in group for rows in usage.calls[places[module]]]
        reason = next((one for one in reasons if one), None if called else "this input never calls it")
        found.append(
            _found_layer(group, [name for module in group for name in names[module]], called, reason)
        )
    return found


def _reason(module: nn.Module, place: int, usage: Usage, users: Any) -> str | None:  # noqa: ANN401
    reason = reason_to_leave(module, users)
    if reason is None and usage.readers[place]:
        readers = ", ".join(sorted(usage.readers[place]))
        return f"its weight is read outside of its own calls, by {readers}"
    if reason is None and place in usage.not_linear:
        return "its output is not x·W + bias"
    return reason


def _found_layer(
    group: Sequence[nn.Module], names: Sequence[str], calls: Sequence[int], reason: str | None
) -> FoundLayer:
    module = group[0]
    weight = module._parameters.get("weight")
    biases = {id(one): one for one in (layer._parameters.get("bias") for layer in group) if one is not None}
    transposed = is_conv1d(module)
    in_features, out_features = sides(module)
    return FoundLayer(
        name=names[0] or "(the model)",
        shared_with=tuple(names[1:]),
        in_features=in_features,
        out_features=out_features,
        bias_parameters=sum(0 if nn.parameter.is_lazy(one) else one.numel() for one in biases.values()),
        calls=tuple(calls),
        precision=None if weight is None else PRECISION_OF.get(weight.dtype),
        reason=reason,
        read_matrix=None if reason or weight is None else lambda: weight.t() if transposed else weight,
    )
