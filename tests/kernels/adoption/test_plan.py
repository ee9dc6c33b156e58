"""`kswatch.plan` and `kswatch.replace` on a small network: what is replaced, what is left, and the sums."""

from __future__ import annotations

import copy
import json
from dataclasses import FrozenInstanceError
from math import fsum

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import kswatch
from kswatch.errors import UsageError
from kswatch.kernels import KSLinear
from tests.kernels.adoption.small_vit import CLASSES, ROWS, WIDTH, Conv1D, small_vit

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def planned():
    model, x = small_vit()
    return model, x, kswatch.plan(model, x, device="cpu")


def line(plan, name):
    return next(one for one in plan.layers if one.name == name)


def test_each_weight_has_one_line_with_the_rows_of_its_calls(planned) -> None:
    _, _, plan = planned
    up, down = line(plan, "blocks.0.up"), line(plan, "blocks.0.down")
    assert (up.in_features, up.out_features, up.calls) == (WIDTH, 4 * WIDTH, (ROWS, ROWS, ROWS))
    assert up.shared_with == ("blocks.2.up", "blocks.1.up")
    assert (down.in_features, down.out_features, down.calls) == (4 * WIDTH, WIDTH, (ROWS, ROWS))
    assert {one.name for one in plan.layers if one.is_replaced} == {
        "embed", "blocks.0.up", "blocks.0.down", "blocks.1.down",
    }  # fmt: skip


def test_layers_in_use_otherwise_are_left_with_the_reason(planned) -> None:
    _, _, plan = planned
    reasons = {one.name: one.reason for one in plan.layers if not one.is_replaced}
    assert "NonDynamicallyQuantizableLinear" in reasons["blocks.0.attention.out_proj"]
    assert reasons["head"] == "its weight is tied to words.weight (Embedding)"
    assert reasons["hooked"] == "it has hooks"
    assert reasons["unused"] == "this input never calls it"


