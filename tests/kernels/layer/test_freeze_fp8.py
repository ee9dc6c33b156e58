"""A layer frozen in fp8: quantised weights, inputs scaled at each call, no gradients, the same state."""

from __future__ import annotations

import copy

import pytest
import torch

from kswatch.errors import UsageError
from kswatch.kernels import KSLinear
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.problem import LAYOUTS
from kswatch.kernels.reference import round_to_fp8

pytestmark = [
    pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load())),
    pytest.mark.usefixtures("one_thread"),
]
CHAIN = [(2, 6, 4, 3), (1, 5, 9, 4)]


def made(layout: str = "batch_first", dtype=torch.float32, patterns=CHAIN, bias: bool = True) -> KSLinear:
    torch.manual_seed(0)
    return KSLinear(patterns, bias, layout=layout, dtype=dtype).requires_grad_(False)


def quantised(layer: KSLinear, scale_per: str) -> KSLinear:
    """The same layer, with weights that hold the values of e4m3, which it multiplies in its own precision."""
    other = copy.deepcopy(layer).unfreeze()
    for factor in other.factors:
        factor.weight.copy_(round_to_fp8(factor.weight, scale_per))
    return other


@pytest.mark.parametrize("scale_per", ["row", "tensor"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layer_in_fp8_multiplies_quantised_weights_by_quantised_inputs(layout, scale_per, by_einsum):
    layer = made(layout, patterns=CHAIN[:1], bias=False)
    layer.factors[0].weight.mul_(2.0 ** torch.arange(6).view(1, 6, 1, 1) ** 2)
    x = torch.randn((37, 24) if layout == "batch_first" else (24, 37))
    x *= 400 * 2**-17 / x.abs().max()
    x8 = (x / 2**-17).to(torch.float8_e4m3fn)
    expected = by_einsum(quantised(layer, scale_per), x8.float() * 2**-17)
    layer.freeze("fp8", scale_per=scale_per)
    y = layer(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, expected, rtol=2**-8, atol=1e-9)  # one rounding to bf16
    assert torch.equal(layer(2 * x), 2 * y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_chain_in_fp8_is_near_its_own_precision_for_every_batch(dtype):
    layer = made(dtype=dtype)
    inputs = [torch.randn(*shape, 24).to(dtype) for shape in ((0,), (1,), (3, 70))]
    before = [layer(x) for x in inputs]
    layer.freeze("fp8")
    for x, expected in zip(inputs, before, strict=True):
        y = layer(x)
        assert (y.shape, y.dtype) == (expected.shape, dtype)
        if len(x):
            assert 0 < float((y - expected).float().norm() / expected.float().norm()) < 0.1
    wide = (100 * inputs[1]).to(torch.float8_e5m2)
    assert layer(wide).dtype == torch.bfloat16


def test_a_layer_in_fp8_keeps_its_state_and_its_weights_until_it_is_refreshed():
    layer, x = made(), torch.randn(5, 24)
    state, plain = copy.deepcopy(layer.state_dict()), layer(x)
    layer.freeze("fp8", scale_per="tensor")
    frozen = layer(x)
    assert all(torch.equal(state[name], value) for name, value in layer.state_dict().items())
    for factor in layer.factors:
        factor.weight.mul_(2)
    assert torch.equal(layer(x), frozen)
    refreshed = layer.refresh()(x)
    assert layer.is_frozen and not torch.equal(refreshed, frozen)
    assert layer.factors[0].kept.scaled.scale_per == "tensor"
    layer.load_state_dict(state)
    assert not layer.is_frozen and torch.equal(layer(x), plain)
    layer.freeze("fp8")
    assert not copy.deepcopy(layer).is_frozen
    assert torch.equal(layer.freeze()(x), plain) and torch.equal(layer.unfreeze()(x), plain)


def test_gradients_traces_and_other_precisions_are_refused_in_a_sentence():
    layer, x = made().eval().freeze("fp8"), torch.randn(5, 24)
    with pytest.raises(UsageError, match="products in fp8 have no gradients"):
        layer(x.requires_grad_())
    with torch.no_grad():
        assert layer(x).shape == (5, layer.out_features)
    with pytest.raises(UsageError, match="cannot be compiled, traced or transformed"):
        torch.func.vmap(layer)(torch.randn(3, 5, 24))
    trainable = made().requires_grad_(True).eval().freeze("fp8")
    with pytest.raises(UsageError, match="products in fp8 have no gradients"):
        trainable(torch.randn(5, 24))
    with pytest.raises(UsageError, match="not in 'fp4'"):
        made().freeze("fp4")
    with pytest.raises(UsageError, match="choice of scales 'block'; choose from row, tensor"):
        made().freeze("fp8", scale_per="block")


@pytest.mark.parametrize("lost", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_so_and_leaves_the_scale_to_the_rest(lost):
    layer, x = made(bias=False), 1e4 * torch.randn(37, 24)
    frozen = copy.deepcopy(layer).freeze("fp8")
    x[0] = 0.0
    expected = frozen(x)
    x[0, 3] = lost
    y = frozen(x)
    assert torch.equal(y[1:], expected[1:])
    assert torch.equal(y[0].isnan(), ~layer(x)[0].isfinite()) and y[0].isnan().any()


@pytest.mark.parametrize("scale_per", ["row", "tensor"])
def test_a_weight_that_is_not_finite_spoils_its_row_alone(scale_per):
    layer, x = made(patterns=CHAIN[:1], bias=False), torch.randn(37, 24)
    layer.factors[0].weight.mul_(1e4)
    expected = copy.deepcopy(layer).freeze("fp8", scale_per=scale_per)(x)
    layer.factors[0].weight[0, 0, 0, 0] *= float("inf")
    spoilt = ~layer(x).isfinite()
    y = layer.freeze("fp8", scale_per=scale_per)(x)
    assert torch.equal(y.isnan(), spoilt) and spoilt.any()
    assert torch.equal(y[~spoilt], expected[~spoilt])


def test_inputs_that_are_no_real_floating_point_numbers_are_refused_in_a_sentence():
    layer = made().freeze("fp8")
    for dtype in (torch.int64, torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fnuz):
        with pytest.raises(UsageError, match=f"the input is {dtype} on cpu; .* takes torch.float32, "):
            layer(torch.ones(2, 24).to(dtype))
    with pytest.raises(UsageError, match="float32 on meta; a layer that is frozen in fp8 on cpu takes"):
        layer(torch.ones(2, 24, device="meta"))


def test_lazily_negated_inputs_are_read_as_they_are():
    layer, x = made(bias=False).freeze("fp8"), torch.randn(5, 24)
    assert torch.equal(layer(torch.complex(x, x).conj().imag), -layer(x))


def test_the_outputs_have_the_dtype_of_autocast():
    layer, x = made().freeze("fp8"), torch.randn(5, 24)
    with torch.autocast("cpu", torch.bfloat16):
        y, wide = layer(x), layer(x[:0])
    assert (y.dtype, wide.dtype) == (torch.bfloat16, torch.bfloat16)
    torch.testing.assert_close(y, layer(x).bfloat16(), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("strict", [False, True])
def test_a_layer_in_fp8_is_not_exported_with_its_original_weights(strict):
    layer = made().freeze("fp8")
    with pytest.raises(Exception, match="frozen in fp8 cannot be compiled, traced or transformed"):
        torch.export.export(layer, (torch.randn(5, 24),), strict=strict)


def test_every_choice_of_scales_is_checked():
    for precision, scale_per in (("fp8", None), ("fp8", []), (None, "rows")):
        with pytest.raises(UsageError, match="choose from row, tensor"):
            made().freeze(precision, scale_per=scale_per)
