"""Networks against float64, against each other, and with planted faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from kswatch.kernels.linear import KSLinear
from kswatch.kernels.models.base import FUSED, Model, Variant
from kswatch.kernels.models.catalogue import find_model
from kswatch.kernels.networks import gpt2, vit_s16
from kswatch.kernels.networks.build import (
    build_model,
    error_limit,
    model_error,
    model_input,
    reference_output,
    unsupported_reason,
)
from kswatch.kernels.networks.linear_share import linear_share
from kswatch.kernels.networks.weights import WeightSource

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread: None) -> Iterator[None]:
    yield


@pytest.fixture(autouse=True)
def _shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks instead of twelve or twenty-four, and few words."""
    for module in (vit_s16, gpt2):
        monkeypatch.setattr(module, "DEPTH", 2)
    monkeypatch.setattr(gpt2, "VOCABULARY", 64)


def chain_variants(model: Model, *names: str) -> list[Variant]:
    """The last structure by these implementations."""
    return [model.variant(f"{model.structures[-1].name}/{name}") for name in names]


@pytest.mark.parametrize(
    ("name", "algorithms"),
    [("vit_s16", ("bmm", "bmm_blockdense", "einsum", "fused", "auto")), ("gpt2_block", ("bmm", "fused"))],
)
def test_the_variants_of_a_structure_of_a_model_are_within_the_limit_of_one_float64_reference(
    name: str, algorithms: tuple[str, ...]
) -> None:
    model = find_model(name)
    x = model_input(model, 1, "fp32")
    outputs = []
    for variants in (model.variants()[:2], chain_variants(model, *algorithms)):
        networks = [build_model(model, variant, precision="fp32") for variant in variants]
        outputs.append(reference_output(networks[0], x))
        for network in networks:
            assert model_error(network, x, outputs[-1]) <= error_limit("fp32")
    assert torch.linalg.norm(outputs[0] - outputs[1]) > 0.1 * torch.linalg.norm(outputs[0])


def test_a_model_in_bf16_is_within_the_limit_of_float64_with_the_same_rounded_weights() -> None:
    model = find_model("vit_s16")
    x = model_input(model, 1, "bf16")
    for variant in (model.variant("dense/fair"), model.variant("ks/fused")):
        network = build_model(model, variant, precision="bf16")
        assert 1e-4 < model_error(network, x, precision="bf16") <= error_limit("bf16")


def test_samples_of_a_model_do_not_see_each_other() -> None:
    model = find_model("vit_s16")
    x = model_input(model, 3, "fp32")
    network = build_model(model, model.variant("ks/fused"), precision="fp32")
    with torch.no_grad():
        assert torch.allclose(network(x)[1:2], network(x[1:2]), atol=1e-5)


@pytest.mark.parametrize("variant", ["dense/published", "dense/fair"])
def test_tokens_of_the_language_model_see_none_that_come_later(variant: str) -> None:
    model = find_model("gpt2_medium")
    network = build_model(model, model.variant(variant), precision="fp32")
    tokens = torch.arange(20)[None] % 7
    changed = tokens.clone()
    changed[0, 12] = 8
    with torch.no_grad():
        before, after = network(tokens), network(changed)
    assert torch.allclose(before[:, :12], after[:, :12], atol=1e-6)
    assert bool((before[:, 12:] != after[:, 12:]).any(dim=-1).all())


def test_weights_of_a_model_come_from_the_seed_and_the_name_alone() -> None:
    first, second = WeightSource(1), WeightSource(1)
    second.normal("other", (3,), 1.0)
    assert torch.equal(first.normal("a", (4, 5), 0.5), second.normal("a", (4, 5), 0.5))
    assert not torch.equal(first.normal("a", (9,), 1.0), first.normal("b", (9,), 1.0))
    assert not torch.equal(first.normal("a", (9,), 1.0), WeightSource(2).normal("a", (9,), 1.0))


def test_a_planted_error_of_a_model_is_above_its_limit() -> None:
    model = find_model("vit_s16")
    network = build_model(model, model.variant("ks/fused"), precision="fp32")
    x = model_input(model, 1, "fp32")
    expected = reference_output(network, x)
    layer = [one for one in network.modules() if isinstance(one, KSLinear)][-1]
    weight = layer.unfreeze().factors[0].weight
    weight.copy_(weight.bfloat16())
    assert error_limit("fp32") < model_error(network, x, expected) < 1
    network.head.bias[0] = float("nan")
    assert model_error(network, x, expected) == float("inf")


def test_twice_the_error_of_bmm_is_allowed_to_a_model() -> None:
    assert error_limit("fp32") == error_limit("fp32", 1e-6) == 3e-5
    assert error_limit("fp32", 1e-4) == 2e-4


def test_a_variant_of_a_model_that_cannot_be_computed_has_the_modules_reason() -> None:
    model = find_model("vit_s16")
    reason = unsupported_reason(model, model.variant("ks/bmm_strided"), 1, "fp32", CPU)
    assert reason is not None
    assert reason.startswith("to_q: in batch_first with d > 1")
    assert "tf32" in str(unsupported_reason(model, model.variant("dense/fair"), 1, "tf32", CPU))
    assert unsupported_reason(model, model.variant("ks/auto"), 1, "bf16", CPU) is None


def test_the_share_of_linear_layers_of_a_model_is_a_share_and_leaves_no_hook() -> None:
    model = find_model("gpt2_block")
    network = build_model(model, Variant(model.structures[0], FUSED), precision="fp32")
    x = model_input(model, 1, "fp32")
    assert 0.3 < linear_share(network, x) < 1
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in network.modules())
    assert linear_share(nn.Sequential(nn.GELU()), torch.randn(8, 8)) == 0


def test_positions_of_the_vision_model_differ_for_all_patches() -> None:
    positions = vit_s16.sine_positions(14, 384)
    assert positions.shape == (196, 384)
    distances = torch.cdist(positions, positions) + torch.eye(196)
    assert float(distances.min()) > 0.5


def test_patches_of_the_vision_model_keep_rows_columns_and_channels_together() -> None:
    images = torch.arange(2 * 3 * 224 * 224).view(2, 3, 224, 224)
    patches = vit_s16.patches_of(images)
    assert patches.shape == (2, 196, 768)
    assert torch.equal(patches[1, 15].view(16, 16, 3), images[1, :, 16:32, 16:32].permute(1, 2, 0))
