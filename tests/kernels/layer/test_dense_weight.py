"""`KSLinear.weight`: the layer's matrix for code that reads it, with gradients, and never written to."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from kswatch.errors import UsageError
from kswatch.kernels import KSLinear
from kswatch.kernels.layer.dense_weight import DenseWeight

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]

CHAIN = [(2, 6, 4, 3), (1, 5, 9, 4)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def with_dense_layers(model: nn.Module) -> nn.Module:
    """A copy of a model, every KSLinear in it made dense."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, KSLinear):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.to_linear())
    return model


def encoder_layer() -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(24, 4, 36, dropout=0.0, batch_first=True)
    layer.linear1 = KSLinear([(2, 6, 4, 3)])
    layer.linear2 = KSLinear([(2, 4, 6, 3)])
    return layer


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_a_transformer_layer_computes_as_with_dense_layers(training: bool, gradients: bool) -> None:
    layer, x = encoder_layer().train(training), torch.randn(2, 5, 24)
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(layer(x), with_dense_layers(layer)(x), rtol=1e-4, atol=1e-5)


def test_torchs_fused_transformer_kernel_leaves_the_product_to_the_layer() -> None:
    layer, calls = encoder_layer().eval(), []
    layer.linear1.register_forward_hook(lambda *call: calls.append(call))
    with torch.no_grad():
        layer(torch.randn(2, 5, 24))
    assert len(calls) == 1


def test_an_encoder_with_padding_computes_as_with_dense_layers() -> None:
    model = nn.TransformerEncoder(encoder_layer(), 2, enable_nested_tensor=True).eval()
    x, padded = torch.randn(2, 5, 24), torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]).bool()
    with torch.no_grad():
        y = model(x, src_key_padding_mask=padded)
        truth = with_dense_layers(model)(x, src_key_padding_mask=padded)
    torch.testing.assert_close(y[~padded], truth[~padded], rtol=1e-4, atol=1e-5)


