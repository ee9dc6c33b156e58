"""One forward pass of a model, watched: the rows of each linear call, and other readers of the weights.

The model is left as it was: it runs in evaluation mode without gradients on the example, its buffers, modes
and the random state are restored, and layers that a first pass would make (lazy ones) are made in a copy.
"""

from __future__ import annotations

import copy
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from kswatch.errors import UsageError
from kswatch.kernels.adoption.layers import is_conv1d, sides, storage_key

_CLOSE = 1e-2
"""Largest relative difference between a Conv1D's output and x·W + bias, in any precision."""
_ROWS_COMPARED = 4


@dataclass
class Usage:
    """What one forward pass did with the linear layers, by their place in the given sequence."""

    calls: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Rows of each call."""
    readers: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Operators that read the weight outside of its layer's call."""
    not_linear: set[int] = field(default_factory=set)
    """Layers whose output was not x·W + bias."""


def watch_forward(model: nn.Module, example_input: Any, modules: Sequence[nn.Module]) -> Usage:  # noqa: ANN401
    """Run the model once and record the usage of these layers of it.

    Args:
        model: the model.
        example_input: a tensor, a tuple of positional arguments or a mapping of keyword arguments.
        modules: linear layers of the model.

    Raises:
        UsageError: the model raises on this input.
    """
    if any(is_lazy(parameter) for parameter in model.parameters()):
        model, modules = _copied(model, modules)
    try:
        return _watched(model, example_input, modules)
    except Exception as error:
        if not any(parameter.is_meta for parameter in model.parameters()):
            raise UsageError(
                f"the model does not run on example_input: {type(error).__name__}: {error}"
            ) from error
    shapes, shape_modules = _copied(model, modules)
    example = tree_map(lambda one: one.to("meta") if isinstance(one, torch.Tensor) else one, example_input)
    try:
        return _watched(shapes.to("meta"), example, shape_modules)
    except Exception as error:
        raise UsageError(
            f"the model is partly on the meta device and does not run there: {type(error).__name__}: {error}"
        ) from error


def _copied(model: nn.Module, modules: Sequence[nn.Module]) -> tuple[nn.Module, list[nn.Module]]:
    memo: dict[int, Any] = {}
    copied = copy.deepcopy(model, memo)
    return copied, [memo[id(module)] for module in modules]


def _watched(model: nn.Module, example_input: Any, modules: Sequence[nn.Module]) -> Usage:  # noqa: ANN401
    usage = Usage()
    active: list[int] = []
    with ExitStack() as stack:
        stack.enter_context(_restored(model))
        stack.enter_context(torch.no_grad())
        for place, module in enumerate(modules):
            if "forward" not in vars(module) and isinstance(module.forward, Callable):  # type: ignore[arg-type]
                stack.enter_context(_recorded_forward(module, place, usage, active))
        stack.enter_context(_WeightReads(modules, usage, active))
        if isinstance(example_input, Mapping):
            model(**example_input)
        elif isinstance(example_input, tuple | list):
            model(*example_input)
        else:
            model(example_input)
    return usage


@contextmanager
def _recorded_forward(module: nn.Module, place: int, usage: Usage, active: list[int]) -> Iterator[None]:
    """Put a recording function before the module's forward; hooks would switch torch's fast paths off."""
    original = module.forward

    def forward(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        active.append(place)
        try:
            y = original(*arguments, **options)
            x = next((one for one in (*arguments, *options.values()) if isinstance(one, torch.Tensor)), None)
            if x is not None:
                usage.calls[place].append(x.numel() // max(sides(module)[0], 1))
                if is_conv1d(module) and not _is_linear(module, x, y):
                    usage.not_linear.add(place)
            return y
        finally:
            active.pop()

    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def _is_linear(module: nn.Module, x: torch.Tensor, y: object) -> bool:
    """Whether y is x·W + bias in its first rows."""
    features_in, features_out = sides(module)
    if not isinstance(y, torch.Tensor) or y.shape != (*x.shape[:-1], features_out):
        return False
    if x.is_meta:
        return True
    rows = x.reshape(-1, features_in)[:_ROWS_COMPARED].double()
    weight, bias = module._parameters["weight"], module._parameters.get("bias")
    expected = rows @ weight.double()  # type: ignore[union-attr]
    if bias is not None:
        expected = expected + bias.double()
    difference = (y.reshape(-1, features_out)[:_ROWS_COMPARED].double() - expected).norm()
    return bool(difference <= _CLOSE * expected.norm() + 1e-30)


class _WeightReads(TorchDispatchMode):
    """Records the operators that read a watched weight while its layer is not being called."""

    def __init__(self, modules: Sequence[nn.Module], usage: Usage, active: list[int]) -> None:
        super().__init__()
        self._usage, self._active = usage, active
        self._places: dict[int, set[int]] = defaultdict(set)
        for place, module in enumerate(modules):
            weight = module._parameters.get("weight")
            key = None if weight is None or is_lazy(weight) else storage_key(weight)
            if key is not None:
                self._places[key].add(place)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        del types
        for tensor in tree_leaves((args, kwargs)):
            places = self._places.get(storage_key(tensor) or 0) if isinstance(tensor, torch.Tensor) else None
            if places and not (self._active and self._active[-1] in places):
                for place in places:
                    self._usage.readers[place].add(str(func))
        return func(*args, **(kwargs or {}))


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; then the modes, buffers and random state of before."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers() if not buffer.is_meta]
    # since torch 2.6; importing the compiler takes seconds, and nothing is compiled without it
    stance = getattr(torch.compiler, "set_stance", None) if "torch._dynamo" in sys.modules else None
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), ExitStack() as stack:
            if stance is not None:
                stack.enter_context(stance("force_eager"))
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for buffer, former in buffers:
                buffer.copy_(former)
