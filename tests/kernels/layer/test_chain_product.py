"""Layers whose factors are multiplied in one pass: the bits and gradients of one factor after the other."""

from __future__ import annotations

import copy
import pickle
from itertools import product
from unittest.mock import patch

import pytest
import torch
from torch.nn.utils import parametrize

from kswatch.kernels.fused.cpu_twin import chain, twin
from kswatch.kernels.layer import chain_product
from kswatch.kernels.linear import KSLinear

pytestmark = pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load()))

CHAINS = {
    "two": [(16, 48, 64, 1), (1, 96, 256, 3)],
    "three": [(16, 48, 64, 1), (1, 256, 256, 3), (2, 200, 128, 3)],
    "four": [(16, 48, 64, 1), (1, 256, 256, 3), (2, 200, 128, 3), (5, 50, 240, 1)],
}
"""Every second factor has too many weights for the products in C++ of a tiny layer."""
KINDS = list(product(("batch_first", "batch_last"), (torch.float32, torch.bfloat16, torch.float16)))


def pair_of_layers(name: str = "two", layout: str = "batch_first", dtype=torch.float32, **options):
    """The same layer by one factor after the other, and in one pass."""
    torch.manual_seed(1)
    apart = KSLinear(CHAINS[name], algorithm="fused", layout=layout, dtype=dtype)
    together = KSLinear(CHAINS[name], algorithm="fused_chain", layout=layout, dtype=dtype, **options)
    together.load_state_dict(apart.state_dict())
    return apart, together


def an_input(layer: KSLinear, batch: int = 70) -> torch.Tensor:
    torch.manual_seed(2)
    sizes = (batch, layer.in_features) if layer.layout == "batch_first" else (layer.in_features, batch)
    return torch.randn(sizes, dtype=layer.factors[0].weight.dtype)


