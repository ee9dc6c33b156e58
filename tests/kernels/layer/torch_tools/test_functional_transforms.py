"""`torch.func`, forward-mode AD, and inputs that are no plain tensors: as plain torch has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from kswatch.kernels import KSLinear

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
]

CHAIN = [(2, 3, 2, 2), (1, 2, 6, 2)]
LAYOUTS = ["batch_first", "batch_last"]
IN, OUT = 8, 4


@pytest.fixture(params=LAYOUTS)
def layer(request: pytest.FixtureRequest) -> KSLinear:
    torch.manual_seed(0)
    return KSLinear(CHAIN, layout=request.param)


def an_input(layer: KSLinear, batch: int = 3) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn((batch, IN) if layer.layout == "batch_first" else (IN, batch))


def assert_equal(ours: Any, plain: Any) -> None:  # noqa: ANN401
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


Function = Callable[[torch.Tensor], torch.Tensor]
OF_THE_INPUT: dict[str, Callable[[Function, torch.Tensor], Any]] = {
    "jvp": lambda f, x: jvp(f, (x,), (torch.ones_like(x),)),
    "vjp": lambda f, x: vjp(f, x)[1](f(x)),
    "grad": lambda f, x: grad(lambda x: f(x).square().sum())(x),
    "grad of grad": lambda f, x: grad(lambda x: grad(lambda x: f(x).pow(3).sum())(x).sum())(x),
    "jacrev": lambda f, x: jacrev(f)(x),
    "jacfwd": lambda f, x: jacfwd(f)(x),
    "hessian": lambda f, x: hessian(lambda x: f(x).pow(3).sum())(x),
    "jacfwd of jacrev": lambda f, x: jacfwd(jacrev(lambda x: f(x).square()))(x),
    "linearize": lambda f, x: linearize(f, x)[1](torch.ones_like(x)),
    "vmap": lambda f, x: vmap(f)(torch.stack([x, 2 * x])),
    "vmap of the last axis": lambda f, x: vmap(f, in_dims=2, out_dims=1)(torch.stack([x, 2 * x], 2)),
    "vmap of grad": lambda f, x: vmap(grad(lambda x: f(x).square().sum()))(torch.stack([x, -x])),
    "autograd jacobian": lambda f, x: torch.autograd.functional.jacobian(f, x, vectorize=True),
    "autograd hessian": lambda f, x: torch.autograd.functional.hessian(lambda x: f(x).pow(3).sum(), x),
    "autograd jvp": lambda f, x: torch.autograd.functional.jvp(f, x, torch.ones_like(x), strict=False),
}


@pytest.mark.parametrize("transform", OF_THE_INPUT)
@pytest.mark.parametrize("gradients", [True, False])
def test_a_transform_of_the_input_is_that_of_plain_torch(
    layer: KSLinear, transform: str, gradients: bool, by_einsum
) -> None:
    x = an_input(layer)
    apply = OF_THE_INPUT[transform]
    with torch.set_grad_enabled(gradients or transform.startswith("autograd")):
        assert_equal(apply(layer, x), apply(lambda x: by_einsum(layer, x), x))
        layer.requires_grad_(False)
        assert_equal(apply(layer, x), apply(lambda x: by_einsum(layer, x), x))


OF_THE_WEIGHTS: dict[str, Callable[[Callable[..., torch.Tensor], dict[str, torch.Tensor]], Any]] = {
    "grad": lambda f, p: grad(lambda p: f(p).square().sum())(p),
    "jvp": lambda f, p: jvp(f, (p,), ({name: torch.ones_like(value) for name, value in p.items()},)),
    "jacrev": lambda f, p: jacrev(f)(p),
    "jacfwd": lambda f, p: jacfwd(f)(p),
    "hessian": lambda f, p: hessian(lambda p: f(p).square().sum())(p),
    "an ensemble": lambda f, p: vmap(f)({name: torch.stack([v, 2 * v]) for name, v in p.items()}),
}


@pytest.mark.parametrize("transform", OF_THE_WEIGHTS)
def test_a_transform_of_the_weights_is_that_of_plain_torch(
    layer: KSLinear, transform: str, by_einsum
) -> None:
    x, apply = an_input(layer), OF_THE_WEIGHTS[transform]
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    plain = ByEinsum(layer, by_einsum)

    def ours(values: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional_call(layer, values, (x,))

    def theirs(values: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional_call(plain, {f"layer.{name}": value for name, value in values.items()}, (x,))

    assert_equal(apply(ours, parameters), apply(theirs, parameters))


class ByEinsum(nn.Module):
    def __init__(self, layer: KSLinear, by_einsum: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.layer, self.by_einsum = layer, by_einsum

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.by_einsum(self.layer, x)


def test_gradients_per_sample_are_those_of_single_samples() -> None:
    torch.manual_seed(0)
    layer, x = KSLinear(CHAIN), torch.randn(5, IN)
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}

    def loss(values: dict[str, torch.Tensor], sample: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, values, (sample[None],)).square().sum()

    together = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for index, sample in enumerate(x):
        layer.zero_grad()
        layer(sample[None]).square().sum().backward()
        for name, parameter in layer.named_parameters():
            assert_equal(together[name][index], parameter.grad)


def test_functional_call_uses_the_given_weights_also_in_a_frozen_layer(layer: KSLinear, by_einsum) -> None:
    x, other = an_input(layer), KSLinear(CHAIN, layout=layer.layout)
    layer.eval().freeze()
    given = dict(other.named_parameters())
    assert_equal(functional_call(layer, given, (x,)), by_einsum(other, x))


def test_forward_mode_ad_gives_the_tangents_of_plain_torch(layer: KSLinear, by_einsum) -> None:
    x = an_input(layer)
    parameters, tangents = dict(layer.named_parameters()), {}
    for name, parameter in parameters.items():
        tangents[name] = torch.randn_like(parameter)
    with forward_ad.dual_level():
        duals = {name: forward_ad.make_dual(value, tangents[name]) for name, value in parameters.items()}
        dual_x = forward_ad.make_dual(x, torch.ones_like(x))
        ours = functional_call(layer, duals, (dual_x,))
        plain = functional_call(
            ByEinsum(layer, by_einsum), {f"layer.{name}": value for name, value in duals.items()}, (dual_x,)
        )
        for one, other in zip(forward_ad.unpack_dual(ours), forward_ad.unpack_dual(plain), strict=True):
            assert_equal(one, other)


def test_double_backward_of_all_inputs_is_that_of_plain_torch(layer: KSLinear, by_einsum) -> None:
    x = an_input(layer).requires_grad_()
    inputs = [x, *layer.parameters()]

    def second(y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first = torch.autograd.grad(y.pow(3).sum(), inputs, create_graph=True)
        return torch.autograd.grad(sum(part.square().sum() for part in first), inputs)

    for ours, plain in zip(second(layer(x)), second(by_einsum(layer, x)), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-3)


def test_checkpointing_and_saved_tensor_hooks_work(layer: KSLinear, by_einsum) -> None:
    from torch.utils.checkpoint import checkpoint

    x = an_input(layer).requires_grad_()
    (truth,) = torch.autograd.grad(by_einsum(layer, x).square().sum(), x)
    for reentrant in (True, False):
        (ours,) = torch.autograd.grad(
            checkpoint(layer, x, use_reentrant=False).square().sum(), x, retain_graph=reentrant
        )
        assert_equal(ours, truth)
    with torch.autograd.graph.save_on_cpu():
        assert_equal(torch.autograd.grad(layer(x).square().sum(), x)[0], truth)


# ---- inputs ---------------------------------------------------------------------------------------


def lazily_negated(x: torch.Tensor) -> torch.Tensor:
    return torch._neg_view(-x)


def imaginary_part_of_a_conjugate(x: torch.Tensor) -> torch.Tensor:
    return torch.complex(torch.zeros_like(x), -x).conj().imag


def strided(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x, 0 * x], -1)[..., 0]


def transposed(x: torch.Tensor) -> torch.Tensor:
    return x.t().contiguous().t()


def offset(x: torch.Tensor) -> torch.Tensor:
    """One that is not aligned to a vector."""
    return torch.cat([torch.zeros(1), x.flatten()])[1:].view(x.shape)


class Marked(torch.Tensor):
    """A subclass of the kind that only carries a type."""


class Logged(torch.Tensor):
    """A wrapper with a `__torch_dispatch__` of its own."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Logged:
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN206
        from torch.utils._pytree import tree_map_only

        args, kwargs = tree_map_only(cls, lambda logged: logged.inner, (args, kwargs or {}))
        return tree_map_only(torch.Tensor, cls, func(*args, **kwargs))


