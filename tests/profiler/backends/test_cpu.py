"""The loop for real, on this machine's CPU, over a tiny problem."""

import pytest
import torch

from kswatch.kernels.catalogue import IMPLEMENTATIONS
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends import base as benches
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.measurement.loop import measure_canaries, measure_problem
from kswatch.profiler.settings import MeasureSettings

PROBLEM = Problem(Pattern(2, 16, 32, 2), 128, "fp32", "batch_last")
QUICK = MeasureSettings(cell_cap_ms=60.0, problem_cap_ms=400.0)


@pytest.fixture(scope="module")
def canaries():
    return measure_canaries(cpu_target(), "start")


@pytest.fixture(scope="module")
def records(canaries):
    found = measure_problem(PROBLEM, IMPLEMENTATIONS, cpu_target(), QUICK, energy=True, canaries=canaries)
    return {record.implementation: record for record in found}


def test_the_canaries_give_a_bandwidth_and_a_rate_per_precision(canaries):
    by_name = {(canary.name, canary.precision): canary.rate for canary in canaries}
    assert by_name["copy", "fp32"] > 1e8
    assert by_name["gemm", "fp32"] > 1e8
    assert {"fp32", "bf16", "fp16"} == {precision for name, precision in by_name if name == "gemm"}


def test_every_cell_has_a_status_and_every_measured_one_its_numbers(records):
    assert list(records) == [implementation.name for implementation in IMPLEMENTATIONS]
    measured = [record for record in records.values() if record.status in ("ok", "not_converged")]
    assert {"bmm", "einsum", "dense"} <= {record.implementation for record in measured}
    for record in measured:
        assert 0 < record.latency_low_ms <= record.latency_ms <= record.latency_high_ms
        assert record.relative_error < 1e-6
        assert record.floor_ms > 0
        assert len(record.samples_ms) == record.sample_count


def test_energy_is_asked_of_fused_and_the_fastest_baseline_alone(records):
    asked = {record.implementation for record in records.values() if record.energy_mj or record.energy_reason}
    timed = [record for record in records.values() if record.latency_ms]
    best = min((r for r in timed if r.implementation != "fused"), key=lambda record: record.latency_ms)
    assert asked == {"fused", best.implementation} & {record.implementation for record in timed}
    assert all(records[name].energy_mj is None or records[name].energy_mj > 0 for name in asked)


def test_the_fused_product_says_which_code_ran(records):
    if records["fused"].status == "unsupported":
        pytest.skip(records["fused"].reason)
    assert records["fused"].code_hash


def test_threads_are_those_of_the_environment_and_the_time_is_accounted_for(records):
    bench = benches.of(cpu_target())
    assert torch.get_num_threads() == cpu_target().record.facts["threads"]
    assert bench.busy_s >= sum(sum(record.samples_ms) for record in records.values()) / 1e3
    assert bench.healthy()


def test_a_problem_that_cannot_be_set_up_in_memory_is_told_by_every_cell():
    too_large = Problem(Pattern(1, 4096, 4096, 64), 1 << 20, "fp32", "batch_last")
    found = measure_problem(too_large, IMPLEMENTATIONS[:2], cpu_target(), QUICK)
    assert [record.status for record in found] == ["out_of_memory"] * 2
    assert "GB are free" in found[0].reason
