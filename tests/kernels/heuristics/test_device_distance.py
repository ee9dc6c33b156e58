"""The choice of the measured device whose section predicts for another device."""

import pytest

from kswatch.kernels.heuristics.device_distance import balance, device_distance, same_model
from kswatch.kernels.heuristics.learned import estimate_costs, ranked
from kswatch.kernels.heuristics.model_file import write_sections
from kswatch.kernels.heuristics.training import fit_sections
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from tests.kernels.heuristics.sample_problems import DEVICE, measured, problems

PROBLEM = Problem(Pattern(4, 64, 64, 8), 4096, "fp32", "batch_last")


def fitted(metric: str = "latency", fused_is: float = 1.0, **device) -> list:
    facts = {**DEVICE, **device}
    faster = measured(fused=lambda one: fused_is)
    return fit_sections(faster, facts, metric, seeds=())


@pytest.mark.parametrize("name", ["NVIDIA H200", "h200", "NVIDIA_H200"])
def test_manufacturer_and_spelling_do_not_change_the_model(name: str) -> None:
    assert same_model({"model": name}, {"model": "H200"})
    assert device_distance({"model": name}, {"model": "H200"}, "fp32") == 0


def test_measured_rates_take_precedence_over_stated_ones() -> None:
    assert balance({"model": "Tesla V100-PCIE-16GB"}, "fp16") == pytest.approx(112 / 0.9)
    rates = {"copy_fp32_rate": 2e9, "gemm_fp16_rate": 8e9}
    assert balance({"model": "Tesla V100-PCIE-16GB", **rates}, "fp16") == pytest.approx(4)
    assert balance({"model": "Nothing 9000"}, "fp16") is None


def test_an_unmeasured_device_uses_the_nearest_balance_with_a_caveat() -> None:
    sections = fitted(model="A100-SXM4-80GB") + fitted(model="NVIDIA RTX 3090")
    estimate = estimate_costs(PROBLEM, {"model": "NVIDIA RTX 4090"}, ("latency",), sections)
    assert estimate.section.device["model"] == "NVIDIA RTX 3090"
    assert estimate.caveats == (
        "NVIDIA RTX 4090 was never measured: the nearest measured device is NVIDIA RTX 3090",
    )


def test_the_same_device_in_energy_is_nearer_than_another_device_in_latency() -> None:
    sections = fitted("energy", model="V100") + fitted("latency", model="A100")
    estimate = estimate_costs(PROBLEM, {"model": "V100"}, ("latency", "energy"), sections)
    assert estimate.section.metric == "energy"
    assert estimate.caveats == ("metric latency was not measured there, only energy",)


def test_16_bit_precisions_substitute_each_other() -> None:
    sections = fit_sections(measured(problems("fp16")), DEVICE, "latency", seeds=()) + fitted()
    bf16_problem = Problem(PROBLEM.pattern, 4096, "bf16", "batch_last")
    assert estimate_costs(bf16_problem, DEVICE, ("latency",), sections).section.precision == "fp16"


def test_a_gpu_is_never_used_for_a_cpu() -> None:
    assert estimate_costs(PROBLEM, {"kind": "cpu"}, ("latency",), fitted()) is None


def test_a_layer_trusts_only_this_projects_kernel_on_the_same_model(tmp_path, monkeypatch) -> None:
    path = tmp_path / "model.json"
    monkeypatch.setenv("KSWATCH_HEURISTICS", str(path))
    slow = 1e6
    for sections, expected in (
        (fitted(fused_is=slow), "bmm"),
        (fitted(fused_is=slow, origin="imported"), "fused"),
        (fitted(fused_is=slow, model="Another"), "fused"),
        (fitted("energy", fused_is=slow), "fused"),
    ):
        path.unlink(missing_ok=True)
        write_sections(path, sections)
        assert ranked(PROBLEM, DEVICE)[0] == expected
