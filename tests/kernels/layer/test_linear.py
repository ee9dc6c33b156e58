import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels import KSLinear
from kswatch.kernels.catalogue import IMPLEMENTATIONS, implementation
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem

pytestmark = pytest.mark.usefixtures("one_thread")

CHAIN = [(2, 6, 4, 3), (1, 5, 9, 4), (5, 7, 4, 1)]
WAYS = [
    (name, layout)
    for name in ("auto", *(candidate.name for candidate in IMPLEMENTATIONS))
    for layout in LAYOUTS
    if (name, layout) != ("bmm_strided", "batch_first")
]


def weights_of(layer: KSLinear) -> list[torch.Tensor]:
    return [factor.weight for factor in layer.factors]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def full_matrix(dense_matrix):
    """The one dense matrix that a layer multiplies by."""

    def product_of_factors(layer: KSLinear) -> torch.Tensor:
        matrix = torch.eye(layer.in_features, dtype=torch.float64)
        for weight in weights_of(layer):
            matrix = dense_matrix(weight) @ matrix
        return matrix

    return product_of_factors


def skip_without_a_compiler(algorithm: str, layout: str) -> None:
    problem = Problem(Pattern(*CHAIN[0]), 8, "fp32", layout)
    if algorithm == "fused" and (reason := implementation("fused").unsupported(problem, torch.device("cpu"))):
        pytest.skip(reason)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("algorithm", "layout"), WAYS)
def test_a_chain_is_the_product_of_its_dense_factors(
    algorithm: str, layout: str, bias: bool, full_matrix
) -> None:
    skip_without_a_compiler(algorithm, layout)
    layer = KSLinear(CHAIN, bias=bias, algorithm=algorithm, layout=layout)
    assert (layer.in_features, layer.out_features) == (24, 35)
    matrix = full_matrix(layer)
    offset = layer.bias.double() if bias else torch.zeros(35).double()
    for batch in (1, 7, 40):
        x = torch.randn(batch, 24)
        truth = (x.double() @ matrix.t() + offset).float()
        with torch.no_grad():
            y = layer(x) if layout == "batch_first" else layer(x.t()).t()
        torch.testing.assert_close(y, truth, rtol=1e-5, atol=1e-5)
        trained = layer(x) if layout == "batch_first" else layer(x.t()).t()
        torch.testing.assert_close(trained, truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(24,), (3, 24), (2, 3, 24), (0, 24), (2, 0, 24), (1, 1, 1, 24)])
def test_any_leading_shape_is_preserved(shape: tuple[int, ...], full_matrix) -> None:
    layer = KSLinear(CHAIN)
    x = torch.randn(shape)
    y = layer(x)
    assert y.shape == (*shape[:-1], 35)
    truth = x.double() @ full_matrix(layer).t() + layer.bias.double()
    torch.testing.assert_close(y, truth.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(24,), (24, 3), (24, 2, 3), (24, 0)])
def test_any_trailing_shape_is_preserved_in_batch_last(shape: tuple[int, ...], full_matrix) -> None:
    layer = KSLinear(CHAIN, layout="batch_last", bias=False)
    x = torch.randn(shape)
    y = layer(x)
    assert y.shape == (35, *shape[1:])
    torch.testing.assert_close(y, torch.tensordot(full_matrix(layer), x.double(), 1).float())


def test_an_empty_batch_trains_too() -> None:
    layer = KSLinear(CHAIN)
    layer(torch.randn(0, 24)).sum().backward()
    assert all(not weight.grad.any() for weight in weights_of(layer))


def test_a_strided_view_is_read_correctly() -> None:
    layer = KSLinear(CHAIN)
    x = torch.randn(48, 9).t()[:, ::2]
    torch.testing.assert_close(layer(x), layer(x.contiguous()))


