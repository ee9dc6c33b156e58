"""`from_linear` keeps a layer's bias, dtype, device and flags, and refuses what it would misread."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from kswatch.errors import UsageError
from kswatch.kernels import KSLinear

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

SQUARE = [(1, 16, 16, 1)]
"""All entries: the projection is exact."""
MONARCH = [(4, 4, 4, 1), (1, 4, 4, 4)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


class Conv1D(nn.Module):
    """The layer of transformers' GPT-2: y = x W + b with W of shape (in, out)."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], self.nf)


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (12, 20)])
def test_the_transposed_weight_of_conv1d_is_read_as_it_is_meant(inputs: int, outputs: int) -> None:
    dense = Conv1D(outputs, inputs)
    layer = KSLinear.from_linear(dense, [(1, outputs, inputs, 1)])
    x = torch.randn(3, inputs)
    torch.testing.assert_close(layer(x), dense(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="matrix of 7 x 12"):
        KSLinear.from_linear(Conv1D(20, 12), [(1, 7, 12, 1)])


@pytest.mark.parametrize("weight", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_frozen_parts_stay_frozen_and_the_mode_is_kept(weight: bool, bias: bool, training: bool) -> None:
    dense = nn.Linear(16, 16).train(training)
    dense.weight.requires_grad_(weight)
    dense.bias.requires_grad_(bias)
    layer = KSLinear.from_linear(dense, MONARCH)
    assert [factor.weight.requires_grad for factor in layer.factors] == [weight, weight]
    assert layer.bias.requires_grad is bias
    assert {module.training for module in layer.modules()} == {training}
    back = layer.to_linear()
    assert (back.weight.requires_grad, back.bias.requires_grad, back.training) == (weight, bias, training)


def test_a_layer_made_under_no_grad_still_trains() -> None:
    with torch.no_grad():
        layer = KSLinear.from_linear(parametrizations.weight_norm(nn.Linear(16, 16)), MONARCH)
    assert all(parameter.requires_grad for parameter in layer.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    layer = KSLinear.from_linear(nn.Linear(16, 16, dtype=dtype), MONARCH)
    assert {parameter.dtype for parameter in layer.parameters()} == {dtype}


def test_a_layer_on_meta_is_made_there_without_values() -> None:
    dense = nn.Linear(16, 16, device="meta", dtype=torch.bfloat16)
    layer = KSLinear.from_linear(dense, MONARCH)
    assert {(parameter.device.type, parameter.dtype) for parameter in layer.parameters()} == {
        ("meta", torch.bfloat16)
    }
    assert layer.projection_error is None
    with pytest.raises(UsageError, match="do not chain"):
        KSLinear.from_linear(dense, [(4, 4, 4, 1), (1, 4, 4, 2)])


def test_a_parametrized_weight_is_projected_as_it_is_now() -> None:
    dense = parametrizations.weight_norm(nn.Linear(16, 16))
    with torch.no_grad():
        dense.parametrizations.weight.original0.mul_(3)
    layer = KSLinear.from_linear(dense, SQUARE)
    torch.testing.assert_close(layer.to_linear().weight, dense.weight)
    dense.parametrizations.weight.requires_grad_(False)
    assert not KSLinear.from_linear(dense, SQUARE).factors[0].weight.requires_grad


def test_a_tied_weight_is_copied_and_the_other_user_keeps_it() -> None:
    embedding, dense = nn.Embedding(16, 16), nn.Linear(16, 16, bias=False)
    dense.weight = embedding.weight
    layer = KSLinear.from_linear(dense, SQUARE)
    with torch.no_grad():
        layer.factors[0].weight.zero_()
    assert dense.weight is embedding.weight and bool(dense.weight.all())


def test_a_lazy_layer_is_read_after_its_first_batch() -> None:
    dense = nn.LazyLinear(16)
    with pytest.raises(UsageError, match="has no weight yet; run one batch"):
        KSLinear.from_linear(dense, SQUARE)
    dense(torch.randn(2, 16))
    assert KSLinear.from_linear(dense, SQUARE).projection_error < 1e-6


def of_weight(change: Callable[[torch.Tensor], torch.Tensor]) -> nn.Linear:
    """A dense layer with a changed weight, of any dtype and kind."""
    dense = nn.Linear(16, 16)
    dense.weight = nn.Parameter(change(dense.weight.detach().clone()), requires_grad=False)
    return dense


def with_value(value: float, name: str = "weight") -> nn.Linear:
    dense = nn.Linear(16, 16)
    with torch.no_grad():
        getattr(dense, name).flatten()[3] = value
    return dense


class Scaled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def patched() -> nn.Linear:
    dense = nn.Linear(16, 16)
    dense.forward = lambda x: x
    return dense


def quantised() -> nn.Module:
    return torch.ao.nn.quantized.dynamic.Linear(16, 16)


class Wrapped(torch.Tensor):
    pass


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "NaN": (lambda: with_value(torch.nan), "holds 1 NaN or infinite value"),
    "infinity": (lambda: with_value(-torch.inf), "holds 1 NaN or infinite value"),
    "NaN in the bias": (lambda: with_value(torch.nan, "bias"), "bias.*NaN or infinite"),
    "complex": (lambda: nn.Linear(16, 16, dtype=torch.complex64), "torch.complex64 is not projected"),
    "integers": (lambda: of_weight(lambda weight: weight.to(torch.int8)), "torch.int8 is not projected"),
    "float8": (lambda: of_weight(lambda weight: weight.to(torch.float8_e4m3fn)), "float8_e4m3fn"),
    "sparse": (lambda: of_weight(lambda weight: weight.to_sparse_csr()), "weight .* is a torch.sparse_csr"),
    "a subclass": (
        lambda: of_weight(lambda weight: weight.as_subclass(Wrapped)),
        "is a Wrapped, not a plain",
    ),
    "quantised": (quantised, r"not torch\.ao\.nn\.quantized\.dynamic"),
    "own forward": (lambda: Scaled(16, 16), "Scaled has a forward of its own"),
    "patched forward": (patched, "has a forward of its own"),
    "weight_norm by hook": (lambda: nn.utils.weight_norm(nn.Linear(16, 16)), "set by a hook"),
    "pruned": (
        lambda: prune.l1_unstructured(nn.Linear(16, 16), "weight", 0.5),
        "set by a hook.*prune.remove",
    ),
    "embedding": (lambda: nn.Embedding(16, 16), "takes nn.Linear .*, not torch.nn.modules.sparse.Embedding"),
    "bilinear": (lambda: nn.Bilinear(4, 4, 16), "not torch.nn.modules.linear.Bilinear"),
    "nn.Conv1d": (lambda: nn.Conv1d(16, 16, 1), "not torch.nn.modules.conv.Conv1d"),
    "no module": (lambda: torch.randn(16, 16), "not torch.Tensor"),
    "KSLinear": (lambda: KSLinear(SQUARE), r"pass layer.to_linear\(\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_in_a_sentence(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(UsageError, match=message):
        KSLinear.from_linear(make(), SQUARE)


def test_to_linear_of_a_parametrized_factor_has_its_computed_weight() -> None:
    layer = KSLinear(MONARCH)
    parametrizations.weight_norm(layer.factors[0])
    with torch.no_grad():
        layer.factors[0].parametrizations.weight.original0.mul_(3)
    x = torch.randn(3, 16)
    torch.testing.assert_close(layer.to_linear()(x), layer(x), rtol=1e-4, atol=1e-5)