@pytest.fixture
def passes():
    """Counts the products in one pass."""
    calls = []
    former = chain.product

    def counted(problems, packed, tile=None):
        multiply = former(problems, packed, tile)

        def call(*operands):
            calls.append(problems)
            return multiply(*operands)

        return call

    with patch.object(chain_product.chain, "product", counted):
        yield calls


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize(("layout", "dtype"), KINDS)
def test_one_pass_gives_the_bits_of_one_factor_after_the_other(name, layout, dtype, passes) -> None:
    apart, together = pair_of_layers(name, layout, dtype)
    with torch.no_grad():
        for batch in (1, 5, 70, 300):
            x = an_input(apart, batch)
            assert torch.equal(together(x), apart(x))
    assert len(passes) == 4 * (len(CHAINS[name]) // 2)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(("layout", "dtype"), KINDS)
def test_gradients_are_those_of_one_factor_after_the_other(layout, dtype, keep, passes) -> None:
    found = []
    for layer in pair_of_layers("three", layout, dtype, keep_intermediate=keep):
        x = an_input(layer).requires_grad_()
        y = layer(x)
        y.float().square().sum().backward()
        found.append([y, x.grad, *(parameter.grad for parameter in layer.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert len(passes) == (0 if keep else 1)


@pytest.mark.parametrize("wanted", list(product((False, True), repeat=4))[1:])
def test_only_wanted_gradients_are_computed(wanted) -> None:
    found = []
    for layer in pair_of_layers():
        x = an_input(layer)
        operands = [x, *(factor.weight for factor in layer.factors), layer.bias]
        for operand, needed in zip(operands, wanted, strict=True):
            operand.requires_grad_(needed)
        layer(x).square().sum().backward()
        assert [operand.grad is not None for operand in operands] == list(wanted)
        found.append([operand.grad for operand in operands if operand.grad is not None])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_gradients_of_gradients_are_those_of_one_factor_after_the_other() -> None:
    found = []
    for layer in pair_of_layers():
        x = an_input(layer, 9).requires_grad_()
        (gradient,) = torch.autograd.grad(layer(x).pow(3).sum(), x, create_graph=True)
        gradient.square().sum().backward()
        found.append([x.grad, *(factor.weight.grad for factor in layer.factors)])
    assert all(torch.allclose(one, other, rtol=1e-4) for one, other in zip(*found, strict=True))


def test_a_recomputed_intermediate_is_not_kept_for_the_gradient() -> None:
    kept_bytes = []
    for keep in (False, True):
        _, layer = pair_of_layers(keep_intermediate=keep)
        sizes: list[int] = []

        def count(tensor: torch.Tensor, sizes=sizes) -> torch.Tensor:
            sizes.append(tensor.nbytes if tensor.dim() == 2 else 0)  # activations, not weights
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            layer(an_input(layer))
        kept_bytes.append(sum(sizes))
    assert kept_bytes[1] - kept_bytes[0] == 70 * 768 * 4


def test_changed_weights_are_used_and_frozen_ones_are_not_changed() -> None:
    apart, together = pair_of_layers()
    x = an_input(apart)
    with torch.no_grad():
        before = together(x)
        for layer in (apart, together):
            layer.factors[0].weight.data.numpy()[:] *= 2  # no counter of torch sees it
        assert torch.equal(together(x), apart(x)) and not torch.equal(together(x), before)
        together.eval().freeze()
        frozen = together(x)
        together.factors[1].weight.data.mul_(3)
        together.bias.data.add_(1)
        assert torch.equal(together(x), frozen)
        assert not torch.equal(together.refresh()(x), frozen)


def test_auto_takes_one_pass_where_it_chooses_fused_for_both(passes, monkeypatch) -> None:
    apart, _ = pair_of_layers()
    layer = KSLinear(CHAINS["two"])
    layer.load_state_dict(apart.state_dict())
    x = an_input(apart)
    with torch.no_grad():
        monkeypatch.setattr("kswatch.kernels.layer.algorithm_choice._predicted", lambda *problem: "fused")
        monkeypatch.setattr("kswatch.kernels.layer.algorithm_choice._predicted_choices", {})
        assert torch.equal(layer(x), apart(x)) and len(passes) == 1
        chosen = iter(["fused", "bmm"])
        monkeypatch.setattr(
            "kswatch.kernels.layer.algorithm_choice._predicted", lambda *problem: next(chosen)
        )
        monkeypatch.setattr("kswatch.kernels.layer.algorithm_choice._predicted_choices", {})
        torch.testing.assert_close(KSLinear.forward(copy.deepcopy(layer), x), apart(x))
        assert len(passes) == 1


def test_hooks_of_a_factor_are_called(passes) -> None:
    apart, together = pair_of_layers()
    seen = []
    together.factors[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    with torch.no_grad():
        assert torch.equal(together(an_input(apart)), apart(an_input(apart)))
    assert seen == [(70, 768)] and passes == []


class Doubled(torch.nn.Module):
    """A weight that is computed at each use."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def test_computed_weights_are_computed(passes) -> None:
    apart, together = pair_of_layers()
    for layer in (apart, together):
        parametrize.register_parametrization(layer.factors[1], "weight", Doubled())
    with torch.no_grad():
        assert torch.equal(together(an_input(apart)), apart(an_input(apart)))
    assert passes == []


def test_transforms_and_autocast_give_what_they_gave() -> None:
    apart, together = pair_of_layers()
    x = an_input(apart)
    for transform in (
        lambda layer: torch.func.vmap(layer)(x[:, None]),
        lambda layer: torch.func.jvp(layer, (x,), (x,))[1],
        lambda layer: torch.func.functional_call(layer, {"bias": torch.zeros_like(layer.bias)}, (x,)),
        lambda layer: layer.double()(x.double()),
    ):
        assert torch.equal(transform(together), transform(apart))
    apart, together = pair_of_layers()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(together(x), apart(x)) and together(x).dtype is torch.bfloat16


def test_copies_and_pickles_keep_the_arguments_and_nothing_else() -> None:
    apart, together = pair_of_layers(keep_intermediate=True)
    x = an_input(apart)
    with torch.no_grad():
        together(x)
        for other in (copy.deepcopy(together), pickle.loads(pickle.dumps(together))):
            assert other.keep_intermediate and not other.factors[1].kept.chains
            assert torch.equal(other(x), apart(x))


@pytest.mark.parametrize("batch", [0, 1])
def test_an_empty_batch_and_one_row(batch) -> None:
    apart, together = pair_of_layers()
    x = an_input(apart, batch).requires_grad_()
    assert torch.equal(together(x), apart(x)) and together(x).shape == (batch, 288)