def test_replaced_layers_share_what_was_shared_and_the_rest_is_the_same(planned) -> None:
    model, x, plan = planned
    before = {name: value.clone() for name, value in model.state_dict().items()}
    new = kswatch.replace(model, plan)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert not any(isinstance(module, KSLinear) for module in model.modules())
    first, second, third = new.blocks
    assert third is first and isinstance(first.up, KSLinear)
    assert second.up is not first.up and second.up.bias is not first.up.bias
    assert [one.weight for one in second.up.factors] == [one.weight for one in first.up.factors]
    assert torch.equal(second.up.bias, model.blocks[1].up.bias)
    assert new.head.weight is new.words.weight
    assert sum(one.numel() for one in new.parameters()) == plan.total.model_parameters
    y = torch.randn(3, WIDTH)
    assert torch.equal(new.hooked(y), model.hooked(y)) and torch.equal(new.head(y), model.head(y))
    chain = line(plan, "embed").best
    assert new.embed.projection_error == pytest.approx(chain.projection_error, rel=1e-9)
    dense = new.embed.to_linear()
    assert torch.allclose(new.embed(x), dense(x), atol=1e-4)
    assert new(x).shape == (2, ROWS // 2, CLASSES)


def test_a_gradient_reaches_the_shared_factors_from_all_layers(planned) -> None:
    model, x, plan = planned
    new = kswatch.replace(model, plan)
    new(x).square().sum().backward()
    assert all(one.weight.grad.abs().sum() > 0 for one in new.blocks[1].up.factors)


def test_in_place_the_model_itself_changes(planned) -> None:
    model, x, plan = planned
    own = copy.deepcopy(model)
    bias = own.embed.bias
    assert kswatch.replace(own, plan, inplace=True) is own
    assert isinstance(own.embed, KSLinear) and own.embed.bias is bias


def test_the_sums_are_those_of_the_lines_in_object_and_document(planned) -> None:
    _, _, plan = planned
    document = json.loads(plan.to_json())
    assert {"name", "in", "out", "batch", "best", "latency_ms", "parameters", "source"} <= document["layers"][
        0
    ].keys()
    known = [one["latency_ms"] for one in document["layers"] if one["latency_ms"] is not None]
    assert document["total"]["latency_ms"] == fsum(known) == plan.total.latency_ms
    assert document["total"]["parameters"] == sum(one["parameters"] for one in document["layers"])
    assert document["total"]["without_latency"] == len(document["layers"]) - len(known)
    assert {one["source"] for one in document["layers"]} == {"predicted", "no data"}
    assert plan.total.latency_ms < plan.total.dense_latency_ms
    with pytest.raises(FrozenInstanceError):
        plan.device = "other"


def test_errors_are_those_of_the_projection_and_of_the_truncated_decomposition(planned) -> None:
    model, _, plan = planned
    weight = model.blocks[0].down.weight.detach().t().double()
    chain = line(plan, "blocks.0.down").best
    singular = torch.linalg.svdvals(weight).square()
    rank = sum(one.nonzeros for one in chain.patterns) // sum(weight.shape)
    assert chain.svd_error == pytest.approx(float((singular[rank:].sum() / singular.sum()).sqrt()), rel=1e-9)
    linear = nn.Linear(4 * WIDTH, WIDTH)
    linear.weight.data.copy_(weight)
    projected = KSLinear.from_linear(linear, chain.patterns)
    assert chain.projection_error == pytest.approx(projected.projection_error, rel=1e-6)


def test_a_plan_leaves_the_model_as_it_was() -> None:
    model, x = small_vit()
    model.train()
    model.blocks[0].norm.eval()
    norm = nn.BatchNorm1d(3 * WIDTH)
    whole = nn.Sequential(nn.Flatten(0, 1), norm, nn.Unflatten(0, x.shape[:2]), model)
    state, random_state = copy.deepcopy(whole.state_dict()), torch.get_rng_state()
    kswatch.plan(whole, x, device="cpu")
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.training and not model.blocks[0].norm.training
    assert all("forward" not in vars(module) for module in whole.modules())


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_keeps_to_its_width_and_names_everything(planned, width: int) -> None:
    _, _, plan = planned
    text = plan.table(width)
    assert max(map(len, text.splitlines())) <= width
    folded = " ".join(text.split())
    for one in plan.layers:
        assert f"{one.name}: {one.in_features} -> {one.out_features}" in folded
        assert one.best.name in folded
    assert "stays dense: it has hooks" in folded and "sum, as planned" in folded
    assert str(plan)


def test_a_limit_of_parameters_is_kept_with_the_least_loss(planned) -> None:
    model, x, free = planned
    count = sum(one.numel() for one in model.parameters())
    near = kswatch.plan(model, x, device="cpu", max_parameters=count - 1000)
    assert sum(one.is_replaced for one in near.layers) == 1
    limit = free.total.model_parameters - 4000
    tight = kswatch.plan(model, x, device="cpu", max_parameters=limit)
    assert tight.total.model_parameters <= limit
    assert sum(one.numel() for one in kswatch.replace(model, tight).parameters()) <= limit
    half = free.total.dense_latency_ms / 2
    assert kswatch.plan(model, x, device="cpu", max_latency_ms=half).total.latency_ms <= half


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"max_parameters": 10}, "max_parameters = 10"),
        ({"max_latency_ms": 1.0}, "no latency is known"),
        ({"max_energy_mj": 1.0}, "no energy is known"),
        ({"max_latency_ms": -1}, "is not a number above 0"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(planned, limits, sentence) -> None:
    model, x, _ = planned
    device = "H200" if "max_latency_ms" in limits else "cpu"
    with pytest.raises(UsageError, match=sentence):
        kswatch.plan(model, x, device=device, **limits)


def test_without_data_for_a_device_everything_stays_dense() -> None:
    plan = kswatch.plan(nn.Linear(64, 64), torch.randn(98, 64), device="H200")
    assert [(one.name, one.best.name, one.best.latency.source) for one in plan.layers] == [
        ("(the model)", "dense", "no data")
    ]
    assert "no data" in plan.layers[0].reason
    with pytest.raises(UsageError, match="TPU v7"):
        kswatch.plan(nn.Linear(64, 64), torch.randn(98, 64), device="TPU v7")


def test_a_model_that_is_itself_a_layer_is_returned_new() -> None:
    model = nn.Linear(128, 128, dtype=torch.float32).requires_grad_(False)
    plan = kswatch.plan(model, torch.randn(98, 128), device="cpu")
    new = kswatch.replace(model, plan)
    assert isinstance(new, KSLinear) and not any(one.requires_grad for one in new.parameters())
    with pytest.raises(UsageError, match="itself the layer"):
        kswatch.replace(model, plan, inplace=True)


def linear(change=None) -> nn.Module:
    layer = nn.Linear(64, 64)
    return layer if change is None else (change(layer) or layer)


def with_tensor_hook(layer: nn.Linear) -> None:
    layer.weight.register_hook(lambda gradient: gradient)


def with_qconfig(layer: nn.Linear) -> None:
    layer.qconfig = object()


def with_own_forward(layer: nn.Linear) -> None:
    layer.forward = lambda x: x


def with_nan(layer: nn.Linear) -> None:
    layer.weight.data[0, 0] = float("nan")


def with_adapter(layer: nn.Linear) -> None:
    layer.register_parameter("lora_a", nn.Parameter(torch.zeros(1)))


class Symmetric(nn.Module):
    def forward(self, x):
        return x + x.t()


def parametrized(layer: nn.Linear) -> None:
    parametrize.register_parametrization(layer, "weight", Symmetric())


class OwnLinear(nn.Linear):
    """A subclass."""


def transposing() -> nn.Module:
    layer = Conv1D(64, 64)
    layer.forward = None
    return layer


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: linear(with_tensor_hook), "its parameters have hooks"),
        (lambda: linear(lambda one: one.register_full_backward_hook(print) and None), "it has hooks"),
        (lambda: linear(parametrized), "parametrized"),
        (lambda: linear(lambda one: parametrizations.weight_norm(one)), "parametrized"),
        (lambda: linear(with_qconfig), "quantised"),
        (lambda: linear(with_own_forward), "its forward was replaced"),
        (lambda: linear(with_nan), "NaN"),
        (lambda: linear(with_adapter), "more than weight and bias: lora_a"),
        (lambda: OwnLinear(64, 64), "OwnLinear"),
        (lambda: nn.LazyLinear(64), "lazy"),
        (lambda: nn.Linear(64, 64, device="meta"), "meta device"),
        (lambda: nn.Linear(64, 64).double(), "torch.float64"),
    ],
)
def test_each_kind_of_use_is_a_reason(layer, reason: str) -> None:
    module = layer()
    dtype = torch.float64 if "float64" in reason else torch.float32
    model = nn.Sequential(module, nn.ReLU())
    plan = kswatch.plan(model, torch.randn(98, 64, dtype=dtype), device="cpu")
    assert [one.is_replaced for one in plan.layers] == [False]
    assert reason in plan.layers[0].reason
    assert kswatch.replace(model, plan, inplace=True)[0] is module
    if isinstance(module, nn.LazyLinear):
        assert module.has_uninitialized_params()