def test_multi_head_attention_reads_the_weight_with_gradients() -> None:
    attention, x = nn.MultiheadAttention(24, 4, batch_first=True), torch.randn(2, 5, 24)
    attention.out_proj = KSLinear([(2, 4, 4, 3)])
    dense = with_dense_layers(attention)
    for model in (attention, dense):
        model(x, x, x)[0].square().sum().backward()
    torch.testing.assert_close(attention(x, x, x)[0], dense(x, x, x)[0], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        dense.out_proj.weight.copy_(dense.out_proj.weight.grad)
    on_pattern = KSLinear.from_linear(dense.out_proj, attention.out_proj.patterns)
    gradient = attention.out_proj.factors[0].weight.grad
    torch.testing.assert_close(gradient, on_pattern.factors[0].weight.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_is_the_matrix_of_the_layer(dtype: torch.dtype) -> None:
    layer = KSLinear(CHAIN, dtype=dtype)
    weight, dense = layer.weight, layer.to_linear()
    assert (weight.shape, weight.dtype, weight.device) == ((20, 24), dtype, torch.device("cpu"))
    assert weight.requires_grad and isinstance(weight, torch.Tensor)
    tolerance = {"rtol": 2e-2, "atol": 1e-3} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(weight.clone(), dense.weight, **tolerance)
    torch.testing.assert_close(
        weight.detach().float().numpy(), dense.weight.detach().float().numpy(), **tolerance
    )
    x = torch.randn(3, 24, dtype=dtype)
    torch.testing.assert_close(F.linear(x, weight, layer.bias), dense(x), **tolerance)


def test_metadata_build_no_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DenseWeight, "values", lambda weight: pytest.fail("the matrix was built"))
    weight = KSLinear(CHAIN).weight
    assert (*weight.shape, weight.dim(), weight.numel(), len(weight)) == (20, 24, 2, 480, 20)
    assert weight.size(1) == 24 and weight.dtype.is_floating_point and weight.device.type == "cpu"
    assert weight.grad is None and not weight.is_nested and not weight.detach().requires_grad


def replace_by_parameter(layer: KSLinear) -> None:
    layer.weight = nn.Parameter(torch.zeros(20, 24))


def replace_by_tensor(layer: KSLinear) -> None:
    layer.weight = torch.zeros(20, 24)


def assign_item(layer: KSLinear) -> None:
    layer.weight[0] = 1.0


def add_in_place(layer: KSLinear) -> None:
    weight = layer.weight
    weight += 1.0


def assign_data(layer: KSLinear) -> None:
    layer.weight.data = torch.zeros(20, 24)


WRITES: dict[str, Callable[[KSLinear], object]] = {
    "zero_": lambda layer: layer.weight.zero_(),
    "data": lambda layer: layer.weight.data.normal_(0, 0.02),
    "detach": lambda layer: layer.weight.detach().copy_(torch.zeros(20, 24)),
    "xavier": lambda layer: nn.init.xavier_uniform_(layer.weight),
    "uniform": lambda layer: nn.init.uniform_(layer.weight),
    "frozen": lambda layer: layer.weight.requires_grad_(False),
    "out": lambda layer: torch.add(1, layer.weight, out=layer.weight),
    "foreach": lambda layer: torch._foreach_mul_([layer.weight], 2.0),
    "hook": lambda layer: layer.weight.register_hook(print),
    "pruned": lambda layer: prune.custom_from_mask(layer, "weight", torch.zeros(20, 24)),
    "parameter": replace_by_parameter,
    "tensor": replace_by_tensor,
    "item": assign_item,
    "+=": add_in_place,
    "assigned data": assign_data,
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_would_be_lost_is_refused(name: str) -> None:
    layer = KSLinear(CHAIN)
    with pytest.raises((UsageError, TypeError), match="KSLinear.weight is the product|cannot assign"):
        WRITES[name](layer)


def test_it_is_no_parameter_and_not_in_the_state() -> None:
    layer = KSLinear(CHAIN)
    assert [name for name, _ in layer.named_parameters()] == ["bias", "factors.0.weight", "factors.1.weight"]
    assert not any(name == "weight" for name in layer.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("gradients", [True, False])
def test_a_compiled_transformer_layer_computes_the_same_with_the_product(gradients: bool) -> None:
    torch.compiler.reset()
    layer, x, graphs = encoder_layer().eval(), torch.randn(2, 5, 24), []

    def backend(graph: torch.fx.GraphModule, inputs: list) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    with torch.set_grad_enabled(gradients):
        compiled = torch.compile(layer, backend=backend, fullgraph=True)
        torch.testing.assert_close(compiled(x), layer(x), rtol=1e-4, atol=1e-5)
    assert "kswatch.product" in str(graphs[0].graph)


@pytest.mark.slow
@pytest.mark.parametrize("strict", [True, False])
def test_an_exported_transformer_layer_keeps_the_product(strict: bool) -> None:
    layer, x = encoder_layer().eval(), torch.randn(2, 5, 24)
    with torch.no_grad():
        exported = torch.export.export(layer, (x,), strict=strict)
        torch.testing.assert_close(exported.module()(x), layer(x), rtol=1e-4, atol=1e-5)
    assert str(exported.graph).count("kswatch.product") == 2


@pytest.mark.slow
def test_a_compiled_reader_gets_an_ordinary_result_with_gradients() -> None:
    torch.compiler.reset()
    layer, x = KSLinear(CHAIN), torch.randn(3, 24)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def read(x: torch.Tensor) -> torch.Tensor:
        return F.linear(x.to(layer.weight.dtype), layer.weight, layer.bias)

    assert type(read(x)) is torch.Tensor
    weights = list(layer.parameters())
    gradients = torch.autograd.grad(read(x).square().sum(), weights)
    truths = torch.autograd.grad(layer(x).square().sum(), weights)
    for gradient, truth in zip(gradients, truths, strict=True):
        torch.testing.assert_close(gradient, truth, rtol=1e-4, atol=1e-4)
