"""The tiles that a search tries: the model's choice first, then others with a similar estimate."""

import pytest
import torch

from kswatch.kernels.fused import tuning
from kswatch.kernels.fused.cpu_twin import tiles as twin_tiles
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.fused.cuda import driver, estimate, launch, trust_record
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

PROBLEM = Problem(Pattern(1, 128, 128, 3), 4096, "fp32", "batch_first")
GPU = torch.device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(driver, "gpu_properties", lambda device: GpuProperties(90, 132))
    monkeypatch.setattr(trust_record, "untrusted_reason", lambda device, tile: "never checked")


@pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load()))
def test_a_cpu_tries_the_default_tile_first_and_no_slow_estimates():
    tried = tuning.candidates(PROBLEM, torch.device("cpu"), 6)
    assert tried[0].tile == twin_tiles.default_tile(PROBLEM, twin.require_twin().limits)
    assert 1 < len(tried) <= 6
    assert all(one.cycles <= tuning.MODEL_FACTOR * min(one.cycles for one in tried) for one in tried[1:])


def test_a_gpu_tries_tiles_in_the_order_of_their_estimates(gpu):
    tried = tuning.candidates(PROBLEM, GPU, 6)
    assert tried[0].tile == launch.choose_tile(PROBLEM, GPU)
    assert [one.cycles for one in tried] == sorted(one.cycles for one in tried)
    assert tried[0].cycles == estimate.cycles(PROBLEM, tried[0].tile, GpuProperties(90, 132))
    assert tuning.architecture(GPU) == "sm_90"


def test_a_search_of_one_tile_is_the_models_choice(gpu):
    assert [one.tile for one in tuning.candidates(PROBLEM, GPU, 1)] == [launch.choose_tile(PROBLEM, GPU)]


def test_gpu_and_cpu_have_different_source_hashes():
    assert tuning.source_hash(GPU) != tuning.source_hash(torch.device("cpu"))
