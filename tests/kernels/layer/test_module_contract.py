"""What torch and its tools expect of a module: conversions, states, tracing, FLOPs, methods and hooks."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Iterator
from math import prod

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.flop_counter import FlopCounterMode

from kswatch.errors import UsageError
from kswatch.kernels import KSLinear
from kswatch.kernels.layer.factor import KSFactor
from kswatch.kernels.layer.operator_formulas import define_product
from kswatch.kernels.layer.torch_operator import product

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # TorchScript's
]

CHAIN = [(2, 6, 4, 3), (1, 5, 9, 4)]
MONARCH = [(4, 4, 4, 1), (1, 4, 4, 4)]
THREE_FACTORS = [(2, 6, 4, 3), (1, 5, 9, 4), (5, 7, 4, 1)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def _swapping() -> Iterator[None]:
    torch.__future__.set_swap_module_params_on_conversion(True)
    yield
    torch.__future__.set_swap_module_params_on_conversion(False)


@pytest.fixture
def used() -> KSLinear:
    """A layer that has run in every mode, so that whatever it keeps is kept."""
    layer = KSLinear(CHAIN)
    x = torch.randn(3, 24)
    for _ in range(2):
        with torch.no_grad():
            layer(x)
        layer(x).sum().backward()
    layer.zero_grad()
    return layer


def assert_right(layer: KSLinear) -> None:
    """The layer computes with the weights that it has, with and without gradients."""
    dtype = layer.factors[0].weight.dtype
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype.itemsize > 2 else {"rtol": 3e-2, "atol": 3e-2}
    x = torch.randn(3, 24, dtype=dtype)
    truth = layer.to_linear()(x)
    torch.testing.assert_close(layer(x), truth, **tolerance)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), truth, **tolerance)


@pytest.mark.usefixtures("_swapping")
def test_conversions_that_swap_parameters_work(used: KSLinear) -> None:
    parameters = list(used.parameters())
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.float32):
        assert_right(used.to(dtype))
        assert {parameter.dtype for parameter in used.parameters()} == {dtype}
    assert all(now is before for now, before in zip(used.parameters(), parameters, strict=True))


@pytest.mark.usefixtures("_swapping")
@pytest.mark.parametrize("assign", [True, False])
def test_loading_that_swaps_parameters_works(used: KSLinear, assign: bool) -> None:
    other = KSLinear(CHAIN)
    used.load_state_dict(other.state_dict(), assign=assign)
    x = torch.randn(3, 24)
    torch.testing.assert_close(used(x), other(x))
    assert_right(used)


@pytest.mark.usefixtures("_swapping")
def test_emptying_that_swaps_parameters_works(used: KSLinear) -> None:
    used.to_empty(device="cpu").reset_parameters()
    assert_right(used)
    with torch.no_grad():
        assert used.to("meta")(torch.empty(3, 24, device="meta")).shape == (3, 20)


# ---- the projection error --------------------------------------------------------------------------


def projected() -> KSLinear:
    return KSLinear.from_linear(nn.Linear(16, 16), MONARCH)


def through_a_file(state: dict) -> dict:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_the_projection_error_is_kept_by_state_copy_and_pickle() -> None:
    layer = projected()
    error = layer.projection_error
    assert 0 < error < 1
    loaded = KSLinear(MONARCH)
    assert loaded.load_state_dict(through_a_file(layer.state_dict())) == ([], [])
    for other in (loaded, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.half()):
        assert other.projection_error == error
    model, empty = nn.Sequential(layer, KSLinear(MONARCH)), nn.Sequential(KSLinear(MONARCH), projected())
    empty.load_state_dict(model.state_dict())
    assert [part.projection_error for part in empty] == [error, None]


def test_a_state_without_a_projection_error_is_loaded_strictly_and_leaves_none() -> None:
    state = {name: value for name, value in projected().state_dict().items() if "extra" not in name}
    assert len(state) == 3
    layer = projected()
    layer.load_state_dict(state)
    assert layer.projection_error is None


def test_a_part_of_a_state_leaves_the_projection_error() -> None:
    layer = projected()
    error = layer.projection_error
    layer.load_state_dict({"bias": torch.zeros(16)}, strict=False)
    assert layer.projection_error == error


def test_another_key_is_still_unexpected() -> None:
    with pytest.raises(RuntimeError, match='Unexpected key.*"foreign"'):
        KSLinear(MONARCH).load_state_dict({**projected().state_dict(), "foreign": torch.ones(1)})


def test_a_state_with_a_projection_error_serves_functional_calls_and_checkpoints() -> None:
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict

    layer, other, x = projected(), KSLinear(MONARCH), torch.randn(3, 16)
    torch.testing.assert_close(torch.func.functional_call(other, layer.state_dict(), x), layer(x))
    set_model_state_dict(other, get_model_state_dict(layer))
    assert other.projection_error == layer.projection_error
    assert all(isinstance(value, torch.Tensor) for value in layer.state_dict().values())


# ---- TorchScript -----------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [True, False])
def test_script_names_the_cure_and_leaves_the_model(nested: bool) -> None:
    layer = KSLinear(CHAIN)
    model = nn.Sequential(layer, nn.ReLU()) if nested else layer
    with pytest.raises(UsageError, match=r"use torch.jit.trace\(model, example_input\)"):
        torch.jit.script(model)
    with pytest.raises(UsageError, match="torch.jit.trace"):
        torch.jit.script(layer.factors[0])
    assert layer(torch.randn(2, 24)).shape == (2, 20)


@pytest.mark.parametrize("layout", ["batch_first", "batch_last"])
def test_trace_warns_of_nothing_and_serves_other_batch_sizes(layout: str) -> None:
    layer = KSLinear(CHAIN, layout=layout)
    inputs = [torch.randn((n, 24) if layout == "batch_first" else (24, n)) for n in (3, 11)]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=torch.jit.TracerWarning)
        traced = torch.jit.trace(layer, inputs[0])
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    for x in inputs:
        torch.testing.assert_close(torch.jit.load(file)(x), layer(x))
        file.seek(0)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_trace_of_another_shape_gives_the_same_error_as_the_plain_layer() -> None:
    with pytest.raises(UsageError, match=r"takes 24 features.*shape \(2, 23\)"):
        torch.jit.trace(KSLinear(CHAIN), torch.randn(2, 23))


# ---- others ----------------------------------------------------------------------------------------


def test_symbolic_trace_keeps_the_layer_as_one_node() -> None:
    model, x = nn.Sequential(KSLinear(CHAIN), nn.ReLU(), KSLinear([(1, 3, 20, 1)])), torch.randn(3, 24)
    traced = torch.fx.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1", "2"]
    torch.testing.assert_close(traced(x), model(x))
    with pytest.raises(UsageError, match=r"wrap it in nn.Sequential"):
        torch.fx.symbolic_trace(KSLinear(CHAIN))


def test_a_parametrized_factor_is_drawn_anew() -> None:
    layer = KSLinear(CHAIN)
    nn.utils.parametrizations.weight_norm(layer.factors[0])
    with torch.no_grad():
        layer.factors[0].parametrizations.weight.original0.mul_(100)
    layer.reset_parameters()
    assert layer.factors[0].weight.abs().max() <= (3 / 4) ** 0.5 + 1e-6  # the bound of c = 4
    assert_right(layer)


# ---- the operator's definition and FLOPs -----------------------------------------------------------

FLOPS_A_ROW = 2 * sum(map(prod, CHAIN))


@pytest.mark.parametrize("layout", ["batch_first", "batch_last"])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("pattern", [*CHAIN, (3, 4, 5, 1), (1, 4, 5, 1)])
def test_the_definition_is_what_the_operator_computes(
    pattern: tuple[int, ...], transposed: bool, layout: str
) -> None:
    a, b, c, d = pattern
    inputs, outputs = a * d * (b if transposed else c), a * d * (c if transposed else b)
    x = torch.randn((7, inputs) if layout == "batch_first" else (inputs, 7))
    arguments = (x, torch.randn(pattern), torch.randn(outputs), transposed, "bmm", layout)
    torch.testing.assert_close(define_product(*arguments), product(*arguments), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["batch_first", "batch_last"])
def test_forward_and_backward_flops_are_counted(layout: str) -> None:
    layer = KSLinear(CHAIN, layout=layout)
    x = torch.randn((8, 24) if layout == "batch_first" else (24, 8), requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        y = layer(x)
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    assert forward.get_total_flops() == 8 * FLOPS_A_ROW
    assert backward.get_total_flops() == 2 * 8 * FLOPS_A_ROW


def test_a_repeated_call_without_gradients_is_counted_too() -> None:
    layer, x = KSLinear(CHAIN), torch.randn(2, 4, 24)
    for _ in range(2):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            layer(x)
        assert counter.get_total_flops() == 8 * FLOPS_A_ROW


def test_a_full_pattern_counts_as_nn_linear_does() -> None:
    counts = []
    for layer in (KSLinear([(1, 20, 24, 1)]), nn.Linear(24, 20)):
        x = torch.randn(8, 24, requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            layer(x).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] == 3 * 2 * 8 * 24 * 20


# ---- methods and hooks that users replace ---------------------------------------------------------


class Twice(KSLinear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Counted(KSFactor):
    calls = 0

    def forward(self, *arguments: object) -> torch.Tensor:
        type(self).calls += 1
        return 2 * super().forward(*arguments)


def test_the_forward_of_a_subclass_runs_at_every_call() -> None:
    layer, plain = Twice(THREE_FACTORS), KSLinear(THREE_FACTORS)
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(5, 24)
    with torch.no_grad():
        for _ in range(4):
            assert torch.equal(layer(x), 2 * plain(x))


def test_a_forward_of_the_instance_runs_at_every_call() -> None:
    layer = KSLinear(THREE_FACTORS)
    x = torch.randn(5, 24)
    with torch.no_grad():
        y = [layer(x), layer(x)][-1]
        original = layer.forward
        layer.forward = lambda x: original(x) + 1
        for _ in range(3):
            assert torch.equal(layer(x), y + 1)
        del layer.forward
        assert torch.equal(layer(x), y)


def test_a_factor_of_another_class_or_with_its_own_forward_is_called() -> None:
    layer = KSLinear(THREE_FACTORS, bias=False)
    x = torch.randn(5, 24)
    with torch.no_grad():
        y = [layer(x), layer(x)][-1]
        layer.factors[1].__class__ = Counted
        for call in range(3):
            assert torch.equal(layer(x), 2 * y) and Counted.calls == call + 1
        layer.factors[1].__class__ = KSFactor
        original = layer.factors[2].forward
        layer.factors[2].forward = lambda *arguments: -original(*arguments)
        assert torch.equal(layer(x), -y) and torch.equal(layer(x), -y)


@pytest.mark.parametrize("target", ["layer", "factor", "every module"])
@pytest.mark.parametrize("gradients", [False, True])
def test_hooks_run_at_every_call_and_may_change_input_and_output(target: str, gradients: bool) -> None:
    layer = KSLinear([(2, 4, 4, 2)], bias=False)
    x, called = torch.randn(3, 16), []

    def before(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        called.append("before")
        return (2 * inputs[0], *inputs[1:])

    def after(module: nn.Module, inputs: object, y: torch.Tensor) -> torch.Tensor:
        called.append("after")
        return -y

    modules = {"layer": layer, "factor": layer.factors[0], "every module": None}
    with torch.set_grad_enabled(gradients):
        y = [layer(x), layer(x)][-1]
        if (module := modules[target]) is None:
            handles = [register_module_forward_pre_hook(before), register_module_forward_hook(after)]
        else:
            handles = [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
        try:
            for _ in range(2):
                torch.testing.assert_close(layer(x), 4 * y if target == "every module" else -2 * y)
        finally:
            for handle in handles:
                handle.remove()
        assert torch.equal(layer(x), y)
    expected = ["before", "after"] if target != "every module" else ["before", "before", "after", "after"]
    assert called == 2 * expected


def test_backward_hooks_run() -> None:
    layer = KSLinear(THREE_FACTORS)
    called = []
    layer.register_full_backward_hook(lambda *_: called.append("layer"))
    layer.factors[1].register_full_backward_hook(lambda *_: called.append("factor"))
    layer(torch.randn(3, 24, requires_grad=True)).sum().backward()
    assert called == ["factor", "layer"]
