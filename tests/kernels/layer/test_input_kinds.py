"""Inputs that are not plain dense tensors: nested ones are computed, the others refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from kswatch.errors import UsageError
from kswatch.kernels import KSLinear

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # torch's nested and sparse tensors are beta
]

CHAIN = [(2, 6, 4, 3), (1, 5, 9, 4)]


@pytest.fixture
def layer() -> KSLinear:
    torch.manual_seed(0)
    return KSLinear(CHAIN)


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize("gradients", [True, False])
def test_a_nested_input_gives_the_outputs_of_its_components(
    layer: KSLinear, layout: torch.layout, gradients: bool
) -> None:
    components = [torch.randn(rows, 24) for rows in (2, 3, 0)]
    with torch.set_grad_enabled(gradients):
        nested = torch.nested.as_nested_tensor(components, layout=layout)
        for _ in range(2):
            y = layer(nested)
            assert y.is_nested and y.layout is layout
            for part, component in zip(y.unbind(), components, strict=True):
                torch.testing.assert_close(part, layer(component))


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_gradients_pass_through_a_nested_input(layer: KSLinear, layout: torch.layout) -> None:
    components = [torch.randn(rows, 24, requires_grad=True) for rows in (2, 3)]
    inputs = [*components, *layer.parameters()]
    y = layer(torch.nested.as_nested_tensor(components, layout=layout))
    gradients = torch.autograd.grad(sum(part.square().sum() for part in y.unbind()), inputs)
    truths = torch.autograd.grad(layer(torch.cat(components)).square().sum(), inputs)
    for gradient, truth in zip(gradients, truths, strict=True):
        torch.testing.assert_close(gradient, truth, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_input_may_have_more_axes(layer: KSLinear, layout: torch.layout) -> None:
    components = [torch.randn(rows, 3, 24) for rows in (2, 5)]
    y = layer(torch.nested.as_nested_tensor(components, layout=layout))
    assert [part.shape for part in y.unbind()] == [(2, 3, 20), (5, 3, 20)]
    if layout is torch.jagged:
        turned = layer(torch.nested.as_nested_tensor(components, layout=layout).transpose(1, 2))
        torch.testing.assert_close(turned.transpose(1, 2).unbind()[1], y.unbind()[1])


def nested(*shapes: tuple[int, ...], layout: torch.layout = torch.strided) -> torch.Tensor:
    return torch.nested.nested_tensor([torch.randn(shape) for shape in shapes], layout=layout)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "sparse": (lambda: torch.randn(3, 24).to_sparse(), r"layout torch.sparse_coo; pass x.to_dense\(\)"),
    "csr": (lambda: torch.randn(3, 24).to_sparse_csr(), r"layout torch.sparse_csr; pass x.to_dense\(\)"),
    "list": (lambda: [[1.0] * 24], "takes a torch.Tensor, not list"),
    "none": (lambda: None, "takes a torch.Tensor, not NoneType"),
    "numpy": (lambda: torch.randn(3, 24).numpy(), "takes a torch.Tensor, not ndarray"),
    "scalar": (lambda: torch.tensor(1.0), r"takes 24 features.*shape \(\)"),
    "no features": (lambda: torch.randn(3, 0), r"takes 24 features.*shape \(3, 0\)"),
    "integers": (lambda: torch.ones(3, 24, dtype=torch.int64), r"torch.int64.*convert either with .to\(\)"),
    "booleans": (lambda: torch.ones(3, 24, dtype=torch.bool), r"torch.bool.*convert either with .to\(\)"),
    "complex": (lambda: torch.randn(3, 24, dtype=torch.complex64), r"torch.complex64.*convert either"),
    "quantised": (
        lambda: torch.quantize_per_tensor(torch.randn(3, 24), 0.1, 0, torch.qint8),
        r"quantised \(torch.qint8\); pass x.dequantize\(\)",
    ),
    "nested, other features": (lambda: nested((2, 23), (3, 23)), r"takes 24 features.*shape \(5, 23\)"),
    "nested, ragged features": (lambda: nested((2,), (3,)), "no components of one size on the last axis"),
    "jagged, ragged features": (lambda: nested((2,), (3,), layout=torch.jagged), "last axis .* is ragged"),
    "jagged, other features": (
        lambda: nested((2, 23), (3, 23), layout=torch.jagged),
        r"takes 24 features.*shape \(5, 23\)",
    ),
}


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_another_input_is_refused_in_a_sentence(layer: KSLinear, name: str, repeated: bool) -> None:
    make, message = REFUSED[name]
    with torch.no_grad():
        if repeated:
            layer(torch.randn(3, 24))
        with pytest.raises(UsageError, match=message):
            layer(make())


def test_a_nested_input_in_batch_last_is_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match='use layout="batch_first"'):
        KSLinear(CHAIN, layout="batch_last")(nested((2, 24), (3, 24)))
