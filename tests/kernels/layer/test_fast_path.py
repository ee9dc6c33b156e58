"""A layer's fast paths: used as long as nothing has changed and no hook or mode is active."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from kswatch.errors import UsageError
from kswatch.kernels import KSLinear
from kswatch.kernels.layer.factor import KSFactor
from kswatch.kernels.layer.prepared_products import MAX_PREPARED
from kswatch.kernels.pattern import Pattern

pytestmark = pytest.mark.usefixtures("one_thread")

CHAIN = [(2, 6, 4, 3), (1, 5, 9, 4)]


@pytest.fixture
def layer() -> KSLinear:
    torch.manual_seed(0)
    return KSLinear(CHAIN, algorithm="bmm")


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 24)


@pytest.fixture
def long_ways(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes of inputs that took no shortcut."""
    taken = []
    by_factors = KSLinear._by_factors

    def noting(self: KSLinear, x: torch.Tensor) -> torch.Tensor:
        taken.append(x.shape)
        return by_factors(self, x)

    monkeypatch.setattr(KSLinear, "_by_factors", noting)
    return taken


@pytest.mark.parametrize("shape", [(3, 24), (24,), (2, 3, 24), (0, 24)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_repeated_shape_takes_the_fast_path_to_the_same_result(
    layer: KSLinear, long_ways: list[torch.Size], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    layer, x = layer.to(dtype), torch.randn(shape, dtype=dtype)
    with torch.no_grad():
        first, second = layer(x), layer(x)
    assert torch.equal(first, second) and second.shape == (*shape[:-1], 20)
    assert long_ways == [shape]


def test_a_view_takes_the_fast_path(layer: KSLinear, long_ways: list[torch.Size]) -> None:
    x = torch.randn(24, 3)
    with torch.no_grad():
        assert torch.equal(layer(x.t().contiguous()), layer(x.t()))
    assert len(long_ways) == 1


def add_to_weight(layer: KSLinear) -> None:
    layer.factors[0].weight.add_(1.0)


def add_to_bias(layer: KSLinear) -> None:
    layer.bias.add_(1.0)


def replace_data(layer: KSLinear) -> None:
    layer.factors[1].weight.data = torch.randn(1, 5, 9, 4)


def replace_weight(layer: KSLinear) -> None:
    layer.factors[0].weight = nn.Parameter(torch.randn(2, 6, 4, 3))


def replace_factor(layer: KSLinear) -> None:
    layer.factors[1] = KSFactor(Pattern(1, 5, 9, 4))
    layer.factors[1].weight.fill_(2.0)


def take_the_bias_away(layer: KSLinear) -> None:
    layer.bias = None


def choose_another_algorithm(layer: KSLinear) -> None:
    layer.algorithm = "dense"


def load_another_state(layer: KSLinear) -> None:
    layer.load_state_dict(KSLinear(CHAIN).state_dict(), assign=True)


def go_there_and_back(layer: KSLinear) -> None:
    layer.bfloat16().float()


@pytest.mark.parametrize(
    "change",
    [
        add_to_weight,
        add_to_bias,
        replace_data,
        replace_weight,
        replace_factor,
        take_the_bias_away,
        choose_another_algorithm,
        load_another_state,
        go_there_and_back,
    ],
)
def test_a_change_invalidates_the_fast_path(
    layer: KSLinear, x: torch.Tensor, long_ways: list[torch.Size], change: Callable[[KSLinear], None]
) -> None:
    with torch.no_grad():
        layer(x)
        change(layer)
        after = layer(x)
        assert len(long_ways) == 2
        torch.testing.assert_close(after, copy.deepcopy(layer)(x))


@pytest.mark.parametrize("where", ["layer", "factor", "every module"])
def test_hooks_are_called(layer: KSLinear, x: torch.Tensor, where: str) -> None:
    called = []

    def hook(module: nn.Module, *rest: object) -> None:
        called.append(type(module))

    with torch.no_grad():
        layer(x)
        if where == "every module":
            handle = register_module_forward_hook(hook)
        else:
            handle = (layer if where == "layer" else layer.factors[1]).register_forward_hook(hook)
        layer(x)
        handle.remove()
        layer(x)
    expected = {"layer": [KSLinear], "factor": [KSFactor], "every module": [KSFactor, KSFactor, KSLinear]}
    assert called == expected[where]


def test_modes_and_gradients_bypass_the_fast_path(layer: KSLinear, x: torch.Tensor) -> None:
    with torch.no_grad():
        y = layer(x)
        with torch.autocast("cpu"):
            assert layer(x).dtype == torch.bfloat16
        torch.testing.assert_close(torch.vmap(lambda one: layer(one))(torch.stack([x, x]))[1], y)
        with pytest.raises(UsageError, match="convert either"):
            layer(x.double())
        with pytest.raises(UsageError, match="on meta"):
            layer(x.to("meta"))
    assert layer(x).requires_grad


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_traced_layer_computes(layer: KSLinear, x: torch.Tensor) -> None:
    with torch.no_grad():
        layer(x)
        traced = torch.jit.trace(layer, (x,), check_trace=False)
        other = torch.randn(3, 24)
        torch.testing.assert_close(traced(other), layer(other))


def test_few_fast_paths_are_kept_and_none_is_copied(layer: KSLinear) -> None:
    with torch.no_grad():
        for batch in range(1, 20):
            layer(torch.randn(batch, 24))
    assert len(layer._fast_paths) == MAX_PREPARED
    assert len(copy.deepcopy(layer)._fast_paths) == 0


def test_a_deleted_layer_is_freed_at_once(layer: KSLinear, x: torch.Tensor) -> None:
    one = KSLinear(CHAIN)
    with torch.no_grad():
        one(x)
    weight, product = weakref.ref(one.factors[0].weight), weakref.ref(one)
    gc.disable()
    try:
        del one
        assert product() is None and weight() is None
    finally:
        gc.enable()
