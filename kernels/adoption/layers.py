"""The linear layers of a model: their weights, and which of them must be left as they are, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from kswatch.kernels.adoption.found_layer import PRECISION_OF
from kswatch.kernels.linear import KSLinear

_HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_state_dict_hooks",
)
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def is_conv1d(module: nn.Module) -> bool:
    """Whether it is the Conv1D of transformers, or one like it: y = x·W + bias with W as (in, out)."""
    weight = module._parameters.get("weight")
    return (
        type(module).__name__ == "Conv1D" and weight is not None and not is_lazy(weight) and weight.dim() == 2
    )


def is_linear_like(module: nn.Module) -> bool:
    """Whether it is a linear layer of any kind, replaceable or not."""
    if isinstance(module, KSLinear):
        return False
    named = (
        "Linear" in type(module).__name__
        and hasattr(module, "in_features")
        and hasattr(module, "out_features")
    )
    return isinstance(module, nn.Linear) or named or is_conv1d(module)


def sides(module: nn.Module) -> tuple[int, int]:
    """(features in, features out)."""
    if is_conv1d(module):
        rows, columns = module._parameters["weight"].shape  # type: ignore[union-attr]
        return int(rows), int(columns)
    return int(module.in_features), int(module.out_features)  # type: ignore[arg-type]


def linear_modules(model: nn.Module) -> dict[nn.Module, list[str]]:
    """Each linear layer of the model, with all its names; the model itself has the name ''."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if is_linear_like(module):
            names.setdefault(module, []).append(name)
    return names


def weight_groups(modules: Mapping[nn.Module, list[str]]) -> list[list[nn.Module]]:
    """The layers that hold the same weight, together."""
    groups: dict[int, list[nn.Module]] = defaultdict(list)
    for module in modules:
        weight = module._parameters.get("weight")
        groups[id(module if weight is None else weight)].append(module)
    return list(groups.values())


def reason_to_leave(module: nn.Module, users: Mapping[int, list[tuple[str, nn.Module, str]]]) -> str | None:
    """Why this layer must not be replaced, as a clause; None where it may be."""
    return next((reason for reason in _reasons(module, users) if reason), None)


def parameter_users(model: nn.Module) -> dict[int, list[tuple[str, nn.Module, str]]]:
    """Holders of each memory: (name of the module, module, name of its parameter), by the storage."""
    users: dict[int, list[tuple[str, nn.Module, str]]] = defaultdict(list)
    for name, module in model.named_modules():
        for parameter_name, parameter in module._parameters.items():
            key = None if parameter is None else storage_key(parameter)
            if key is not None:
                users[key].append((name, module, parameter_name))
    return users


def storage_key(tensor: torch.Tensor) -> int | None:
    """The identity of a tensor's memory, on meta too; None where it has none."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError, ValueError):
        return None


def _reasons(
    module: nn.Module, users: Mapping[int, list[tuple[str, nn.Module, str]]]
) -> Iterator[str | None]:
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    weight = module._parameters.get("weight")
    if weight is not None and is_lazy(weight):
        yield "its weight is not made yet (lazy): run one batch through the model first"
    if parametrize.is_parametrized(module):
        yield f"it is parametrized ({', '.join(module.parametrizations)})"  # type: ignore[arg-type]
    if getattr(module, "qconfig", None) is not None or "quantized" in kind or "qat" in kind.split("."):
        yield "it is quantised or prepared for that"
    if weight is None:
        yield "its weight is not a parameter but made by something else (weight_norm, pruning, quantisation)"
        return
    if type(module) is not nn.Linear and not is_conv1d(module):
        yield f"it is a {kind}, which may compute something else than nn.Linear"
    if "forward" in vars(module):
        yield "its forward was replaced on this object"
    if any(getattr(module, name, None) for name in _HOOKS):
        yield "it has hooks"
    yield from _weight_reasons(module, weight, users)


def _weight_reasons(
    module: nn.Module, weight: nn.Parameter, users: Mapping[int, list[tuple[str, nn.Module, str]]]
) -> Iterator[str | None]:
    parameters = [one for one in module._parameters.values() if one is not None]
    if any(getattr(one, name, None) for one in parameters for name in _TENSOR_HOOKS):
        yield "its parameters have hooks"
    more = {*module._parameters, *module._buffers, *module._modules} - {"weight", "bias"}
    if more:
        yield f"it holds more than weight and bias: {', '.join(sorted(more))}"
    if (
        type(weight) is not nn.Parameter
        or type(weight.data) is not torch.Tensor
        or weight.layout is not torch.strided
    ):
        yield f"its weight is a {type(weight.data).__name__}, not a plain tensor (quantised, sharded, sparse)"
        return
    if weight.is_meta:
        yield "its weight is on the meta device and has no values"
    if weight.dtype not in PRECISION_OF:
        yield f"its weight is {weight.dtype}, for which products are not profiled"
    for name, other, parameter_name in users.get(storage_key(weight) or 0, ()):
        if other._parameters[parameter_name] is not weight:
            yield f"its memory is shared with {name}.{parameter_name}"
        elif not (is_linear_like(other) and parameter_name == "weight"):
            yield f"its weight is tied to {name}.{parameter_name} ({type(other).__name__})"
        elif is_conv1d(other) != is_conv1d(module):
            yield f"its weight is tied to {name}, which reads it transposed"
    if not weight.is_meta and not bool(weight.detach().isfinite().all()):
        yield "its weight holds NaN or infinite values"
