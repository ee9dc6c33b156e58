"""Layers of every family in float64 against dense multiplication, and by every implementation."""

from __future__ import annotations

import itertools

import pytest
import torch

from kswatch.declared.implementations import FUSED_CHAIN
from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels.catalogue import IMPLEMENTATIONS
from kswatch.kernels.families.base import CHAIN_IMPLEMENTATIONS, LayerShape
from kswatch.kernels.families.catalogue import FAMILIES, Structure
from kswatch.kernels.family_layers import build
from kswatch.kernels.family_layers.build import build_layer, reference, unsupported_reason
from kswatch.kernels.family_layers.projections import project
from kswatch.kernels.family_layers.two_four_layer import TwoFourLayer, pruned
from kswatch.kernels.layer.projection import chain_matrix
from kswatch.kernels.problem import LAYOUTS
from kswatch.kernels.reference import RELATIVE_LIMITS

CPU = torch.device("cpu")
CASES = [
    ("dense", 24, 40),
    ("ks 2,6,12,1;1,20,6,2", 24, 40),
    ("ks 3,4,8,1;1,2,2,6;2,10,3,2", 24, 40),
    ("low_rank 5", 24, 40),
    ("monarch 4,5", 24, 40),
    ("butterfly", 32, 32),
    ("blast 4,3", 24, 40),
    ("btt 4,8,2", 24, 40),
    ("stl 4,9", 24, 40),
    ("stl 2,7", 24, 40),
    ("two_four", 48, 32),
]


def relative(y: torch.Tensor, truth: torch.Tensor) -> float:
    return float(torch.linalg.norm(y.double() - truth) / torch.linalg.norm(truth))


def test_every_family_is_tested_here_as_a_layer() -> None:
    assert {Structure.parse(case[0]).family_name for case in CASES} == {one.name for one in FAMILIES}


def test_chains_are_computed_by_every_algorithm_of_a_layer_but_dense() -> None:
    names = {one.name for one in IMPLEMENTATIONS}
    assert set(CHAIN_IMPLEMENTATIONS) - {"auto", FUSED_CHAIN} <= names - {"dense"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_chain_in_one_pass_has_the_bits_of_its_factors(layout, made) -> None:
    shape = LayerShape(24, 40, 70, "fp32", layout)
    layers = [made("ks 2,6,12,1;1,20,6,2", shape, name) for name in ("fused", FUSED_CHAIN)]
    (apart, x), (together, same) = layers
    assert torch.equal(x, same) and torch.equal(apart(x), together(x))


def test_a_chain_in_one_pass_is_unsupported_with_the_reason() -> None:
    shape = LayerShape(24, 40, 70)
    one, two = Structure.parse("ks 8,5,3,1"), Structure.parse("ks 2,6,12,1;1,20,6,2")
    assert "one factor" in str(unsupported_reason(one, shape, FUSED_CHAIN, CPU))
    assert two.unsupported_reason(shape, FUSED_CHAIN, "cuda") is None
    assert unsupported_reason(two, shape, FUSED_CHAIN, CPU) is None


def matrix_of(layer: torch.nn.Module) -> torch.Tensor:
    """The matrix of a chain, by products of its dense factors; else of the one weight."""
    factors = getattr(layer, "factors", None)
    if factors is None:
        (weight,) = layer.parameters()
        return pruned(weight.double()) if isinstance(layer, TwoFourLayer) else weight.double()
    product = torch.eye(layer.in_features, dtype=torch.float64)
    for factor in factors:
        product = dense_factor(factor.weight.double()) @ product
    return product


def dense_factor(weight: torch.Tensor) -> torch.Tensor:
    """K[(i, k, j), (i, l, j)] = W[i, k, l, j], one weight at a time."""
    a, b, c, d = weight.shape
    matrix = torch.zeros(a * b * d, a * c * d, dtype=torch.float64)
    for i, k, l, j in itertools.product(range(a), range(b), range(c), range(d)):  # noqa: E741
        matrix[(i * b + k) * d + j, (i * c + l) * d + j] = weight[i, k, l, j]
    return matrix


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("structure", "inputs", "outputs"), [one for one in CASES if one[0][:3] != "stl"])
def test_the_reference_of_a_layer_is_its_dense_matrix_times_x(
    structure: str, inputs: int, outputs: int, layout: str
) -> None:
    shape = LayerShape(inputs, outputs, 7, "fp32", layout)
    layer = bare_layer(structure, shape)
    x = torch.randn(shape.input_shape)
    matrix = matrix_of(layer)
    truth = x.double() @ matrix.t() if layout == "batch_first" else matrix @ x.double()
    assert relative(reference(layer, x), truth) <= 1e-15


