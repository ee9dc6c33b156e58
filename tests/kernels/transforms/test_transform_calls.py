"""Transforms where torch asks for more than values, with inputs of other kinds, and what they keep."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

from kswatch.errors import UsageError
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.transforms import dct, fft, hadamard

pytestmark = pytest.mark.usefixtures("one_thread")

CASES = {
    "fft": (lambda layout: fft(16, layout=layout), torch.complex64),
    "dct": (lambda layout: dct(16, layout=layout), torch.float32),
    "hadamard": (lambda layout: hadamard(16, torch.float64, layout=layout), torch.float64),
}
each_transform = pytest.mark.parametrize("name", CASES)


def make_case(name: str, layout: str = "batch_first"):
    make, dtype = CASES[name]
    x = torch.randn(16, 16, dtype=dtype, generator=torch.Generator().manual_seed(3))
    return make(layout), x


def squares(y: torch.Tensor) -> torch.Tensor:
    return y.abs().square().sum()


@each_transform
@pytest.mark.parametrize("layout", ["batch_first", "batch_last"])
def test_transforms_of_torch_func_and_forward_mode_compose(name: str, layout: str) -> None:
    transform, x = make_case(name, layout)
    y = transform(x)
    torch.testing.assert_close(torch.func.vmap(transform)(torch.stack([x, 2 * x])), torch.stack([y, 2 * y]))
    torch.testing.assert_close(torch.func.jvp(transform, (x,), (3 * x,))[1], 3 * y)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(transform(forward_ad.make_dual(x, 3 * x))).tangent
        torch.testing.assert_close(tangent, 3 * y)
    wanted = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(squares(transform(wanted)), wanted)
    torch.testing.assert_close(torch.func.grad(lambda one: squares(transform(one)))(x), gradient)


@each_transform
def test_gradients_of_many_outputs_at_once(name: str) -> None:
    transform, x = make_case(name)
    x.requires_grad_()
    y = transform(x)
    cotangents = torch.randn(3, *y.shape, dtype=y.dtype)
    together = torch.autograd.grad(y, x, cotangents, retain_graph=True, is_grads_batched=True)[0]
    single = [torch.autograd.grad(y, x, one, retain_graph=True)[0] for one in cotangents]
    torch.testing.assert_close(together, torch.stack(single))


@each_transform
def test_exported_and_traced_transforms_compute_the_same(name: str) -> None:
    transform, x = make_case(name)
    expected = transform(2 * x)
    torch.testing.assert_close(torch.export.export(transform, (x,)).module()(2 * x), expected)
    torch.testing.assert_close(torch.jit.trace(transform, (x,))(2 * x), expected)
    model = nn.Sequential(transform)
    assert torch.equal(torch.fx.symbolic_trace(model)(2 * x), expected)
    with pytest.raises(UsageError, match="takes Transform as a part of a model only"):
        torch.fx.symbolic_trace(transform)
    with pytest.raises(UsageError, match=r"torch\.jit\.script cannot compile a transform; use torch\.jit"):
        torch.jit.script(transform)


@each_transform
def test_inputs_without_values_have_outputs_of_the_right_form(name: str) -> None:
    transform, x = make_case(name)
    y = transform(x)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = transform(mode.from_tensor(x))
    assert (fake.shape, fake.dtype) == (y.shape, y.dtype)
    assert transform.to("meta")(x.to("meta")).shape == y.shape


def test_other_kinds_of_inputs_are_refused_in_a_sentence() -> None:
    transform = fft(8)
    with pytest.raises(UsageError, match=r"a transform takes a torch\.Tensor, not list; convert it"):
        transform([1.0] * 8)
    with pytest.raises(UsageError, match=r"the layout torch\.sparse_coo; pass x\.to_dense\(\)"):
        transform(torch.eye(8).to_sparse())
    with pytest.raises(UsageError, match="a dense tensor, not a nested one"):
        transform(torch.nested.nested_tensor([torch.ones(2, 8), torch.ones(3, 8)], layout=torch.jagged))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float16, torch.float64])
def test_a_transform_of_real_numbers_takes_float32_alone(dtype: torch.dtype) -> None:
    with pytest.raises(UsageError, match=r"dct\(8\) takes torch\.float32 on cpu; convert it"):
        dct(8)(torch.ones(2, 8, dtype=dtype))


def test_autocast_widens_what_a_layer_before_it_gave() -> None:
    x = torch.randn(3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        for transform in (fft(8), dct(8), hadamard(8)):
            assert torch.equal(transform(x.bfloat16()), transform(x.bfloat16().float()))


def test_batches_share_laid_out_factors(monkeypatch) -> None:
    if isinstance(twin.load(), str):
        pytest.skip(str(twin.load()))
    laid_out = []
    lay_out = twin.lay_out

    def count(*arguments, **options):
        laid_out.append(arguments[0])
        return lay_out(*arguments, **options)

    monkeypatch.setattr(twin, "lay_out", count)
    transform = fft(256, algorithm="fused")
    for batch in (64, 80, 96, 112):
        transform(torch.randn(batch, 256))
    assert len(laid_out) == len(transform.patterns)
