"""`STLinear`: known bilinear algorithms, gradients, state, padding, mixing of rows."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels.families.stl import ONE_PASS, STOCK
from kswatch.kernels.family_layers.st_linear import STLinear
from kswatch.kernels.problem import LAYOUTS, Layout

ALGORITHMS = (STOCK, "fused", "bmm", "einsum", "auto")


def strassen() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """E_X, E_W and D of Strassen's seven products of 2 x 2 matrices (Numerische Mathematik 13, 1969)."""
    of_x = [
        [1, 0, 0, 1],
        [0, 0, 1, 1],
        [1, 0, 0, 0],
        [0, 0, 0, 1],
        [1, 1, 0, 0],
        [-1, 0, 1, 0],
        [0, 1, 0, -1],
    ]
    of_w = [
        [1, 0, 0, 1],
        [1, 0, 0, 0],
        [0, 1, 0, -1],
        [-1, 0, 1, 0],
        [0, 0, 0, 1],
        [1, 1, 0, 0],
        [0, 0, 1, 1],
    ]
    of_y = [[1, 0, 0, 1, -1, 0, 1], [0, 0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 0, 0], [1, -1, 1, 0, 0, 1, 0]]
    return tuple(torch.tensor(one).double() for one in (of_x, of_w, of_y))


def squared(matrix: torch.Tensor, inputs: bool) -> torch.Tensor:
    """The Kronecker product of a coder with itself: tiles of 4 x 4 as 2 x 2 tiles of 2 x 2.

    A tile's vector is indexed by (row outer, row inner, column outer, column inner) here, while the product
    has (row outer, column outer, row inner, column inner).
    """
    product = torch.kron(matrix, matrix)
    order = torch.arange(16).view(2, 2, 2, 2).permute(0, 2, 1, 3).flatten()
    return product[:, order] if inputs else product[order]


def four_by_four() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    of_x, of_w, of_y = strassen()
    return squared(of_x, True), squared(of_w, True), squared(of_y, False)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("algorithm", [STOCK, "auto"])
@pytest.mark.parametrize(("coders", "limit"), [(strassen, 1.1e-14), (four_by_four, 2.3e-14)])
def test_a_layer_with_strassens_coders_multiplies_exactly(coders, limit, algorithm, layout: Layout) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 64, dtype=torch.float64)
    x = torch.randn(20, 48, dtype=torch.float64)
    layer = STLinear.from_linear(linear, *coders(), algorithm=algorithm, layout=layout)
    y = layer(x) if layout == "batch_first" else layer(x.t()).t()
    assert float((y - linear(x)).detach().abs().max()) <= limit