def bare_layer(structure: str, shape: LayerShape) -> torch.nn.Module:
    """A layer, also of a family that this machine cannot compute frozen."""
    found, generator = Structure.parse(structure), torch.Generator().manual_seed(1)
    if found.family_name == "two_four":
        layer = TwoFourLayer(shape.in_features, shape.out_features, shape.layout).requires_grad_(False)
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
        return layer
    return build_layer(found, shape, found.family.implementations[0], generator=generator)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("structure", "inputs", "outputs"), CASES)
def test_a_layer_by_every_implementation_is_within_the_limit_or_refused(
    structure: str, inputs: int, outputs: int, layout: str, precision: str, made
) -> None:
    found, shape = Structure.parse(structure), LayerShape(inputs, outputs, 7, precision, layout)
    roundings = 6  # each factor, encoder and decoder rounds its output once in 16 bits
    computed = 0
    for name in found.family.implementations:
        reason = unsupported_reason(found, shape, name, CPU)
        if reason is not None:
            with pytest.raises(UnsupportedError, match="for"):
                made(structure, shape, name)
            continue
        layer, x = made(structure, shape, name)
        y = layer(x)
        assert y.shape == shape.output_shape
        assert y.is_contiguous()
        assert relative(y, reference(layer, x)) <= roundings * RELATIVE_LIMITS[precision]
        computed += 1
    assert computed >= (0 if found.family_name == "two_four" else 1 if found.family_name == "dense" else 4)


def test_a_layer_of_a_structure_has_equal_weights_for_every_implementation(made) -> None:
    shape = LayerShape(24, 40, 3)
    first, x = made("blast 4,3", shape, "bmm")
    second, same_x = made("blast 4,3", shape, "einsum")
    assert torch.equal(x, same_x)
    assert all(
        torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True)
    )


def test_a_blast_layer_has_blocks_that_share_the_factors_of_rows_and_columns(made) -> None:
    b, q, p = 4, 6, 10
    layer, _ = made("blast 4,3", LayerShape(b * q, b * p, 1))
    right, middle, left = (factor.weight.double() for factor in layer.factors)
    matrix = matrix_of(layer)
    for i, j in itertools.product(range(b), repeat=2):
        diagonal = torch.diag(middle[0, i, j])
        block = left[i, :, :, 0] @ diagonal @ right[j, :, :, 0]
        assert torch.allclose(matrix[i * p : (i + 1) * p, j * q : (j + 1) * q], block, atol=1e-15)


def test_a_block_tensor_train_layer_is_the_contraction_of_its_two_cores(made) -> None:
    n1, m1, r, n2, m2 = 4, 8, 2, 6, 5
    layer, _ = made("btt 4,8,2", LayerShape(n1 * n2, m1 * m2, 1))
    right, left = (factor.weight.double() for factor in layer.factors)
    first = right[:, :, :, 0].view(n1, r, m2, n2)
    second = left[0].view(m1, n1, r, m2)
    matrix = torch.einsum("xars,arsy->xsay", second, first).reshape(m1 * m2, n1 * n2)
    assert relative(matrix_of(layer), matrix) <= 1e-15


def hadamard(size: int) -> torch.Tensor:
    matrix, two = torch.ones(1, 1, dtype=torch.float64), torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double()
    while matrix.shape[0] < size:
        matrix = torch.kron(matrix, two)
    return matrix


