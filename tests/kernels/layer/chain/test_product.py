"""Layers whose factors are multiplied in one pass: the bits of one factor after the other, in any state."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from unittest.mock import patch

import pytest
import torch
from torch.nn.utils import parametrize

from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.layer.chain import product
from kswatch.kernels.linear import KSLinear
from tests.kernels.layer.chain.layers import CHAINS, KINDS, an_input, pair_of_layers

pytestmark = pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load()))


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize(("layout", "dtype"), KINDS)
def test_one_pass_gives_the_bits_of_one_factor_after_the_other(name, layout, dtype, passes) -> None:
    apart, together = pair_of_layers(name, layout, dtype)
    batches = (1, 5, 70, 300)  # in batch_last, more entries than 384 are not for one pass
    with torch.no_grad():
        for batch in batches:
            x = an_input(apart, batch)
            assert torch.equal(together(x), apart(x))
    assert len(passes) == len(batches) * (len(CHAINS[name]) // 2)


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


def test_copies_and_pickles_compute_the_same() -> None:
    apart, together = pair_of_layers()
    x = an_input(apart)
    with torch.no_grad():
        together(x)
        for other in (copy.deepcopy(together), pickle.loads(pickle.dumps(together))):
            assert other.factors[1].kept.chain is None
            assert torch.equal(other(x), apart(x))


def test_a_second_factor_may_be_shared_by_chains_with_other_first_ones() -> None:
    apart, together = pair_of_layers()
    others = [
        KSLinear([(4, 192, 256, 1), (1, 96, 256, 3)], algorithm=one.algorithm) for one in (apart, together)
    ]
    others[1].load_state_dict(others[0].state_dict())
    for one, other in zip((apart, together), others, strict=True):
        other.factors[1] = one.factors[1]
    x, y = an_input(apart), an_input(others[0])
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(together(x), apart(x)) and torch.equal(others[1](y), others[0](y))


def test_products_of_earlier_weights_are_freed(passes) -> None:
    _, layer = pair_of_layers()
    earlier = []
    with torch.no_grad():
        for batch in range(1, 9):
            layer(an_input(layer, batch))
            earlier.append(weakref.ref(layer.factors[0].kept.copy))
            layer.factors[0].weight.data.add_(1)
            layer.factors[1].weight.data.add_(1)
    gc.collect()
    assert len(passes) == 8 and [one() is not None for one in earlier] == [False] * 7 + [True]


def test_more_batches_than_are_kept_are_all_right(monkeypatch) -> None:
    monkeypatch.setattr(product, "MAX_CLOSURES", 3)
    apart, together = pair_of_layers()
    with torch.no_grad():
        for batch in (*range(1, 9), *range(1, 9)):
            x = an_input(apart, batch)
            assert torch.equal(together(x), apart(x))


@pytest.mark.parametrize("shape", [(1,), (), (1, 288), (288,)])
def test_a_bias_that_broadcasts_is_added(shape) -> None:
    apart, together = pair_of_layers()
    x = an_input(apart)
    for layer in (apart, together):
        layer.bias = torch.nn.Parameter(torch.full(shape, 2.0))
    with torch.no_grad():
        assert torch.equal(together(x), apart(x))


class Biased(KSLinear):
    """A layer that adds a bias to the intermediate, too."""

    def biases(self) -> list[torch.Tensor | None]:
        return [torch.ones(768), self.bias]


def test_a_bias_of_the_first_factor_is_added() -> None:
    found = []
    for layer in pair_of_layers():
        layer.__class__ = Biased
        with torch.no_grad():
            found.append(layer(an_input(layer)))
    assert torch.equal(*found)


@pytest.mark.parametrize(
    "place", ["kswatch.kernels.layer.factor.KSFactor.forward", "torch.nn.Module.__call__"]
)
def test_what_replaces_the_call_of_factors_is_called(place) -> None:
    _, layer = pair_of_layers()
    called = []
    owner, name = place.rsplit(".", 1)
    kind = product.KSFactor if name == "forward" else torch.nn.Module
    former = getattr(kind, name)

    def counted(module, *arguments, **options):
        called.append(type(module).__name__)
        return former(module, *arguments, **options)

    with patch.object(kind, name, counted), torch.no_grad():
        layer(an_input(layer))
    assert called.count("KSFactor") == 2, owner


@pytest.mark.parametrize(("batch", "count"), [(384, 1), (385, 0)])
def test_only_small_batches_are_for_one_pass_in_batch_last(batch, count, passes) -> None:
    apart, together = pair_of_layers(layout="batch_last")
    x = an_input(apart, batch)
    with torch.no_grad():
        assert torch.equal(together(x), apart(x))
    assert len(passes) == count


@pytest.mark.parametrize("batch", [0, 1])
def test_an_empty_batch_and_one_row(batch) -> None:
    apart, together = pair_of_layers()
    x = an_input(apart, batch).requires_grad_()
    assert torch.equal(together(x), apart(x)) and together(x).shape == (batch, 288)