@pytest.mark.parametrize(("algorithm", "layout"), WAYS)
def test_gradients_are_those_of_the_definition(algorithm: str, layout: str) -> None:
    skip_without_a_compiler(algorithm, layout)
    layer = KSLinear(CHAIN, algorithm=algorithm, layout=layout)
    x = torch.randn((8, 24) if layout == "batch_first" else (24, 8), requires_grad=True)
    target = torch.randn((8, 35) if layout == "batch_first" else (35, 8))
    inputs = [x, *weights_of(layer), layer.bias]
    gradients = torch.autograd.grad((layer(x) * target).sum(), inputs)

    doubles = [tensor.detach().double().requires_grad_() for tensor in inputs]
    y = doubles[0] if layout == "batch_first" else doubles[0].t()
    for weight in doubles[1:-1]:
        y = torch.einsum("iklj,nilj->nikj", weight, y.unflatten(1, (weight.shape[0], -1, weight.shape[3])))
        y = y.flatten(1)
    y = y + doubles[-1]
    truths = torch.autograd.grad(((y if layout == "batch_first" else y.t()) * target).sum(), doubles)
    for gradient, truth in zip(gradients, truths, strict=True):
        torch.testing.assert_close(gradient, truth.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize(("algorithm", "layout"), WAYS)
def test_non_finite_values_affect_only_their_sample(algorithm: str, layout: str, bad: float) -> None:
    skip_without_a_compiler(algorithm, layout)
    layer = KSLinear([(2, 3, 5, 2)], algorithm=algorithm, layout=layout)
    x = torch.randn(4, 20)
    x[2, 10] = bad  # i = 1, l = 0, j = 0
    with torch.no_grad():
        y = layer(x) if layout == "batch_first" else layer(x.t().contiguous()).t()
    assert not y[2, 6:12:2].isfinite().any()
    assert y[[0, 1, 3]].isfinite().all()


def test_a_frozen_weight_gets_no_gradient_and_the_input_gets_its_own() -> None:
    layer = KSLinear([(2, 4, 4, 2)], bias=False)
    layer.factors[0].weight.requires_grad_(False)
    x = torch.randn(3, 16, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None and layer.factors[0].weight.grad is None


def test_gradients_have_gradients() -> None:
    layer = KSLinear([(2, 4, 4, 2)], bias=False)
    x = torch.randn(3, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert x.grad is not None and bool(x.grad.any())


@pytest.mark.parametrize("algorithm", ["auto", "bmm", "dense"])
def test_a_training_step_changes_the_next_product(algorithm: str, full_matrix) -> None:
    layer = KSLinear(CHAIN, bias=False, algorithm=algorithm)
    x = torch.randn(6, 24)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    losses = []
    for _ in range(10):
        loss = layer(x).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 2
    with torch.no_grad():
        torch.testing.assert_close(
            layer(x), (x.double() @ full_matrix(layer).t()).float(), rtol=1e-4, atol=1e-5
        )


def test_loaded_replaced_and_converted_weights_are_used(full_matrix) -> None:
    layer, other = KSLinear(CHAIN, bias=False), KSLinear(CHAIN, bias=False)
    x = torch.randn(6, 24)

    def agrees(tolerance: float = 1e-5) -> bool:
        truth = (x.double() @ full_matrix(layer).t()).float()
        return torch.allclose(
            layer(x.to(layer.factors[0].weight.dtype)).float(), truth, rtol=tolerance, atol=tolerance
        )

    assert agrees()
    layer.load_state_dict(other.state_dict())
    assert agrees()
    assert torch.equal(layer(x), other(x))
    layer.load_state_dict(KSLinear(CHAIN, bias=False).state_dict(), assign=True)
    assert agrees()
    layer.factors[1].weight = nn.Parameter(torch.randn(1, 5, 9, 4))
    assert agrees()
    layer.bfloat16()
    assert agrees(0.2)
    layer.float()
    assert agrees()
    with torch.no_grad():
        layer.factors[0].weight.zero_()
    assert not layer(x).any()


def test_a_changed_bias_changes_the_next_product() -> None:
    layer = KSLinear([(2, 4, 4, 2)])
    x = torch.randn(3, 16)
    with torch.no_grad():
        before = layer(x)
        layer.bias.add_(1.0)
        torch.testing.assert_close(layer(x), before + 1)
        layer.bias = nn.Parameter(layer.bias + 1)
        torch.testing.assert_close(layer(x), before + 2)
    with torch.inference_mode():
        inside = KSLinear([(2, 4, 4, 2)])
        before = inside(x).clone()
        inside.bias.add_(1.0)
        torch.testing.assert_close(inside(x), before + 1)


def test_copies_have_their_own_weights() -> None:
    layer = KSLinear(CHAIN)
    x = torch.randn(6, 24)
    before = layer(x)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(copied(x), before)
        with torch.no_grad():
            copied.factors[0].weight.zero_()
        assert not torch.equal(copied(x), before)
        assert torch.equal(layer(x), before)


def test_a_meta_layer_is_materialised_later() -> None:
    layer = KSLinear(CHAIN, device="meta").to_empty(device="cpu")
    layer.reset_parameters()
    assert layer(torch.randn(3, 24)).isfinite().all()
    assert layer.to("meta")(torch.empty(3, 24, device="meta")).shape == (3, 35)


def test_a_parametrized_weight_is_used() -> None:
    class Doubled(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return 2 * weight

    layer = KSLinear([(2, 4, 4, 2)], bias=False)
    x = torch.randn(3, 16)
    single = layer(x).detach()
    parametrize.register_parametrization(layer.factors[0], "weight", Doubled())
    torch.testing.assert_close(layer(x), 2 * single)
    layer(x).sum().backward()
    assert layer.factors[0].parametrizations.weight.original.grad is not None


def test_the_state_holds_only_weights_and_bias() -> None:
    layer = KSLinear([(2, 4, 4, 2), (1, 8, 4, 4)])
    layer(torch.randn(2, 16))
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items()} == {
        "factors.0.weight": (2, 4, 4, 2),
        "factors.1.weight": (1, 8, 4, 4),
        "bias": (32,),
    }


def test_it_works_in_inference_mode_and_afterwards() -> None:
    layer = KSLinear(CHAIN)
    x = torch.randn(6, 24)
    with torch.inference_mode():
        inferred = layer(x)
        born_inside = KSLinear(CHAIN)
        born_inside(x)
        born_inside.factors[0].weight.zero_()
        assert torch.equal(born_inside(x), born_inside.bias.expand(6, -1))
    trained = layer(x)
    assert torch.equal(trained, inferred)
    trained.sum().backward()


def test_outputs_have_the_variance_of_nn_linear_for_any_length_of_chain() -> None:
    x = torch.randn(256, 512)
    expected = nn.Linear(512, 512, bias=False)(x).std().item()
    for chain in ([(4, 16, 16, 8)], [(4, 16, 16, 8), (1, 32, 32, 16)], [(8, 64, 64, 1)] * 4):
        assert KSLinear(chain, bias=False)(x).std().item() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_layers_compute_in_half_precision(dtype: torch.dtype, full_matrix) -> None:
    layer = KSLinear([(2, 16, 16, 2)], dtype=dtype)
    x = torch.randn(9, 64, dtype=dtype)
    y = layer(x)
    assert y.dtype == dtype
    truth = x.double() @ full_matrix(layer).t() + layer.bias.double()
    torch.testing.assert_close(y.double(), truth, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    "patterns", [Pattern(2, 3, 5, 4), "2,3,5,4", ["2,3,5,4"], [(2, 3, 5, 4)], [[2, 3, 5, 4]]]
)
def test_a_pattern_may_have_any_of_its_forms(patterns: object) -> None:
    layer = KSLinear(patterns)
    assert layer.patterns == (Pattern(2, 3, 5, 4),)
    assert "2,3,5,4" in repr(layer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patterns": []}, "at least one pattern"),
        ({"patterns": (2, 3, 5, 4)}, "2 is not a pattern.*list of them"),
        ({"patterns": [(2, 3, 5)]}, "not a pattern"),
        ({"patterns": [(2, 3, 5, 0)]}, "not an integer >= 1"),
        ({"patterns": [(1, 4, 4, 1), (1, 4, 5, 1)]}, r"\(1,4,4,1\) gives 4 features, \(1,4,5,1\) takes 5"),
        ({"algorithm": "cublas"}, "unknown implementation 'cublas'"),
        ({"layout": "nchw"}, "unknown layout 'nchw'"),
        ({"dtype": torch.complex64}, "not in torch.complex64"),
    ],
)
def test_invalid_arguments_are_refused_in_a_sentence(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        KSLinear(**{"patterns": [(2, 3, 5, 4)], **arguments})


def test_an_invalid_input_is_refused_in_a_sentence() -> None:
    layer = KSLinear([(2, 3, 5, 4)])
    for x in (torch.randn(3, 24), torch.randn(40, 3), torch.tensor(1.0)):
        with pytest.raises(UsageError, match="takes 40 features on axis -1 in batch_first"):
            layer(x)
    with pytest.raises(UsageError, match=r"convert either with .to\(\)"):
        layer(torch.randn(3, 40).double())
    with pytest.raises(UsageError, match="on meta.*on cpu"):
        layer(torch.empty(3, 40, device="meta"))


def test_an_unsupported_algorithm_gives_its_reason_at_the_first_product() -> None:
    layer = KSLinear([(2, 4, 4, 2)], algorithm="bmm_strided")
    with pytest.raises(UnsupportedError, match="bmm_strided cannot compute .*BLAS needs a copy"):
        layer(torch.randn(3, 16))
