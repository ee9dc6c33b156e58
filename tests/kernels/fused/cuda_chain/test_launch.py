"""Chains in one launch on the fake GPU of `fake_gpu.py`, by themselves and as layers."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import pytest
import torch

from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels.fused.cuda import driver
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda_chain import candidates, launch
from kswatch.kernels.layer.chain import gpu_product
from kswatch.kernels.layer.chain import product as chain_product
from kswatch.kernels.linear import KSLinear
from tests.kernels.chains import SHAPES, make_chain, problems_of, small_tile
from tests.kernels.fused.cuda.fake_gpu import Function
from tests.kernels.products import poisoned

CPU = torch.device("cpu", 0)
PROBLEMS = problems_of(*SHAPES[0], "fp16", "batch_first")


@pytest.fixture
def small_pairs(monkeypatch):
    """The pair of tiles with the least work for the emulation, in place of the fastest on a GPU."""
    monkeypatch.setattr(launch.candidates, "choose", lambda problems, gpu: small_tile(problems))


def test_one_launch_computes_the_chain_with_its_bias(gpu, small_pairs):
    chain = make_chain(PROBLEMS)
    product = launch.prepare(PROBLEMS, chain.weights, chain.bias)
    kept = chain.bias.clone()
    chain.bias.zero_()  # the product has its own
    y = product(chain.x, empty=poisoned)
    chain.bias.copy_(kept)
    assert chain.correctness(y).ok
    assert gpu.log == [None]


def test_an_unaligned_input_is_read_with_narrower_accesses(gpu, small_pairs):
    chain = make_chain(PROBLEMS)
    product = launch.prepare(PROBLEMS, chain.weights, chain.bias)
    shifted = torch.empty(chain.x.numel() + 1, dtype=chain.x.dtype)[1:].view_as(chain.x).copy_(chain.x)
    assert shifted.data_ptr() % 16 == 2
    assert chain.correctness(product(shifted, empty=poisoned)).ok
    widths = {
        (unit.first.vector_bytes, unit.second.vector_bytes)
        for unit in gpu.tiles.values()
        if hasattr(unit, "first")
    }
    assert (2, small_tile(PROBLEMS).second.vector_bytes) in widths


def test_inputs_unlike_the_prepared_ones_are_refused(gpu, small_pairs):
    chain = make_chain(PROBLEMS)
    product = launch.prepare(PROBLEMS, chain.weights)
    with pytest.raises(UsageError, match="shape"):
        product(chain.x[:-1])
    with pytest.raises(UsageError, match="weights"):
        launch.prepare(PROBLEMS, chain.weights[::-1])
    with pytest.raises(UsageError, match="bias"):
        launch.prepare(PROBLEMS, chain.weights, chain.bias[1:])
    assert gpu.log == []


def test_weights_are_laid_out_at_each_call_of_a_live_product(gpu, small_pairs):
    chain = make_chain(PROBLEMS)
    product = launch.live_product(PROBLEMS, CPU)
    first = product(chain.weights, chain.x, chain.bias)
    assert chain.correctness(first).ok
    chain.weights[0].mul_(2)
    assert chain.correctness(product(chain.weights, chain.x, chain.bias)).ok


def test_deleting_a_product_frees_its_weights(gpu, small_pairs, monkeypatch):
    owned = []

    def laying_out(weights, tile):
        owned.append(weakref.ref(laid_out := weights.clone()))
        return laid_out

    monkeypatch.setattr(launch, "lay_out", laying_out)
    chain = make_chain(PROBLEMS)
    gc.disable()
    try:
        product = launch.prepare(PROBLEMS, chain.weights, chain.bias)
        assert all(one() is not None for one in owned)
        del product
        assert [one() for one in owned] == [None, None]
    finally:
        gc.enable()


WIDE = problems_of((64, 64, 64, 1), (1, 64, 256, 16), 16, "fp32", "batch_first")


def test_an_intermediate_that_does_not_fit_is_refused_with_the_reason(gpu, monkeypatch):
    """4,096 features in fp32 at 16 entries: 256 KiB of at most 163, and no clusters."""
    monkeypatch.setattr(driver, "gpu_properties", lambda device: GpuProperties(80, 108))
    reason = launch.unsupported(WIDE, CPU)
    assert "4096 features does not fit" in reason and "clusters of blocks need sm_90" in reason
    with pytest.raises(UnsupportedError, match="does not fit"):
        launch.prepare(WIDE, make_chain(WIDE).weights)
    assert not launch.pays(WIDE, CPU)


def test_it_is_supported_in_a_cluster_and_refused_where_one_matrix_reads_all_of_it(gpu):
    assert candidates.choose(WIDE, GpuProperties(90, 132)).cluster > 1
    assert launch.unsupported(WIDE, CPU) is None
    single = problems_of((64, 64, 64, 1), (1, 64, 4096, 1), 16, "fp32", "batch_first")
    assert "nor what a block of a cluster reads" in launch.unsupported(single, CPU)


def test_a_launch_in_clusters_computes_the_chain(gpu):
    chain = make_chain(PROBLEMS)
    tile = small_tile(PROBLEMS, shares=4, cluster=2)
    product = launch.prepare(PROBLEMS, chain.weights, chain.bias, tile)
    assert chain.correctness(product(chain.x, empty=poisoned)).ok
    assert tile in gpu.tiles.values() and gpu.log == [None]


def test_an_old_gpu_is_refused_with_the_reason(gpu, monkeypatch):
    monkeypatch.setattr(driver, "gpu_properties", lambda device: GpuProperties(70))
    assert "needs sm_75" in launch.unsupported(PROBLEMS, CPU)


@pytest.mark.parametrize("precision", ["fp64", "complex64", "fp8"])
def test_a_precision_that_has_no_chain_is_refused_with_the_reason(gpu, precision):
    problems = problems_of((2, 20, 24, 1), (1, 18, 20, 2), 21, precision, "batch_first")
    assert launch.unsupported(problems, CPU) == f"one launch computes fp32, tf32, bf16, fp16, not {precision}"


# ---- layers --------------------------------------------------------------------------------------


@pytest.fixture
def chains(gpu, monkeypatch):
    """Layers on the CPU take the road of a GPU, not that of products in C++; counts launches of chains."""
    monkeypatch.setattr(chain_product, "GPU", "cpu")
    monkeypatch.setattr("kswatch.kernels.linear.NATIVE", SimpleNamespace(forward=lambda layer, x: None))
    launched = []
    former = Function._launch_kernel

    def counted(self, *arguments):
        if hasattr(self.tile, "first"):
            launched.append(self.tile)
        return former(self, *arguments)

    monkeypatch.setattr(Function, "_launch_kernel", counted)
    gpu_product._live_chain.cache_clear()
    yield launched
    gpu_product._live_chain.cache_clear()


def layer_of(algorithm: str, dtype=torch.float16) -> KSLinear:
    torch.manual_seed(1)
    layer = KSLinear([shape for shape in SHAPES[0][:2]], algorithm=algorithm, dtype=dtype)
    return layer.eval().requires_grad_(False)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_layer_that_names_the_chain_is_launched_once(chains, small_pairs, frozen):
    layer, apart = layer_of("fused_chain"), layer_of("bmm")
    if frozen:
        layer.freeze()
    x = torch.randn(5, 4, layer.in_features).half()
    y = layer(x)
    torch.testing.assert_close(y, apart(x), rtol=2e-2, atol=2e-2)
    assert torch.equal(layer(x), y) and len(chains) == 2


def test_changed_weights_are_used_and_frozen_ones_are_not(chains, small_pairs):
    layer = layer_of("fused_chain")
    x = torch.randn(7, layer.in_features).half()
    before = layer(x)
    layer.factors[0].weight.data.zero_()
    assert torch.equal(layer(x), layer.bias.expand(7, -1))
    layer.factors[0].weight.data.normal_()
    layer.freeze()
    frozen = layer(x)
    layer.factors[1].weight.data.zero_()
    layer.bias.data.zero_()
    assert torch.equal(layer(x), frozen) and not torch.equal(frozen, before)
    assert not layer.refresh()(x).any()
    assert len(chains) == 5


@pytest.mark.parametrize("predicted", [True, False])
def test_auto_takes_one_launch_only_where_it_is_predicted_to_pay(chains, small_pairs, monkeypatch, predicted):
    monkeypatch.setattr("kswatch.kernels.layer.algorithm_choice._predicted", lambda *problem: "fused")
    monkeypatch.setattr("kswatch.kernels.layer.algorithm_choice._predicted_choices", {})
    monkeypatch.setattr(launch.estimate, "pays", lambda problems, tile, tiles, gpu: predicted)
    layer = layer_of("auto")
    layer(torch.randn(7, layer.in_features).half())
    assert len(chains) == predicted


def test_a_layer_that_is_frozen_in_fp8_multiplies_factor_by_factor(chains, small_pairs):
    layer = layer_of("fused_chain", torch.bfloat16)
    x = torch.randn(7, layer.in_features).bfloat16()
    exact = layer(x)
    chains.clear()
    y = layer.freeze("fp8")(x)
    assert chains == [] and not torch.equal(y, exact)
    torch.testing.assert_close(y, exact, rtol=0.2, atol=0.2)


@pytest.mark.parametrize("keep_intermediate", [False, True])
def test_training_takes_one_launch_unless_the_intermediate_is_kept(chains, small_pairs, keep_intermediate):
    layer, apart = (layer_of(name, torch.float32).requires_grad_() for name in ("fused_chain", "bmm"))
    layer.keep_intermediate = keep_intermediate
    x = torch.randn(30, layer.in_features)
    for one in (layer, apart):
        loss = one(x).square().sum()
        one.factors[0].weight.data.mul_(2)  # after the forward pass: not seen by torch's counter
        loss.backward()
    assert len(chains) == (0 if keep_intermediate else 1)
    for weight, other in zip(layer.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad, rtol=1e-4, atol=1e-4)
