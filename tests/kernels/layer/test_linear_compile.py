"""torch's compiler and exporter keep each factor as one operator."""

from __future__ import annotations

import pytest
import torch
from torch import nn

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


def test_compile_prepares_the_weights_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from kswatch.kernels.layer.prepared_products import PreparedProducts

    prepared: list[tuple] = []
    prepare = PreparedProducts._prepare

    def counting(self: PreparedProducts, weight: torch.Tensor, bias: object, question: tuple) -> object:
        prepared.append(question)
        return prepare(self, weight, bias, question)

    monkeypatch.setattr(PreparedProducts, "_prepare", counting)
    compiled = torch.compile(KSLinear(CHAIN), backend="aot_eager", fullgraph=True)
    x = torch.randn(8, 24, requires_grad=True)
    for _ in range(3):
        compiled(x).sum().backward()
    assert len(prepared) == 2 * len(CHAIN)  # K and Kᵀ of each factor


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
