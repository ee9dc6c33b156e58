"""Gradients against finite differences in float64, and arithmetic under autocast."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from kswatch.errors import UsageError
from kswatch.kernels import KSLinear
from kswatch.kernels.layer import torch_operator
from kswatch.kernels.pattern import Pattern

pytestmark = pytest.mark.usefixtures("one_thread")

CHAIN = [(2, 2, 3, 2), (1, 3, 4, 2)]
LAYOUTS = ["batch_first", "batch_last"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradcheck_of_the_operator_to_the_second_order(layout: str, transposed: bool) -> None:
    weight = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    pattern = Pattern(2, 3, 2, 2) if transposed else Pattern(2, 2, 3, 2)
    shape = (3, pattern.columns) if layout == "batch_first" else (pattern.columns, 3)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(pattern.rows, dtype=torch.float64, requires_grad=True)

    def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch_operator.product(x, weight, bias, transposed, "fused", layout)

    assert gradcheck(product, (x, weight, bias))
    assert gradgradcheck(product, (x, weight, bias))


@pytest.fixture(params=["without Python", "by Python", "float64", "compiled"])
def call(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[nn.Module], nn.Module]:
    """Each way to compute gradients: of a model that it makes ready."""
    if request.param == "by Python":
        monkeypatch.setattr(torch_operator.NATIVE, "forward", torch_operator._leave_to_python)
        monkeypatch.setattr(torch_operator.NATIVE, "product", torch_operator._leave_to_python)
    if request.param == "compiled":
        return lambda model: torch.compile(model, backend="aot_eager")
    return nn.Module.double if request.param == "float64" else nn.Module.float


def test_the_input_may_change_where_the_weights_want_no_gradients_as_in_nn_linear(call) -> None:
    layer = KSLinear(CHAIN).requires_grad_(False)
    for model in (call(layer), call(layer.to_linear())):
        x = torch.randn(3, 12, dtype=next(model.parameters()).dtype, requires_grad=True)
        changed = x * 1.0
        y = model(changed)
        changed.mul_(2.0)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(gradient, layer.to_linear().weight.sum(0).expand(3, 12))


def test_only_what_the_gradients_need_is_kept_in_memory(call) -> None:
    layer = KSLinear(CHAIN).requires_grad_(False)
    model = call(layer)
    x = torch.randn(3, 12, dtype=layer.bias.dtype, requires_grad=True) * 1.0
    alive, y = weakref.ref(x), model(x)
    del x
    assert y.requires_grad and alive() is None


def test_weights_may_change_where_only_the_bias_is_trained_as_in_nn_linear(call) -> None:
    layer = KSLinear(CHAIN)
    layer.factors.requires_grad_(False)
    model = call(layer)
    x = torch.randn(3, 12, dtype=layer.bias.dtype)
    y = model(x)
    x.zero_()
    with torch.no_grad():
        for weight in layer.factors.parameters():
            weight.mul_(2.0)
    y.sum().backward()
    torch.testing.assert_close(layer.bias.grad, torch.full_like(layer.bias, 3.0))


def test_many_gradients_at_once_of_one_operand_are_those_of_each_alone() -> None:
    for weight_wanted in (True, False):
        layer, x = KSLinear([(2, 2, 3, 2)]), torch.randn(3, 12, requires_grad=not weight_wanted)
        layer.factors.requires_grad_(weight_wanted)
        operand = layer.factors[0].weight if weight_wanted else x
        y, directions = layer(x), torch.randn(4, 3, 8)
        (ours,) = torch.autograd.grad(y, operand, directions, is_grads_batched=True, retain_graph=True)
        singly = [torch.autograd.grad(y, operand, one, retain_graph=True)[0] for one in directions]
        torch.testing.assert_close(ours, torch.stack(singly))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradcheck_of_a_chain_in_float64(layout: str) -> None:
    layer = KSLinear(CHAIN, layout=layout, dtype=torch.float64)
    x = torch.randn((3, 12) if layout == "batch_first" else (12, 3), dtype=torch.float64, requires_grad=True)
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def of_all(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert gradcheck(of_all, (x, *parameters))
    assert gradgradcheck(of_all, (x, *parameters))


def test_a_float64_layer_is_the_same_layer_more_accurately() -> None:
    layer = KSLinear(CHAIN, algorithm="bmm")
    x = torch.randn(5, 12)
    exact = copy.deepcopy(layer).double()(x.double())
    assert exact.dtype == torch.float64
    torch.testing.assert_close(layer(x).double(), exact, rtol=1e-5, atol=1e-6)


# ---- autocast -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_autocast_computes_in_its_dtype_and_gives_gradients_in_the_parameters(
    layout: str, dtype: torch.dtype
) -> None:
    layer = KSLinear(CHAIN, layout=layout)
    x = torch.randn((16, 12) if layout == "batch_first" else (12, 16), requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        y = layer(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), layer(x), rtol=5e-2, atol=5e-2)
    y.float().square().sum().backward()
    assert x.grad.dtype == torch.float32
    assert all(parameter.grad.dtype == torch.float32 for parameter in layer.parameters())


def test_autocast_behaves_as_for_nn_linear_in_every_input_dtype() -> None:
    layer, linear = KSLinear([(1, 12, 12, 1)]), nn.Linear(12, 12)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = torch.randn(4, 12).to(dtype)
        for enabled in (True, False):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled), torch.no_grad():
                if not enabled and dtype != torch.float32:
                    with pytest.raises(UsageError, match="convert either"):
                        layer(x)
                else:
                    assert layer(x).dtype == linear(x).dtype
    with torch.autocast("cpu"), pytest.raises(UsageError, match="float64"):
        layer(torch.randn(4, 12).double())


def test_autocast_and_compile_together_keep_the_operator() -> None:
    layer = KSLinear(CHAIN)
    x = torch.randn(8, 12)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu"):
        assert torch.equal(compiled(x), layer(x))