def by_definition(layer: STLinear, x: torch.Tensor) -> torch.Tensor:
    """Tile by tile, in float64, for x of shape (rows, in_features)."""
    t, rows = layer.tile, x.shape[0]
    whole = torch.cat([x.double(), torch.zeros(-rows % t, x.shape[1], dtype=torch.float64)])
    encoder, decoder = layer.encoder.double(), layer.decoder.double()
    encoded_weight = layer.core.weight.double()
    y = torch.zeros(whole.shape[0], layer.out_features, dtype=torch.float64)
    for i in range(whole.shape[0] // t):
        for j in range(layer.out_features // t):
            total = torch.zeros(layer.rank, dtype=torch.float64)
            for step in range(layer.in_features // t):
                tile = whole[i * t : (i + 1) * t, step * t : (step + 1) * t]
                total += (encoder @ tile.reshape(-1)) * encoded_weight[0, j, step]
            y[i * t : (i + 1) * t, j * t : (j + 1) * t] = (decoder @ total).view(t, t)
    return y[:rows]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("algorithm", [STOCK, "auto"])
@pytest.mark.parametrize(("tile", "rows"), [(2, 5), (3, 7), (4, 1), (4, 8)])
def test_a_layer_follows_the_definition_tile_by_tile(algorithm, tile, rows, layout: Layout) -> None:
    torch.manual_seed(1)
    layer = STLinear(24, 12, tile, 5, algorithm=algorithm, layout=layout, dtype=torch.float64)
    x = torch.randn(rows, 24, dtype=torch.float64)
    y = layer(x) if layout == "batch_first" else layer(x.t()).t()
    truth = by_definition(layer, x)
    assert float(torch.linalg.norm((y - truth).detach()) / torch.linalg.norm(truth.detach())) <= 1e-15


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layer_has_gradients_by_every_algorithm(algorithm, layout: Layout) -> None:
    torch.manual_seed(2)
    layer = STLinear(16, 24, 4, 6, bias=True, algorithm=algorithm, layout=layout)
    exact = copy.deepcopy(layer).double()
    x = torch.randn((10, 16) if layout == "batch_first" else (16, 10), requires_grad=True)
    exact_x = x.detach().double().requires_grad_()
    pairs = []
    for one, inputs in ((layer, x), (exact, exact_x)):
        y = one(inputs)
        (y * torch.arange(y.numel()).view(y.shape).to(y.dtype).sin()).sum().backward()
        pairs.append([inputs.grad, *(parameter.grad for parameter in one.parameters())])
    for gradient, truth in zip(*pairs, strict=True):
        assert torch.allclose(gradient.double(), truth, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("algorithm", [STOCK, "auto"])
def test_gradients_of_a_layer_in_float64_are_those_of_finite_differences(algorithm) -> None:
    layer = STLinear(4, 6, 2, 3, bias=True, algorithm=algorithm, dtype=torch.float64)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    # finite differences change the operands in place, so the layer sees them
    assert torch.autograd.gradcheck(lambda inputs, *_: layer(inputs), (x, *layer.parameters()))


def test_the_rows_of_a_tile_of_a_layer_see_each_other_and_no_other_rows() -> None:
    layer = STLinear(16, 8, 4, 6)
    x = torch.randn(8, 16)
    changed = x.clone()
    changed[1] += 1
    differs = (layer(x) != layer(changed)).any(dim=1)
    assert differs.tolist() == [True] * 4 + [False] * 4


def test_padding_of_a_layer_is_rows_of_zeros() -> None:
    layer = STLinear(16, 8, 4, 6)
    x = torch.randn(5, 16)
    whole = torch.cat([x, torch.zeros(3, 16)])
    assert torch.equal(layer(x), layer(whole)[:5])
    assert layer(torch.empty(0, 16)).shape == (0, 8)


@pytest.mark.parametrize("algorithm", [STOCK, "fused"])
def test_a_layer_is_saved_loaded_copied_pickled_and_converted(algorithm) -> None:
    layer = STLinear(16, 8, 4, 6, bias=True, algorithm=algorithm).eval().requires_grad_(False)
    x = torch.randn(2, 3, 16)
    y = layer.freeze()(x)
    assert y.shape == (2, 3, 8)
    assert set(layer.state_dict()) == {"encoder", "core.weight", "decoder", "bias"}
    other = STLinear(16, 8, 4, 6, bias=True, algorithm=algorithm)
    other(x)
    other.load_state_dict(layer.state_dict())
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    unpickled = torch.load(buffer, weights_only=False)
    for one in (other, copy.deepcopy(layer), unpickled):
        assert torch.equal(one(x), y)
    changed = copy.deepcopy(layer)
    changed.core.weight.zero_()
    assert torch.equal(changed(x), changed.bias.expand(2, 3, 8))
    assert changed.to(torch.bfloat16)(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("algorithm", [STOCK, "fused"])
def test_a_frozen_layer_keeps_its_weights_until_it_is_unfrozen(algorithm) -> None:
    layer = STLinear(16, 8, 4, 6, algorithm=algorithm).eval().requires_grad_(False)
    x = torch.randn(4, 16)
    y = layer.freeze()(x)
    layer.core.weight.zero_()
    assert torch.equal(layer(x), y)
    assert not layer.unfreeze()(x).any()


@pytest.mark.parametrize("algorithm", [STOCK, "fused"])
def test_outputs_of_a_layer_have_a_third_of_the_inputs_variance(algorithm) -> None:
    torch.manual_seed(3)
    layer = STLinear(256, 256, 4, 24, algorithm=algorithm)
    with torch.no_grad():
        variance = float(layer(torch.randn(512, 256)).var())
    assert 0.26 < variance < 0.42


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"in_features": 18, "out_features": 8}, "multiples of the tile"),
        ({"in_features": 16, "out_features": 8, "rank": 0}, ">= 1"),
        ({"in_features": 16, "out_features": 8, "layout": "rows"}, "unknown layout"),
        ({"in_features": 16, "out_features": 8, "algorithm": "no"}, "unknown implementation"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(arguments, part) -> None:
    with pytest.raises(UsageError, match=part):
        STLinear(**arguments)


def test_a_layer_refuses_inputs_and_coders_of_other_shapes() -> None:
    with pytest.raises(UsageError, match="takes 16 features on axis -1"):
        STLinear(16, 8)(torch.randn(4, 8))
    with pytest.raises(UsageError, match="not of shapes"):
        STLinear.from_linear(nn.Linear(16, 8), torch.ones(7, 4), torch.ones(6, 4), torch.ones(4, 7))


@pytest.mark.parametrize("rank", [16, 24, 32])
@pytest.mark.parametrize("sides", [(4, 4), (36, 52), (380, 68)])
def test_one_pass_gives_the_layer_for_any_number_of_rows_and_threads(rank: int, sides) -> None:
    torch.manual_seed(rank)
    layer = STLinear(*sides, 4, rank, bias=True, algorithm=ONE_PASS).requires_grad_(False)
    exact = copy.deepcopy(layer).double()
    exact.algorithm = "auto"
    threads = torch.get_num_threads()
    for rows, count in ((1, 1), (7, 2), (50, 1), (1001, 2)):
        x = torch.randn(rows, sides[0])
        torch.set_num_threads(count)
        y, truth = layer(x), exact(x.double())
        torch.set_num_threads(threads)
        assert float((y - truth).norm() / truth.norm()) < 1e-6
        assert float((y - truth).abs().max() / truth.square().mean().sqrt()) < 1e-5
    assert torch.equal(layer.freeze()(x), y)
    assert layer(x[:0]).shape == (0, sides[1])


def test_one_pass_computes_gradients_by_its_factors() -> None:
    torch.manual_seed(0)
    one_pass, by_factors = (STLinear(16, 24, 4, 16, algorithm=name) for name in (ONE_PASS, "fused"))
    by_factors.load_state_dict(one_pass.state_dict())
    x = torch.randn(9, 16)
    for layer in (one_pass, by_factors):
        layer(x).square().sum().backward()
    for one, other in zip(one_pass.parameters(), by_factors.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rank": 20}, "compiled for tile 4 and rank"),
        ({"tile": 2}, "compiled for tile 4"),
        ({"dtype": torch.bfloat16}, "compiled for fp32"),
        ({"layout": "batch_last"}, "in batch_first"),
    ],
)
def test_one_pass_refuses_what_is_not_compiled(changes, reason: str) -> None:
    layer = STLinear(16, 16, **{"tile": 4, "rank": 16} | changes, algorithm=ONE_PASS).requires_grad_(False)
    with pytest.raises(UnsupportedError, match=reason):
        layer(torch.randn(16, 16, dtype=layer.encoder.dtype))


@pytest.mark.parametrize("is_frozen_first", [False, True])
def test_one_pass_reads_no_weights_of_another_type(is_frozen_first: bool) -> None:
    """Half as long in memory: a frozen layer is checked again after a conversion."""
    layer = STLinear(16, 16, 4, 16, algorithm=ONE_PASS).requires_grad_(False)
    if is_frozen_first:
        layer.freeze()
    layer.to(torch.bfloat16)
    with pytest.raises(UnsupportedError, match="fp32"):
        layer(torch.randn(8, 16, dtype=torch.bfloat16)) if is_frozen_first else layer.freeze()