KINDS = [
    lazily_negated,
    imaginary_part_of_a_conjugate,
    strided,
    transposed,
    offset,
    lambda x: x.as_subclass(Marked),
    nn.Parameter,
    lambda x: x[:0] if x.shape[1] == IN else x[:, :0],
    lambda x: x[:1].expand(3, -1) if x.shape[1] == IN else x[:, :1].expand(-1, 3),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_kind_of_input_gives_the_output_of_plain_torch(
    layer: KSLinear, kind: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype, by_einsum
) -> None:
    layer = layer.to(dtype)
    x = kind(an_input(layer).to(dtype))
    plain = x.detach().as_subclass(torch.Tensor).clone()
    for algorithm in ("auto", "bmm", "csr"):
        layer.algorithm = algorithm
        with torch.no_grad():
            for _ in range(2):
                y = layer(x)
                assert_equal(y.as_subclass(torch.Tensor), by_einsum(layer, plain))
        assert type(y) is (Marked if type(x) is Marked else torch.Tensor)
        inputs = list(layer.parameters())
        gradients = torch.autograd.grad(layer(x).square().sum(), inputs)
        truths = torch.autograd.grad(by_einsum(layer, plain).square().sum(), inputs)
        for gradient, truth in zip(gradients, truths, strict=True):
            assert_equal(gradient.as_subclass(torch.Tensor), truth)


@pytest.mark.parametrize("operand", ["input", "weights"])
def test_a_tensor_with_its_own_dispatch_sees_the_operator(layer: KSLinear, operand: str, by_einsum) -> None:
    x = an_input(layer)
    layer.requires_grad_(False)
    expected = by_einsum(layer, x)
    if operand == "input":
        y = layer(Logged(x))
    else:
        given = {name: Logged(value.detach()) for name, value in layer.named_parameters()}
        y = functional_call(layer, given, (x,))
    assert isinstance(y, Logged)
    assert_equal(y.inner, expected)


class Seen(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class SeenBelow(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", [Seen, SeenBelow])
@pytest.mark.parametrize("gradients", [True, False])
def test_modes_see_the_operator(layer: KSLinear, mode: type, gradients: bool) -> None:
    x = an_input(layer)
    with torch.set_grad_enabled(gradients):
        expected = [layer(x), layer(x)][-1]
        with mode() as seen:
            assert torch.equal(layer(x), expected)
    assert sum("kswatch.product" in name for name in seen.names) == len(CHAIN)


def test_functionalisation_gives_the_same_values(layer: KSLinear) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    x = an_input(layer)
    assert_equal(torch.func.functionalize(layer)(x), layer(x))
    graph = make_fx(layer, tracing_mode="real")(x)
    layer.factors[0].weight.data.mul_(2.0)
    assert_equal(graph(x), layer(x))


# ---- autocast -------------------------------------------------------------------------------------


@pytest.mark.parametrize("x_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gradients", [True, False])
def test_autocast_follows_changed_weights(
    layer: KSLinear, gradients: bool, x_dtype: torch.dtype, by_einsum
) -> None:
    x = an_input(layer).to(x_dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.set_grad_enabled(gradients):
        for _ in range(3):
            y = layer(x)
            assert y.dtype == torch.bfloat16
            torch.testing.assert_close(y.float(), by_einsum(layer, x).float(), rtol=5e-2, atol=5e-2)
            for parameter in layer.parameters():
                parameter.data.mul_(-1.5)
    if gradients:
        y.float().sum().backward()
        assert all(parameter.grad.dtype == torch.float32 for parameter in layer.parameters())


def test_autocast_works_inside_transforms(layer: KSLinear, by_einsum) -> None:
    x = an_input(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = grad(lambda x: layer(x).float().square().sum())(x)
        plain = grad(lambda x: by_einsum(layer, x).float().square().sum())(x)
    torch.testing.assert_close(ours, plain, rtol=5e-2, atol=5e-2)
