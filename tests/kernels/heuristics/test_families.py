"""Which measured device answers for another one."""

import pytest

from kswatch.kernels.heuristics.families import balance, device_distance, same_model
from kswatch.kernels.heuristics.learned import estimate
from kswatch.kernels.heuristics.model_file import write_sections
from kswatch.kernels.heuristics.ranking import ranked
from kswatch.kernels.heuristics.training import fit_sections
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from tests.kernels.heuristics.sample_problems import DEVICE, measured, problems

PROBLEM = Problem(Pattern(4, 64, 64, 8), 4096, "fp32", "batch_last")


def fitted(metric: str = "latency", fused_is: float = 1.0, **device) -> list:
    facts = {**DEVICE, **device}
    faster = measured(fused=lambda one: fused_is)
    return fit_sections(faster, facts, metric, with_trees=False, with_spread=False)


@pytest.mark.parametrize("name", ["NVIDIA H200", "h200", "NVIDIA_H200"])
def test_the_maker_and_the_spelling_do_not_make_another_model(name: str) -> None:
    assert same_model({"model": name}, {"model": "H200"})
    assert device_distance({"model": name}, {"model": "H200"}, "fp32") == 0


def test_measured_rates_count_before_stated_ones() -> None:
    assert balance({"model": "Tesla V100-PCIE-16GB"}, "fp16") == pytest.approx(112 / 0.9)
    rates = {"copy_fp32_rate": 2e9, "gemm_fp16_rate": 8e9}
    assert balance({"model": "Tesla V100-PCIE-16GB", **rates}, "fp16") == pytest.approx(4)
    assert balance({"model": "Nothing 9000"}, "fp16") is None


def test_an_unmeasured_device_is_answered_by_the_nearest_balance_and_told_so() -> None:
    sections = fitted(model="A100-SXM4-80GB") + fitted(model="NVIDIA RTX 3090")
    said = estimate(PROBLEM, {"model": "NVIDIA RTX 4090"}, ("latency",), sections)
    assert said.section.device["model"] == "NVIDIA RTX 3090"
    assert said.caveats == ("NVIDIA RTX 4090 was never measured: the nearest that was is NVIDIA RTX 3090",)


def test_the_same_device_in_energy_is_nearer_than_another_one_in_time() -> None:
    sections = fitted("energy", model="V100") + fitted("latency", model="A100")
    said = estimate(PROBLEM, {"model": "V100"}, ("latency", "energy"), sections)
    assert said.section.metric == "energy"
    assert said.caveats == ("metric latency was not measured there: energy is",)


def test_16_bit_precisions_stand_in_for_each_other() -> None:
    sections = fit_sections(measured(problems("fp16")), DEVICE, "latency", with_trees=False) + fitted()
    asked = Problem(PROBLEM.pattern, 4096, "bf16", "batch_last")
    assert estimate(asked, DEVICE, ("latency",), sections).section.precision == "fp16"


def test_a_gpu_never_answers_for_a_cpu() -> None:
    assert estimate(PROBLEM, {"kind": "cpu"}, ("latency",), fitted()) is None


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
