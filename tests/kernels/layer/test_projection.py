"""A dense matrix projected on chains: planted products come back, the rest is as near as it can be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kswatch.errors import UsageError
from kswatch.kernels import KSLinear
from kswatch.kernels.layer.projection import chain_matrix, product_pattern, project
from kswatch.kernels.pattern import Pattern

pytestmark = pytest.mark.usefixtures("one_thread")

CHAINS = {
    "one factor": [(2, 3, 5, 4)],
    "Monarch": [(4, 4, 4, 1), (1, 4, 4, 4)],
    "Monarch of rank 3": [(4, 12, 8, 1), (1, 5, 12, 4)],
    "d on both sides": [(6, 4, 3, 2), (2, 5, 6, 4)],
    "more columns than ranks": [(2, 9, 2, 1), (1, 2, 18, 1)],
    "butterfly": [(8, 2, 2, 1), (4, 2, 2, 2), (2, 2, 2, 4), (1, 2, 2, 8)],
    "butterfly of blocks": [(4, 6, 6, 1), (2, 6, 6, 2), (1, 6, 6, 4)],
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def patterns_of(name: str) -> list[Pattern]:
    return [Pattern(*pattern) for pattern in CHAINS[name]]


@pytest.mark.parametrize("name", CHAINS)
def test_from_linear_recovers_a_planted_product_exactly(name: str) -> None:
    planted = KSLinear(CHAINS[name], dtype=torch.float64)
    projected = KSLinear.from_linear(planted.to_linear(), CHAINS[name])
    assert projected.projection_error < 1e-12
    x = torch.randn(7, planted.in_features, dtype=torch.float64)
    torch.testing.assert_close(projected(x), planted(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CHAINS)
def test_the_product_has_the_computed_pattern(name: str) -> None:
    patterns = patterns_of(name)
    ones = [torch.ones(pattern.as_tuple()) for pattern in patterns]
    support = chain_matrix(ones) > 0
    whole = product_pattern(patterns)
    assert torch.equal(support, chain_matrix([torch.ones(whole.as_tuple())]) > 0)


def test_two_factors_give_the_nearest_matrix() -> None:
    matrix = torch.randn(16, 16, dtype=torch.float64)
    found = project(matrix, patterns_of("Monarch"))
    # every 4×4 block of the Monarch permutation is approximated by rank 1: what is left are its other values
    blocks = matrix.view(4, 4, 4, 4).permute(1, 2, 0, 3)
    rest = torch.linalg.svdvals(blocks)[..., 1:].square().sum().sqrt()
    assert found.relative_error == pytest.approx((rest / matrix.norm()).item())
    weights = [weight.clone().requires_grad_() for weight in found.weights]
    loss = (chain_matrix(weights) - matrix).square().sum()
    assert all(gradient.abs().max() < 1e-12 for gradient in torch.autograd.grad(loss, weights))


@pytest.mark.parametrize("name", CHAINS)
def test_the_reported_error_is_that_of_the_factors(name: str) -> None:
    patterns = patterns_of(name)
    matrix = torch.randn(patterns[-1].rows, patterns[0].columns)
    found = project(matrix, patterns)
    left = (matrix.double() - chain_matrix(found.weights)).norm() / matrix.double().norm()
    assert found.relative_error == pytest.approx(left.item())
    assert 0 < found.relative_error < 1


@pytest.mark.parametrize("layout", ["batch_first", "batch_last"])
def test_from_linear_copies_bias_dtype_and_device_and_trains(layout: str) -> None:
    linear = nn.Linear(16, 16, dtype=torch.bfloat16)
    layer = KSLinear.from_linear(linear, CHAINS["butterfly"], layout=layout)
    assert layer.factors[0].weight.dtype == torch.bfloat16
    assert torch.equal(layer.bias, linear.bias)
    assert layer.bias is not linear.bias
    layer(torch.randn(16, 16, dtype=torch.bfloat16)).sum().backward()
    assert linear.weight.grad is None
    assert KSLinear.from_linear(nn.Linear(16, 16, bias=False), CHAINS["Monarch"]).bias is None


def test_from_linear_of_zeros_and_back_is_zero() -> None:
    linear = nn.Linear(16, 16)
    nn.init.zeros_(linear.weight)
    layer = KSLinear.from_linear(linear, CHAINS["Monarch"])
    assert layer.projection_error == 0
    assert not layer.to_linear().weight.any()


def test_to_linear_computes_what_the_layer_computes() -> None:
    layer = KSLinear([(2, 6, 4, 3), (1, 5, 9, 4)])  # no chain of patterns: any layer can be made dense
    x = torch.randn(5, 24)
    torch.testing.assert_close(layer.to_linear()(x), layer(x), rtol=1e-4, atol=1e-5)
    assert KSLinear([(2, 6, 4, 3)], bias=False).to_linear().bias is None


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ([(4, 4, 4, 1), (1, 4, 4, 2)], "do not chain"),
        ([(2, 8, 8, 1), (4, 4, 4, 1)], "has no pattern"),
        ([(2, 4, 4, 1)], "matrix of 8 x 8, not 16 x 16"),
    ],
)
def test_from_linear_refuses_patterns_that_do_not_chain(patterns: list, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        KSLinear.from_linear(nn.Linear(16, 16), patterns)