def test_the_hadamard_matrix_is_a_butterfly_layer() -> None:
    layer = bare_layer("butterfly", LayerShape(32, 32, 1))
    for factor in layer.factors:
        factor.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]).view(1, 2, 2, 1))
    assert torch.equal(matrix_of(layer), hadamard(32))
    found = project(Structure("butterfly"), hadamard(32))
    assert found is not None
    assert found.relative_error <= 1e-14


def test_the_projection_on_a_low_rank_layer_is_the_truncated_decomposition() -> None:
    weight = torch.randn(40, 24, dtype=torch.float64)
    found = project(Structure("low_rank", (5,)), weight)
    values = torch.linalg.svdvals(weight)
    assert found is not None
    assert found.relative_error == pytest.approx(float(values[5:].norm() / values.norm()), rel=1e-12)


@pytest.mark.parametrize("structure", ["monarch 4,5", "btt 4,8,2", "ks 2,6,12,1;1,20,6,2", "dense"])
def test_the_projection_of_a_layer_that_has_the_structure_is_itself(structure: str, made) -> None:
    layer, _ = made(structure, LayerShape(24, 40, 1))
    matrix = matrix_of(layer)
    found = project(Structure.parse(structure), matrix)
    assert found is not None
    assert found.relative_error <= 1e-14
    product = found.weights[0] if structure == "dense" else chain_matrix(found.weights)
    assert relative(product, matrix) <= 1e-14


def test_the_two_four_layer_nearest_to_a_weight_keeps_the_two_largest_of_each_four() -> None:
    weight = torch.randn(32, 48, dtype=torch.float64)
    found = project(Structure("two_four"), weight)
    assert found is not None
    groups, kept = weight.view(-1, 4), found.weights[0].view(-1, 4)
    pairs = itertools.combinations(range(4), 2)
    least = torch.stack([groups.square().sum(1) - groups[:, pair].square().sum(1) for pair in pairs]).min(0)
    assert torch.equal((kept != 0).sum(1), torch.full((len(kept),), 2))
    assert torch.allclose((groups - kept).square().sum(1), least.values, atol=1e-15)


@pytest.mark.parametrize("structure", ["blast 4,3", "stl 4,9"])
def test_a_layer_without_a_known_projection_has_none(structure: str) -> None:
    assert project(Structure.parse(structure), torch.randn(40, 24)) is None
    with pytest.raises(UsageError, match="multiple"):
        project(Structure.parse(structure), torch.randn(42, 24))


def test_a_two_four_layer_is_unsupported_on_a_cpu_with_the_reason() -> None:
    shape = LayerShape(64, 64, 8, "fp16")
    reason = unsupported_reason(Structure("two_four"), shape, "semi_structured", CPU)
    assert reason == "2:4 sparsity is computed by NVIDIA's sparse tensor cores; a cpu has none"
    in_fp32 = Structure("two_four").unsupported_reason(LayerShape(64, 64, 8), "semi_structured", "cuda")
    assert in_fp32 == "torch computes 2:4 sparsity in fp16 and bf16, not in fp32"


@pytest.mark.parametrize(
    ("reasons", "expected"), [(["too wide", None], None), (["too wide", "too many"], "too wide")]
)
def test_a_chain_on_a_gpu_needs_one_pair_of_factors_that_fits(monkeypatch, reasons, expected) -> None:
    """Four factors are two pairs; those that do not fit are launched one after the other."""
    found = iter(reasons)
    monkeypatch.setattr(build.cuda_chain, "unsupported", lambda problems, device: next(found))
    monkeypatch.setattr(build, "unsupported_precision", lambda precision, device: None)
    four = Structure.parse("ks 2,6,12,1;1,20,6,2;2,20,20,1;1,40,40,1")
    assert unsupported_reason(four, LayerShape(24, 40, 70), FUSED_CHAIN, torch.device("cuda")) == expected