class Reader(nn.Module):
    """Reads the weight of its layer beside calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x):
        return self.layer(x) + self.layer.weight.sum()


class Odd(Conv1D):
    def forward(self, x):
        return super().forward(x) * 2


Odd.__name__ = "Conv1D"


def test_weights_that_others_read_and_foreign_products_are_left() -> None:
    x = torch.randn(98, 64)
    assert "read outside of its own calls" in kswatch.plan(Reader(), x, device="cpu").layers[0].reason
    odd = kswatch.plan(nn.Sequential(Odd(64, 64)), x, device="cpu").layers[0]
    assert odd.reason == "its output is not x·W + bias"
    encoder = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    lines = kswatch.plan(encoder, x[None], device="cpu").layers  # in evaluation, torch passes its layers by
    assert not any(one.is_replaced for one in lines)


def test_what_changed_since_the_plan_is_refused(planned) -> None:
    model, _, plan = planned
    with pytest.raises(UsageError, match="of another model"):
        kswatch.replace(nn.Linear(3, 4), plan)
    changed = copy.deepcopy(model)
    changed.embed.register_forward_hook(lambda *arguments: None)
    with pytest.raises(UsageError, match="embed cannot be replaced any more: it has hooks"):
        kswatch.replace(changed, plan)


def test_a_model_that_does_not_run_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="does not run on example_input: RuntimeError"):
        kswatch.plan(nn.Linear(64, 64), torch.randn(98, 65), device="cpu")
    with pytest.raises(UsageError, match=r"takes a torch.nn.Module, not str"):
        kswatch.plan("model", torch.randn(1), device="cpu")
