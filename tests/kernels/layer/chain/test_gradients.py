"""Gradients of two factors in one pass: those of one factor after the other, in any state."""

from __future__ import annotations

import copy
import pickle
from itertools import combinations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.linear import KSLinear
from tests.kernels.layer.chain.layers import CHAINS, KINDS, an_input, pair_of_layers

pytestmark = pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load()))


def operands_of(layer: KSLinear, x: torch.Tensor) -> dict[str, torch.Tensor]:
    first, second = (factor.weight for factor in layer.factors)
    return {"x": x, "first": first, "second": second, "bias": layer.bias}


def gradients(layer: KSLinear, x: torch.Tensor, change=lambda layer: None) -> list[torch.Tensor]:
    """Of x, where it wants one, and of all parameters that do; `change` comes between both passes."""
    loss = layer(x).float().square().sum()
    change(layer)
    wanted = [one for one in (x, *layer.parameters()) if one.requires_grad]
    return list(torch.autograd.grad(loss, wanted))


def assert_equal(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    assert [torch.equal(*pair) for pair in zip(found, expected, strict=True)] == [True] * len(found)


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize(("layout", "dtype"), KINDS)
def test_gradients_have_the_bits_of_one_factor_after_the_other(name, layout, dtype, passes) -> None:
    apart, together = pair_of_layers(name, layout, dtype)
    x = an_input(apart, 150).requires_grad_()
    assert_equal(gradients(together, x), gradients(apart, x))
    assert len(passes) == len(CHAINS[name]) // 2


@pytest.mark.parametrize(("layout", "dtype"), KINDS)
def test_second_gradients_differ_by_rounding_alone(layout, dtype) -> None:
    found = []
    for layer in pair_of_layers("three", layout, dtype):
        x = an_input(layer).requires_grad_()
        wanted = [x, *layer.parameters()]
        first = torch.autograd.grad(layer(x).float().square().sum() / 100, wanted, create_graph=True)
        found.append(torch.autograd.grad(sum(one.float().square().sum() for one in first), wanted))
    for one, other in zip(*found, strict=True):
        errors = (one - other).float().norm() / other.float().norm()
        assert errors < 4 * torch.finfo(dtype).eps


OPERANDS = ("x", "first", "second", "bias")


@pytest.mark.parametrize("wanted", [some for count in range(1, 5) for some in combinations(OPERANDS, count)])
def test_any_set_of_operands_may_want_gradients(wanted, passes) -> None:
    found = []
    for layer in pair_of_layers():
        layer.requires_grad_(False)
        x = an_input(layer)
        for name in wanted:
            operands_of(layer, x)[name].requires_grad_()
        found.append(gradients(layer, x))
    assert_equal(*found)
    assert len(found[0]) == len(wanted) and len(passes) == 1


def saved_sizes(layer: KSLinear, x: torch.Tensor) -> list[int]:
    """Numbers in each tensor that autograd saves."""
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda one: sizes.append(one.numel()) or one, lambda one: one
    ):
        layer(x).sum().backward()
    return sizes


def test_the_intermediate_is_kept_where_that_is_asked_for_alone(passes) -> None:
    apart, together = pair_of_layers()
    x, intermediate = an_input(apart), 70 * 768
    assert intermediate not in saved_sizes(together, x) and len(passes) == 1
    keeping = KSLinear(CHAINS["two"], algorithm="fused_chain", keep_intermediate=True)
    keeping.load_state_dict(apart.state_dict())
    assert intermediate in saved_sizes(keeping, x) and len(passes) == 1
    assert_equal(*([weight.grad for weight in layer.parameters()] for layer in (keeping, together)))
    with torch.no_grad():
        assert torch.equal(keeping(x), apart(x)) and len(passes) == 2


def test_an_intermediate_that_is_smaller_than_the_weight_is_kept(passes) -> None:
    """The first factor has 16 x 48 x 64 weights, as many as 64 rows of the intermediate have numbers."""
    _, together = pair_of_layers()
    assert 64 * 768 in saved_sizes(together, an_input(together, 64)) and passes == []
    saved_sizes(together, an_input(together, 65))
    together.factors[1].requires_grad_(False)  # then nothing needs the intermediate
    saved_sizes(together, an_input(together, 64))
    assert len(passes) == 2


@pytest.mark.parametrize("wants_x", [False, True])
def test_changes_that_torch_does_not_count_change_no_intermediate(wants_x) -> None:
    def change(layer: KSLinear) -> None:
        layer.factors[0].weight.data.mul_(3)

    apart, together = pair_of_layers()
    x = an_input(apart).requires_grad_(wants_x)
    assert_equal(gradients(together, x, change), gradients(apart, x, change))


def test_the_first_weight_may_be_changed_in_place_where_x_wants_no_gradient() -> None:
    def change(layer: KSLinear) -> None:
        with torch.no_grad():
            layer.factors[0].weight.mul_(3)

    apart, together = pair_of_layers()
    x = an_input(apart)
    assert_equal(gradients(together, x, change), gradients(apart, x, change))
    for layer in (apart, together):
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            gradients(layer, x.clone().requires_grad_(), change)


def test_training_steps_give_the_same_weights() -> None:
    apart, together = pair_of_layers("three")
    x = an_input(apart)
    for layer in (apart, together):
        optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-2, fused=True)
        for _ in range(3):
            optimiser.zero_grad()
            for part in (x[:40], x[40:]):  # gradients are accumulated
                layer(part).square().mean().backward()
            optimiser.step()
            with torch.no_grad():
                layer(x)
    assert_equal(list(together.parameters()), list(apart.parameters()))


def test_a_frozen_layer_passes_gradients_to_x(passes) -> None:
    found = []
    for layer in pair_of_layers():
        layer.requires_grad_(False).freeze()
        x = an_input(layer).requires_grad_()
        found.append(gradients(layer, x, lambda layer: layer.factors[1].weight.data.zero_()))
    assert_equal(*found)
    assert found[0][0].any() and len(passes) == 1


def test_many_gradients_at_once() -> None:
    found = []
    for layer in pair_of_layers():
        x = an_input(layer).requires_grad_()
        y = layer(x)
        directions = torch.stack([torch.ones_like(y), y.detach()])
        found.append(torch.autograd.grad(y, [x, *layer.parameters()], directions, is_grads_batched=True))
    assert_equal(*found)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_computes_the_same(reentrant) -> None:
    apart, together = pair_of_layers()
    x = an_input(apart).requires_grad_()
    expected = gradients(apart, x)
    checkpoint(together, x, use_reentrant=reentrant).square().sum().backward()
    assert_equal([x.grad, *(weight.grad for weight in together.parameters())], expected)


def test_copies_keep_the_choice_and_pickles_of_earlier_versions_load() -> None:
    layer = KSLinear(CHAINS["two"], keep_intermediate=True)
    assert copy.deepcopy(layer).keep_intermediate and pickle.loads(pickle.dumps(layer)).keep_intermediate
    del layer.keep_intermediate
    assert pickle.loads(pickle.dumps(layer)).keep_intermediate is False
