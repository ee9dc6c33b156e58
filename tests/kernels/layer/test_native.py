"""Small products by C++ are those of Python bit for bit, and whatever is not plain is left to Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from kswatch.kernels import KSLinear
from kswatch.kernels.layer import native, torch_operator
from kswatch.kernels.layer.factor import KSFactor

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(native.load() is None, reason="no compiler, or it is switched off"),
]

CHAINS = [[(1, 16, 16, 1)], [(2, 6, 4, 3), (1, 5, 9, 4), (5, 7, 4, 1)], [(1, 200, 200, 1)]]
"""The last one is too large for the C++."""
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@contextmanager
def by_python() -> Iterator[None]:
    """Leave every product to Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_operator.NATIVE, "forward", torch_operator._leave_to_python)
        patch.setattr(torch_operator.NATIVE, "product", torch_operator._leave_to_python)
        yield


@pytest.fixture(autouse=True)
def _loaded() -> None:
    torch.manual_seed(0)
    KSLinear([(1, 4, 4, 1)])(torch.randn(2, 4))


def results(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The output without gradients, with them, the gradients, and those of the gradients."""
    with torch.no_grad():
        plain = layer(x)
    x = x.detach().requires_grad_()
    inputs = [x, *layer.parameters()]
    y = layer(x)
    first = torch.autograd.grad(y.float().pow(3).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(part.float().square().sum() for part in first), inputs)
    return [plain, y, *first, *second]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("algorithm", ["auto", "fused", "fused_chain"])
def test_a_small_layer_is_left_to_cpp(bias, algorithm):
    layer = KSLinear(CHAINS[1], bias=bias, algorithm=algorithm)
    assert torch_operator.NATIVE.forward(layer, torch.randn(3, layer.in_features)) is not None


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@pytest.mark.parametrize("layout", ["batch_first", "batch_last"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
def test_all_results_are_those_of_python_bit_for_bit(
    chain: list[tuple[int, int, int, int]], layout: str, dtype: torch.dtype, bias: bool
) -> None:
    layer = KSLinear(chain, layout=layout, dtype=dtype, bias=bias, keep_intermediate=True)
    shapes: list[tuple[int, ...]] = [(3,), (40,), (2, 3), ()]
    for shape in shapes[: 2 if layout == "batch_last" else 4]:
        features = layer.in_features
        x = torch.randn((*shape, features) if layout == "batch_first" else (features, *shape)).to(dtype)
        ours = results(layer, x)
        with by_python():
            expected = results(layer, x)
        for one, other in zip(ours, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_a_small_layer_is_computed_by_it_and_its_gradient_function_has_a_name() -> None:
    layer, x = KSLinear(CHAINS[0]), torch.randn(3, 16)
    assert torch_operator.NATIVE.forward(layer, x) is not None
    assert "KroneckerSparseProduct" in layer(x).grad_fn.name()
    assert torch_operator.NATIVE.forward(KSLinear(CHAINS[2]), torch.randn(3, 200)) is None


LEFT: dict[str, Callable[[KSLinear, torch.Tensor], object]] = {
    "a subclass": lambda layer, x: x.as_subclass(type("Marked", (torch.Tensor,), {})),
    "a negated view": lambda layer, x: torch._neg_view(x),
    "another dtype": lambda layer, x: x.double(),
    "no tensor": lambda layer, x: [1.0],
    "meta": lambda layer, x: x.to("meta"),
    "no rows": lambda layer, x: x[:0],
    "other features": lambda layer, x: x[:, :7],
    "a hook": lambda layer, x: layer.factors[0].register_forward_hook(lambda *_: None) and x,
    "a forward of its own": lambda layer, x: setattr(layer.factors[0], "forward", print) or x,
    "a class of its own": lambda layer, x: setattr(layer.factors[0], "__class__", nn.Identity) or x,
    "an algorithm": lambda layer, x: setattr(layer, "algorithm", "bmm") or x,
    "a weight of another dtype": lambda layer, x: layer.factors[0].double() and x,
    "a transposed weight": lambda layer, x: (
        setattr(layer.factors[0].weight, "data", layer.factors[0].weight.data.mT.contiguous().mT) or x
    ),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_is_not_plain_is_left_to_python(case: str) -> None:
    layer = KSLinear([(2, 4, 8, 2)])
    x = LEFT[case](layer, torch.randn(3, 32))
    assert torch_operator.NATIVE.forward(layer, x) is None


@pytest.mark.parametrize(
    "mode",
    [
        lambda: torch.autocast("cpu"),
        lambda: torch.overrides.TorchFunctionMode(),
        lambda: torch.utils.flop_counter.FlopCounterMode(display=False),
    ],
)
def test_modes_are_left_to_python(mode: Callable[[], object]) -> None:
    layer, x = KSLinear(CHAINS[0]), torch.randn(3, 16)
    with mode():
        assert torch_operator.NATIVE.forward(layer, x) is None


def test_another_forward_of_the_class_of_factors_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = KSLinear(CHAINS[1], bias=False), torch.randn(3, 24)
    y, original = layer(x), KSFactor.forward
    monkeypatch.setattr(KSFactor, "forward", lambda self, *arguments: -original(self, *arguments))
    assert torch.equal(layer(x), -y)


class TwiceTheBias(KSLinear):
    """Overrides a method that the forward of its base class calls."""

    def biases(self) -> list[torch.Tensor | None]:
        *others, bias = super().biases()
        return [*others, 2 * bias]


def test_methods_of_a_subclass_are_called() -> None:
    layer, x = TwiceTheBias(CHAINS[0]), torch.randn(3, 16)
    torch.testing.assert_close(layer(x), layer.to_linear()(x) + layer.bias)


@pytest.mark.slow
def test_the_class_of_the_first_layer_called_does_not_matter() -> None:
    program = (
        "import torch; from kswatch import KSLinear; from kswatch.kernels.layer.factor import KSFactor\n"
        "class Twice(KSFactor):\n"
        "    def forward(self, *arguments): return 2 * super().forward(*arguments)\n"
        "layer, x = KSLinear([(2, 4, 8, 2)], bias=False), torch.randn(3, 32)\n"
        "layer.factors[0].__class__ = Twice\n"
        "torch.testing.assert_close(layer(x), 2 * layer.to_linear()(x))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_a_compiler_or_switched_off_python_computes(tmp_path) -> None:
    program = (
        "import torch; from kswatch import KSLinear; from kswatch.kernels.layer import native;"
        "y = KSLinear([(2, 4, 8, 2)])(torch.randn(3, 32)); y.sum().backward();"
        "print(native.load())"
    )
    for change in ({"KSWATCH_NATIVE": "0"}, {"CXX": "no-such-compiler", "KSWATCH_CACHE": str(tmp_path)}):
        done = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, **change}, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout.strip()) == (0, "None"), done.stderr
