"""torch's compiler and exporter keep each factor as one operator."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels import KSLinear
from kswatch.kernels.fused.artifacts.host_compiler import find_compiler
from kswatch.kernels.layer import torch_operator

pytestmark = pytest.mark.usefixtures("one_thread")

CHAIN = [(2, 6, 4, 3), (1, 5, 9, 4), (5, 7, 4, 1)]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch.manual_seed(0)
    torch.compiler.reset()


class Kept:
    """A backend of `torch.compile` that keeps the graphs and runs them as they are."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        del inputs
        self.graphs.append(graph)
        return graph


def products_in(graph: torch.fx.GraphModule) -> int:
    return sum(node.target is torch_operator.product for node in graph.graph.nodes)


def operations_in(graph: torch.fx.GraphModule) -> int:
    return sum(node.op in ("call_function", "call_method") for node in graph.graph.nodes)


@pytest.mark.parametrize("layout", ["batch_first", "batch_last"])
def test_compile_sees_one_operator_for_each_factor_and_nothing_else(layout: str) -> None:
    kept, layer = Kept(), KSLinear(CHAIN, layout=layout)
    x = torch.randn((8, 24) if layout == "batch_first" else (24, 8))
    compiled = torch.compile(layer, backend=kept, fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))
    (graph,) = kept.graphs
    assert products_in(graph) == operations_in(graph) == len(CHAIN)


def test_compile_adds_one_operator_per_factor_for_gradients() -> None:
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    forward, backward = Kept(), Kept()
    backend = aot_autograd(
        fw_compiler=lambda *graph: make_boxed_func(forward(*graph)),
        bw_compiler=lambda *graph: make_boxed_func(backward(*graph)),
    )
    layer = KSLinear(CHAIN)
    x = torch.randn(8, 24, requires_grad=True)
    torch.compile(layer, backend=backend, fullgraph=True)(x).sum().backward()
    assert products_in(forward.graphs[0]) == products_in(backward.graphs[0]) == len(CHAIN)


def trained(run: nn.Module, layer: KSLinear, x: torch.Tensor) -> list[torch.Tensor]:
    """The output and all gradients."""
    inputs = [x, *layer.parameters()]
    y = run(x)
    return [y, *torch.autograd.grad(y.square().sum(), inputs)]


def backends() -> list:
    try:
        find_compiler()
    except UnsupportedError:
        return ["aot_eager"]
    return ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)]


@pytest.mark.parametrize("backend", backends())
def test_a_compiled_layer_trains_as_the_plain_one(backend: str) -> None:
    layer = KSLinear(CHAIN)
    x = torch.randn(8, 24, requires_grad=True)
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    for once_more in range(2):
        for got, expected in zip(trained(compiled, layer, x), trained(layer, layer, x), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        with torch.no_grad():  # a step of training, which the compiled layer must see
            for parameter in layer.parameters():
                parameter.add_(0.1 * (once_more + 1))


def test_export_keeps_one_operator_for_each_factor_for_any_batch(tmp_path) -> None:
    layer = KSLinear(CHAIN).eval()
    batch = torch.export.Dim("batch", min=2, max=4096)
    exported = torch.export.export(layer, (torch.randn(8, 24),), dynamic_shapes=({0: batch},))
    assert products_in(exported.graph_module) == len(CHAIN)
    torch.export.save(exported, tmp_path / "layer.pt2")
    require_twin = torch.export.load(tmp_path / "layer.pt2").module()
    x = torch.randn(31, 24)
    torch.testing.assert_close(require_twin(x), layer(x))


def test_compile_keeps_the_operator_for_other_batch_sizes() -> None:
    layer = KSLinear(CHAIN)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=True)
    for batch in (5, 9, 33):
        x = torch.randn(batch, 24)
        torch.testing.assert_close(compiled(x), layer(x))


def test_compile_of_an_invalid_input_gives_the_same_error_as_the_plain_layer() -> None:
    compiled = torch.compile(KSLinear(CHAIN), backend="eager")
    with pytest.raises(UsageError, match="takes 24 features"):
        compiled(torch.randn(3, 25))


def test_the_operator_passes_torchs_own_checks() -> None:
    x, weight = torch.randn(4, 24, requires_grad=True), torch.randn(2, 6, 4, 3, requires_grad=True)
    bias = torch.randn(36, requires_grad=True)
    arguments = (x, weight, bias, False, "fused", "batch_first")
    checks = torch.library.opcheck(torch_operator.product, arguments)
    assert set(checks.values()) == {"SUCCESS"}


# ---- present weights ------------------------------------------------------------------------------


