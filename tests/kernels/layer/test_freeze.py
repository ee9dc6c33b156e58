"""A frozen layer uses its weights as they were until it is refreshed; nothing else keeps or copies that."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from kswatch.errors import UsageError
from kswatch.kernels import KSLinear
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.layer.portable_export import export_portable

pytestmark = pytest.mark.usefixtures("one_thread")

CHAIN = [(2, 6, 4, 3), (1, 5, 9, 4), (5, 7, 4, 1)]


@pytest.fixture(params=["auto", "bmm"])
def layer(request: pytest.FixtureRequest) -> KSLinear:
    torch.manual_seed(0)
    return KSLinear(CHAIN, algorithm=request.param).eval()


def scale(layer: KSLinear, factor: float = 2.0) -> None:
    for parameter in layer.parameters():
        parameter.data.mul_(factor)


def check_values(layer: KSLinear, x: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_it_keeps_weights_and_bias_until_it_is_refreshed_for_every_batch_and_dtype(
    layer: KSLinear, by_einsum
) -> None:
    inputs = [torch.randn(batch, 24) for batch in (0, 1, 5, 300)]
    with torch.no_grad():
        before = [by_einsum(layer, x) for x in inputs]
        assert layer.freeze() is layer
        layer(inputs[1])
        scale(layer)
        for x, y in zip(inputs, before, strict=True):
            check_values(layer, x, y)
            with torch.autocast("cpu"):
                torch.testing.assert_close(layer(x).float(), y, rtol=5e-2, atol=5e-2)
        layer.refresh()
        for x in inputs:
            check_values(layer, x, by_einsum(layer, x))
        scale(layer)
        layer.unfreeze()
        for x in inputs:
            check_values(layer, x, by_einsum(layer, x))


def test_what_was_laid_out_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen, x = KSLinear([(2, 40, 40, 11)], algorithm="bmm").eval().freeze(), torch.randn(5, 880)
    bmm, calls = implementation("bmm"), []
    lay_out = bmm.lay_out
    monkeypatch.setattr(bmm, "lay_out", lambda *arguments: calls.append(arguments) or lay_out(*arguments))
    with torch.no_grad():
        for batch in (5, 5, 3):
            frozen(x[:batch])
    assert len(calls) == 1


def test_repr_shows_it(layer: KSLinear) -> None:
    assert "frozen" not in repr(layer)
    assert "frozen=True" in repr(layer.freeze())
    assert "frozen=True" in repr(layer.refresh())
    assert "frozen" not in repr(layer.unfreeze())
    assert "frozen" not in repr(layer.refresh())


def test_trainable_weights_in_training_mode_are_refused_in_a_sentence(layer: KSLinear) -> None:
    with pytest.raises(UsageError, match=r"want gradients.*call layer.eval\(\)"):
        layer.train().freeze()
    assert not layer.is_frozen
    layer.requires_grad_(False).freeze()
    assert layer.is_frozen
    layer(torch.randn(3, 24))
    layer.requires_grad_(True)
    with pytest.raises(UsageError, match="frozen.*unfreeze"):
        layer(torch.randn(3, 24))
    layer.unfreeze()(torch.randn(3, 24)).sum().backward()


def test_gradients_in_evaluation_mode_are_those_of_the_kept_weights(layer: KSLinear, by_einsum) -> None:
    x = torch.randn(5, 24, requires_grad=True)
    inputs = [x, *layer.parameters()]
    truths = torch.autograd.grad(by_einsum(layer, x).square().sum(), inputs[:1])
    layer.freeze()
    scale(layer)
    gradients = torch.autograd.grad(layer(x).square().sum(), inputs)
    torch.testing.assert_close(gradients[0], truths[0], rtol=1e-3, atol=1e-4)
    assert all(gradient.any() for gradient in gradients)


def through_pickle(layer: KSLinear) -> KSLinear:
    return pickle.loads(pickle.dumps(layer))


def through_torch_save(layer: KSLinear) -> KSLinear:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle, through_torch_save])
def test_a_copy_is_not_frozen(layer: KSLinear, copied: Callable[[KSLinear], KSLinear], by_einsum) -> None:
    x = torch.randn(5, 24)
    with torch.no_grad():
        y = layer.freeze()(x)
        other = copied(layer)
        assert layer.is_frozen and not other.is_frozen
        scale(other)
        check_values(other, x, by_einsum(other, x))
        assert torch.equal(layer(x), y)


def load(layer: KSLinear) -> None:
    layer.load_state_dict(KSLinear(CHAIN).state_dict())


def load_by_assignment(layer: KSLinear) -> None:
    layer.load_state_dict(KSLinear(CHAIN).state_dict(), assign=True)


def load_as_a_part(layer: KSLinear) -> None:
    model = nn.Sequential(layer)
    model.load_state_dict(nn.Sequential(KSLinear(CHAIN)).state_dict())


def convert(layer: KSLinear) -> None:
    layer.double().float()


def convert_as_a_part(layer: KSLinear) -> None:
    nn.Sequential(layer).to(torch.float32)


def convert_by_swapping(layer: KSLinear) -> None:
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        layer.double().float()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


@pytest.mark.parametrize(
    "change", [load, load_by_assignment, load_as_a_part, convert, convert_as_a_part, convert_by_swapping]
)
def test_loading_and_converting_drop_what_was_kept(
    layer: KSLinear, change: Callable[[KSLinear], None], by_einsum
) -> None:
    x = torch.randn(5, 24)
    with torch.no_grad():
        layer.freeze()(x)
        change(layer)
        for _ in range(2):
            check_values(layer, x, by_einsum(layer, x))
            scale(layer)
        assert not layer.is_frozen


def test_the_state_is_that_of_a_layer_that_is_not_frozen(layer: KSLinear) -> None:
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.freeze()(torch.randn(3, 24))
    after = layer.state_dict()
    assert list(before) == list(after) and all(torch.equal(before[name], after[name]) for name in before)
    assert [name for name, _ in layer.named_buffers()] == []


def test_a_replaced_weight_is_used_as_it_is(layer: KSLinear, by_einsum) -> None:
    x = torch.randn(5, 24)
    with torch.no_grad():
        layer.freeze()(x)
        for factor in layer.factors:
            factor.weight = nn.Parameter(torch.randn_like(factor.weight))
        layer.bias = None
        check_values(layer, x, by_einsum(layer, x))


def test_computed_weights_and_weights_without_values_are_refused(layer: KSLinear) -> None:
    with pytest.raises(UsageError, match="cannot be frozen"):
        KSLinear(CHAIN, device="meta").eval().freeze()
    parametrizations.weight_norm(layer.factors[0], "weight")
    with pytest.raises(UsageError, match="cannot be frozen.*computed"):
        layer.freeze()
    assert not layer.is_frozen


def test_layers_that_share_factors_keep_their_own_biases(layer: KSLinear, by_einsum) -> None:
    other = KSLinear(CHAIN, algorithm=layer.algorithm).eval()
    other.factors = layer.factors
    x = torch.randn(5, 24)
    with torch.no_grad():
        truths = [by_einsum(one, x) for one in (layer, other)]
        layer.freeze(), other.freeze(), other.refresh()
        scale(layer), scale(other)
        for one, truth in zip((layer, other), truths, strict=True):
            check_values(one, x, truth)
        layer.unfreeze()
        check_values(other, x, by_einsum(other, x))


def test_a_layer_frozen_in_inference_mode_serves_gradients_later(layer: KSLinear, by_einsum) -> None:
    x = torch.randn(5, 24)
    truth = torch.func.grad(lambda x: by_einsum(layer, x).square().sum())(x)
    with torch.inference_mode():
        layer.freeze()
    found = torch.func.grad(lambda x: layer(x).square().sum())(x)
    torch.testing.assert_close(found, truth, rtol=1e-3, atol=1e-4)
    with torch.device("cpu"):  # a mode, for which the operator is visible
        torch.autograd.backward(layer(x.requires_grad_()).square().sum())
    torch.testing.assert_close(x.grad, truth, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
def test_several_threads_may_call_one_layer(layer: KSLinear, frozen: bool, by_einsum) -> None:
    inputs = [torch.randn(batch, 24) for batch in range(1, 9)]
    with torch.no_grad():
        truths = [by_einsum(layer, x) for x in inputs]
    if frozen:
        layer.freeze()
    wrong, start = [], threading.Barrier(len(inputs))

    def work(x: torch.Tensor, truth: torch.Tensor) -> None:
        start.wait()
        with torch.no_grad():
            for _ in range(30):
                if not torch.allclose(layer(x), truth, rtol=1e-4, atol=1e-5):
                    wrong.append(x.shape)

    workers = [threading.Thread(target=work, args=pair) for pair in zip(inputs, truths, strict=True)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.parametrize("wants_gradient", [False, True])
def test_a_compiled_frozen_layer_uses_the_kept_weights(layer: KSLinear, wants_gradient: bool) -> None:
    torch.compiler.reset()
    x = torch.randn(5, 24)
    with torch.set_grad_enabled(wants_gradient):
        y = layer.freeze()(x)
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), y)
        scale(layer)
        torch.testing.assert_close(compiled(x), y)
        layer.refresh()
        torch.testing.assert_close(compiled(x), layer(x))
        layer.unfreeze()
        scale(layer)
        torch.testing.assert_close(compiled(x), layer(x))


def test_a_compiled_frozen_layer_has_the_gradients_of_a_frozen_one(layer: KSLinear) -> None:
    torch.compiler.reset()
    layer.freeze()
    scale(layer)
    x, found = torch.randn(5, 24, requires_grad=True), []
    for call in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
        found.append(torch.autograd.grad(call(x).square().sum(), [x, *layer.parameters()]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("export", [torch.export.export, export_portable])
def test_an_exported_frozen_layer_has_the_kept_weights(layer: KSLinear, export, strict: bool) -> None:
    torch.compiler.reset()
    x = torch.randn(5, 24)
    y = layer.freeze()(x)
    scale(layer)
    torch.testing.assert_close(export(layer, (x,), strict=strict).module()(x), y)


def test_a_frozen_factor_of_several_layers_is_refused_by_an_export(layer: KSLinear) -> None:
    torch.compiler.reset()
    other = KSLinear(layer.patterns).eval()
    other.factors = layer.factors
    layer.freeze()
    other.freeze()
    with pytest.raises(UsageError, match="several layers"):
        torch.export.export(layer, (torch.randn(5, 24),))


def test_a_compiled_layer_refuses_to_train_while_it_is_frozen(layer: KSLinear) -> None:
    torch.compiler.reset()
    compiled = torch.compile(layer.freeze(), backend="aot_eager")
    layer.train()
    with pytest.raises(UsageError, match=r"call layer.unfreeze\(\) first"):
        compiled(torch.randn(5, 24))
