"""The trials on a GPU before measurements: every family and variant, partial tiles first."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda_checks import trials
from kswatch.kernels.problem import LAYOUTS, PRECISIONS

H200 = GpuProperties(90, 132)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_variant_is_tried_in_both_layouts(precision):
    family = "cores" if precision in ("fp64", "complex64") else "tensor_cores"
    tried = list(trials.trials(family, precision, H200))
    kinds = {(trial.kind, trial.problem.layout) for trial in tried}
    assert kinds == {(kind, layout) for kind in ("plain", "parts", "walkers") for layout in LAYOUTS}
    assert all(trial.tile.launch_bytes <= H200.shared_bytes for trial in tried)
    assert all(trial.tile.family == family for trial in tried)
    assert not (family == "cores" and list(trials.trials("tensor_cores", precision, H200)))


def test_turing_tries_only_the_cuda_cores():
    turing = GpuProperties(75, 40)
    assert not list(trials.trials("tensor_cores", "fp16", turing))
    assert list(trials.trials("cores", "fp16", turing))


def test_a_tile_that_does_not_compile_is_reported(monkeypatch, tmp_path):
    trial = next(trials.trials("cores", "fp32", H200))

    def run_trial(trial, device):
        raise UnsupportedError("nvcc does not compile it")

    monkeypatch.setattr(trials, "run_trial", run_trial)
    assert not trials.run_and_report(trial, torch.device("cpu"), tmp_path / "right.jsonl")
    result = json.loads((tmp_path / "right.jsonl").read_text())
    assert result["reason"] == "nvcc does not compile it"
    assert result.keys() == asdict(trials.TrialResult("", "", "", True, 0.0, None)).keys()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_the_smallest_trials_are_right_on_the_cpu(run_on_host, precision):
    family = "cores" if precision == "fp32" else "tensor_cores"
    for trial in list(trials.trials(family, precision, H200))[:8]:
        assert run_on_host(trial.problem, trial.tile, with_bias=True).ok, trial


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    "module", ["kswatch.kernels.fused.cuda_checks.trials", "kswatch.kernels.fused.cuda_checks.trust"]
)
def test_without_a_gpu_the_commands_refuse_in_one_sentence(module):
    done = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True)
    assert done.returncode != 0
    assert "no NVIDIA GPU" in done.stderr
