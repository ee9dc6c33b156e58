"""However weights are changed, the next product is that of the present weights, as with plain torch."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from kswatch.errors import UnsupportedError
from kswatch.kernels import KSLinear
from kswatch.kernels.fused.artifacts.host_compiler import find_compiler
from kswatch.kernels.layer.factor import KSFactor

pytestmark = pytest.mark.usefixtures("one_thread")

CHAIN = [(2, 6, 4, 3), (1, 5, 9, 4), (5, 7, 4, 1)]
LAYOUTS = ["batch_first", "batch_last"]


def algorithms() -> list[str]:
    """One that packs weights, some that lay them out, and some that read them where they lie."""
    names = ["auto", "bmm", "einsum", "dense", "csr"]
    try:
        find_compiler()
    except UnsupportedError:
        return names
    return ["fused", *names]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def an_input(layer: KSLinear, batch: int = 5) -> torch.Tensor:
    return torch.randn((batch, 24) if layer.layout == "batch_first" else (24, batch))


# ---- changes of the memory of weights -------------------------------------------------------------


def scale_through_data(layer: KSLinear) -> None:
    for parameter in layer.parameters():
        parameter.data.mul_(1.5)


def scale_the_last_value(layer: KSLinear) -> None:
    """A single byte differs: no sampled checksum finds it."""
    layer.factors[1].weight.data.view(torch.uint8).view(-1)[-1] ^= 0x80


def change_the_sign_of_a_zero(layer: KSLinear) -> None:
    layer.factors[2].weight.data.zero_().neg_()


def change_only_the_bias(layer: KSLinear) -> None:
    layer.bias.data.add_(1.0)


def average_by_hand(layer: KSLinear) -> None:
    for parameter in layer.parameters():
        parameter.data.lerp_(torch.randn(parameter.shape), 0.3)


def copy_into_data(layer: KSLinear) -> None:
    for parameter, other in zip(layer.parameters(), KSLinear(CHAIN).parameters(), strict=True):
        parameter.data.copy_(other.data)


def write_through_numpy(layer: KSLinear) -> None:
    for parameter in layer.parameters():
        array = parameter.detach().numpy()
        array *= np.float32(-0.5)


def copy_the_storage(layer: KSLinear) -> None:
    for parameter, other in zip(layer.parameters(), KSLinear(CHAIN).parameters(), strict=True):
        parameter.untyped_storage().copy_(other.untyped_storage())


def assign_a_vector(layer: KSLinear) -> None:
    vector_to_parameters(2 * parameters_to_vector(layer.parameters()).detach(), layer.parameters())


def swap_tensors(layer: KSLinear) -> None:
    for parameter, other in zip(layer.parameters(), KSLinear(CHAIN).parameters(), strict=True):
        torch.utils.swap_tensors(parameter, other)


def set_another_storage(layer: KSLinear) -> None:
    for parameter in layer.parameters():
        parameter.data.set_(torch.randn(parameter.shape))


def replace_data(layer: KSLinear) -> None:
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape)


def add_in_inference_mode(layer: KSLinear) -> None:
    with torch.inference_mode():
        for parameter in layer.parameters():
            parameter.data.add_(0.5)
            parameter.detach().mul_(1.1)


def restore_the_state(layer: KSLinear) -> None:
    layer.__setstate__(KSLinear(CHAIN, layout=layer.layout, algorithm=layer.algorithm).__getstate__())


def load_a_state(layer: KSLinear) -> None:
    layer.load_state_dict(KSLinear(CHAIN).state_dict())


def assign_a_state(layer: KSLinear) -> None:
    layer.load_state_dict(KSLinear(CHAIN).state_dict(), assign=True)


def replace_parameters(layer: KSLinear) -> None:
    layer.factors[0].weight = nn.Parameter(torch.randn(2, 6, 4, 3))
    layer.bias = nn.Parameter(torch.randn(35))


def replace_a_factor(layer: KSLinear) -> None:
    layer.factors[1] = KSFactor(layer.patterns[1])
    layer.factors[1].weight.data.fill_(2.0)


def expand_a_weight(layer: KSLinear) -> None:
    layer.factors[0].weight = nn.Parameter(torch.randn(1, 6, 1, 3).expand(2, 6, 4, 3))


def negate_a_weight_lazily(layer: KSLinear) -> None:
    layer.factors[0].weight = nn.Parameter(torch._neg_view(torch.randn(2, 6, 4, 3)))


def transpose_a_weight(layer: KSLinear) -> None:
    layer.factors[0].weight.data = torch.randn(3, 4, 6, 2).permute(3, 2, 1, 0)


def take_foreach_steps(layer: KSLinear) -> None:
    torch._foreach_mul_([parameter.data for parameter in layer.parameters()], 0.7)


def go_there_and_back(layer: KSLinear) -> None:
    layer.bfloat16().float()


def take_the_bias_away(layer: KSLinear) -> None:
    layer.bias = None


CHANGES = [
    scale_through_data,
    scale_the_last_value,
    change_the_sign_of_a_zero,
    change_only_the_bias,
    average_by_hand,
    copy_into_data,
    write_through_numpy,
    copy_the_storage,
    assign_a_vector,
    swap_tensors,
    set_another_storage,
    replace_data,
    add_in_inference_mode,
    restore_the_state,
    load_a_state,
    assign_a_state,
    replace_parameters,
    replace_a_factor,
    expand_a_weight,
    negate_a_weight_lazily,
    transpose_a_weight,
    take_foreach_steps,
    go_there_and_back,
    take_the_bias_away,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_change_of_the_weights_changes_the_next_product(
    layout: str, change: Callable[[KSLinear], None], by_einsum
) -> None:
    for algorithm in algorithms():
        layer = KSLinear(CHAIN, layout=layout, algorithm=algorithm)
        x = an_input(layer)
        for _ in range(2):
            with torch.no_grad():
                before = [layer(x) for _ in range(3)]
                torch.testing.assert_close(before[-1], by_einsum(layer, x), rtol=1e-4, atol=1e-5)
                change(layer)
                torch.testing.assert_close(layer(x), by_einsum(layer, x), rtol=1e-4, atol=1e-5)
            inputs = [x.requires_grad_(), *layer.parameters()]
            gradients = torch.autograd.grad(layer(x).square().sum(), inputs)
            truths = torch.autograd.grad(by_einsum(layer, x).square().sum(), inputs)
            for gradient, truth in zip(gradients, truths, strict=True):
                torch.testing.assert_close(gradient, truth, rtol=1e-3, atol=1e-3)


def test_a_change_between_forward_and_backward_reaches_the_gradient_as_in_nn_linear() -> None:
    layer = KSLinear([(1, 6, 4, 1)], bias=False)
    linear = layer.to_linear()
    x = torch.randn(5, 4, requires_grad=True)
    outputs = layer(x), linear(x)
    for weight in (layer.factors[0].weight, linear.weight):
        weight.data.mul_(3.0)
    ours, plain = (torch.autograd.grad(y.sum(), x)[0] for y in outputs)
    torch.testing.assert_close(ours, plain)
    y = layer(x)
    with torch.no_grad():
        layer.factors[0].weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def write_from_another_process(weight: torch.Tensor) -> None:
    weight.mul_(2.0)


def test_another_process_may_write_to_shared_weights(by_einsum) -> None:
    layer = KSLinear(CHAIN).share_memory()
    x = torch.randn(5, 24)
    with torch.no_grad():
        before = [layer(x), layer(x)][-1]
        context = multiprocessing.get_context("fork")
        writer = context.Process(target=write_from_another_process, args=(layer.factors[0].weight.data,))
        writer.start()
        writer.join()
        assert writer.exitcode == 0
        after = layer(x)
        assert not torch.allclose(before, after)
        torch.testing.assert_close(after, by_einsum(layer, x), rtol=1e-4, atol=1e-5)


def test_weights_with_nan_are_still_reused_and_still_compared() -> None:
    layer = KSLinear(CHAIN[:1])
    with torch.no_grad():
        layer.factors[0].weight[0, 0, 0, 0] = torch.nan
        first, second = layer(torch.ones(3, 24)), layer(torch.ones(3, 24))
        assert torch.equal(first.isnan(), second.isnan()) and first.isnan().any()
        layer.factors[0].weight.data.zero_()
        assert torch.equal(layer(torch.ones(3, 24)), layer.bias.expand(3, -1))


# ---- training -------------------------------------------------------------------------------------


class Plain(nn.Module):
    """The same parameters, by plain torch."""

    def __init__(self, layer: KSLinear, by_einsum: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.layer, self.by_einsum = copy.deepcopy(layer), by_einsum

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.by_einsum(self.layer, x)


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "fused SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, fused=True),
    "fused Adam": lambda p: torch.optim.Adam(p, lr=1e-2, fused=True),
    "fused AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True),
    "fused Adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2, fused=True),
    "foreach AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=True),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=1e-2),
    "LBFGS": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
}


def losses(model: nn.Module, make: Callable[..., torch.optim.Optimizer], steps: int = 12) -> list[float]:
    generator = torch.Generator().manual_seed(1)
    optimiser, found = make(model.parameters()), []
    x, target = torch.randn(16, 24, generator=generator), torch.randn(16, 35, generator=generator)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = (model(x) - target).square().mean()
        loss.backward()
        return loss

    for _ in range(steps):
        found.append(optimiser.step(closure).item())
        with torch.no_grad():  # an evaluation between two steps
            found.append(float(model(x).square().mean()))
    return found


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_training_gives_the_losses_of_plain_torch(optimiser: str, by_einsum) -> None:
    for algorithm in ("auto", "dense"):
        layer = KSLinear(CHAIN, algorithm=algorithm)
        plain = Plain(layer, by_einsum)
        ours = losses(layer, OPTIMISERS[optimiser])
        assert ours == pytest.approx(losses(plain, OPTIMISERS[optimiser]), rel=1e-3)
        assert ours[-2] < ours[0]


def test_an_average_of_weights_by_swa_utils_is_used(by_einsum) -> None:
    layer = KSLinear(CHAIN)
    average = torch.optim.swa_utils.AveragedModel(layer, use_buffers=True)
    x = torch.randn(5, 24)
    with torch.no_grad():
        for _ in range(4):
            for parameter in layer.parameters():
                parameter.data.add_(torch.randn(parameter.shape))
            average.update_parameters(layer)
            torch.testing.assert_close(average(x), by_einsum(average.module, x), rtol=1e-4, atol=1e-4)


def test_changed_settings_take_effect_at_the_next_call(by_einsum) -> None:
    layer = KSLinear([(2, 4, 4, 2)])
    x = torch.randn(16, 16)
    with torch.no_grad():
        for algorithm in ("bmm", "dense", "auto"):
            for layout in LAYOUTS:
                layer.algorithm, layer.layout = algorithm, layout
                torch.testing.assert_close(layer(x), by_einsum(layer, x), rtol=1e-4, atol=1e-5)


# ---- many batch sizes, and memory -----------------------------------------------------------------


def test_one_copy_of_the_weights_serves_all_batch_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    from kswatch.kernels.catalogue import implementation

    for name in algorithms():
        layer = KSLinear([(2, 8, 8, 3)], algorithm=name)
        chosen = implementation("bmm" if name == "auto" else name)
        laid_out, lay_out = [], chosen.lay_out
        monkeypatch.setattr(chosen, "lay_out", lambda *a, f=lay_out, n=laid_out: n.append(a) or f(*a))
        with torch.no_grad():
            for batch in (*range(1, 40), 300, 5000):
                layer(torch.randn(batch, 48))
        assert len(laid_out) <= 1


def test_a_deleted_layer_is_freed_at_once() -> None:
    layer = KSLinear(CHAIN)
    with torch.no_grad():
        layer(torch.randn(3, 24))
    weight = weakref.ref(layer.eval().freeze().factors[0].weight)
    gc.disable()
    try:
        del layer
        assert weight() is None
    finally:
        gc.enable()