def assert_equal(y: torch.Tensor, truth: torch.Tensor) -> None:
    torch.testing.assert_close(y, truth, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("backend", backends())
def test_several_compiled_layers_of_one_shape_keep_their_own_computed_weights(
    backend: str, dynamic: bool, by_einsum
) -> None:
    """Their weights are temporaries, which may take each other's memory."""
    layers = [KSLinear([(2, 4, 4, 3)]) for _ in range(3)]
    for layer in layers:
        parametrizations.weight_norm(layer.factors[0], "weight")
    compiled = torch.compile(nn.Sequential(*layers), backend=backend, fullgraph=True, dynamic=dynamic)
    for batch in (5, 5, 8, 16):
        x = torch.randn(batch, 24)
        truth = x
        for layer in layers:
            truth = by_einsum(layer, truth)
        with torch.no_grad():
            assert_equal(compiled(x), truth)
            for _, parameter in nn.Sequential(*layers).named_parameters():
                parameter.data.mul_(1.1)
        truth = x
        for layer in layers:
            truth = by_einsum(layer, truth)
        parameters = list(nn.Sequential(*layers).parameters())
        ours = torch.autograd.grad(compiled(x).square().sum(), parameters)
        for gradient, other in zip(ours, torch.autograd.grad(truth.square().sum(), parameters), strict=True):
            torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "orthogonal", "own"])
def test_a_compiled_parametrized_layer_follows_its_parameters(kind: str, by_einsum) -> None:
    layer = KSLinear([(1, 6, 4, 1), (1, 4, 6, 1)])
    factor = layer.factors[0]
    if kind == "own":
        parametrize.register_parametrization(factor, "weight", nn.Tanh())
    elif kind == "orthogonal":
        parametrize.register_parametrization(factor, "weight", nn.Softplus())
        parametrize.register_parametrization(factor, "weight", nn.Tanh())
    else:
        getattr(parametrizations, kind)(factor, "weight")
    layer.eval()
    compiled = torch.compile(layer, backend="aot_eager")
    for batch in (3, 5):
        x = torch.randn(batch, 4)
        with torch.no_grad():
            for _ in range(2):
                assert_equal(compiled(x), by_einsum(layer, x))
                for parameter in layer.parameters():
                    parameter.data.mul_(-1.3)


def test_a_compiled_layer_follows_changes_that_torch_does_not_count(by_einsum) -> None:
    layer = KSLinear(CHAIN)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-2, fused=True)
    x = torch.randn(5, 24)
    for _ in range(4):
        y = compiled(x)
        assert_equal(y, by_einsum(layer, x))
        optimiser.zero_grad()
        y.square().sum().backward()
        optimiser.step()
        with torch.no_grad():
            assert_equal(compiled(x), by_einsum(layer, x))
            for parameter in layer.parameters():
                parameter.data.add_(0.1)
            assert_equal(compiled(x), by_einsum(layer, x))


def test_a_compiled_transform_is_that_of_plain_torch(by_einsum) -> None:
    layer, x = KSLinear(CHAIN), torch.randn(5, 24)

    def gradient(function):
        return torch.func.grad(lambda x: function(x).square().sum())

    compiled = torch.compile(gradient(layer), backend="aot_eager")
    assert_equal(compiled(x), gradient(lambda x: by_einsum(layer, x))(x))
    samples = torch.randn(4, 3, 24)
    mapped = torch.compile(torch.vmap(layer), backend="aot_eager")
    with torch.no_grad():
        assert_equal(mapped(samples), torch.vmap(lambda x: by_einsum(layer, x))(samples))


def test_compiled_autograd_of_an_uncompiled_layer_is_that_of_plain_torch(by_einsum) -> None:
    import torch._dynamo

    layer = KSLinear(CHAIN)
    inputs = [torch.randn(5, 24, requires_grad=True), *layer.parameters()]
    truths = torch.autograd.grad(by_einsum(layer, inputs[0]).square().sum(), inputs)
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
        layer(inputs[0]).square().sum().backward()
    for operand, truth in zip(inputs, truths, strict=True):
        torch.testing.assert_close(operand.grad, truth, rtol=1e-3, atol=1e-3)


def test_an_exported_program_follows_its_parameters(by_einsum) -> None:
    layer, x = KSLinear(CHAIN), torch.randn(5, 24)
    program = torch.export.export(layer, (x,)).module()
    with torch.no_grad():
        for _ in range(2):
            assert_equal(program(x), by_einsum(layer, x))
            for parameter in (*layer.parameters(), *program.parameters()):
                if parameter.data_ptr() not in {own.data_ptr() for own in layer.parameters()}:
                    parameter.data.mul_(2.0)
            for parameter in layer.parameters():
                parameter.data.mul_(2.0)
