"""What a search tries: the model's own tile first, then what the model does not rule out."""

import pytest
import torch

from kswatch.kernels.fused import tuning
from kswatch.kernels.fused.cpu_twin import tiles as twin_tiles
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.fused.cuda import driver, estimate, launch
from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.kernels.fused.cuda_checks import trust
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

PROBLEM = Problem(Pattern(1, 128, 128, 3), 4096, "fp32", "batch_first")
GPU = torch.device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(driver, "machine", lambda device: Machine(90, 132))
    monkeypatch.setattr(trust, "untrusted", lambda device, tile: "nobody has tried it")


@pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load()))
def test_a_cpu_tries_the_usual_tile_first_and_no_hopeless_one():
    tried = tuning.candidates(PROBLEM, torch.device("cpu"), 6)
    assert tried[0].tile == twin_tiles.usual(PROBLEM, twin.loaded().limits)
    assert 1 < len(tried) <= 6
    assert all(one.cycles <= tuning.MODEL_FACTOR * min(one.cycles for one in tried) for one in tried[1:])


def test_a_gpu_tries_the_models_choice_first_and_then_by_its_estimate(gpu):
    tried = tuning.candidates(PROBLEM, GPU, 6)
    assert tried[0].tile == launch.chosen(PROBLEM, GPU)
    assert [one.cycles for one in tried] == sorted(one.cycles for one in tried)
    assert tried[0].cycles == estimate.cycles(PROBLEM, tried[0].tile, Machine(90, 132))
    assert tuning.architecture(GPU) == "sm_90"


def test_a_search_of_one_is_the_models_choice(gpu):
    assert [one.tile for one in tuning.candidates(PROBLEM, GPU, 1)] == [launch.chosen(PROBLEM, GPU)]


def test_the_sources_of_a_gpu_and_of_a_cpu_are_others():
    assert tuning.source_hash(GPU) != tuning.source_hash(torch.device("cpu"))
