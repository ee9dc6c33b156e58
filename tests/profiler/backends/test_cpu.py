"""The measuring loop on this machine's CPU, over a tiny problem."""

import time
from dataclasses import replace

import pytest
import torch

from kswatch.kernels.catalogue import IMPLEMENTATIONS
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.base import CpuBackend
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.measurement.backend_factory import backend_for
from kswatch.profiler.measurement.loop import measure_canaries, measure_problem
from kswatch.profiler.probes.energy import EnergyMeter, EnergySource
from kswatch.profiler.probes.energy_rapl import rapl_refusal
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
    (others,) = {canary.other_cpu_share for canary in canaries}
    assert 0 <= others <= 1
    assert by_name["copy", "fp32"] > 1e8
    assert by_name["gemm", "fp32"] > 1e8
    assert by_name["peak", "fp32"] > 1e8
    assert {"fp32", "bf16", "fp16"} == {precision for name, precision in by_name if name == "gemm"}


def test_every_cell_has_a_status_and_every_measured_cell_has_numbers(records):
    assert list(records) == [implementation.name for implementation in IMPLEMENTATIONS]
    measured = [record for record in records.values() if record.status in ("ok", "not_converged")]
    assert {"bmm", "einsum", "dense"} <= {record.implementation for record in measured}
    for record in measured:
        assert 0 < record.latency_low_ms <= record.latency_ms <= record.latency_high_ms
        assert record.relative_error < 1e-6
        assert record.floor_ms > 0
        assert len(record.samples_ms) == record.sample_count


def energy_cells(records):
    """Names of the cells with an energy pass, which are checked to be `fused` and the fastest baseline."""
    names = {record.implementation for record in records.values() if record.energy_mj or record.energy_reason}
    timed = [record for record in records.values() if record.latency_ms]
    best = min((r for r in timed if r.implementation != "fused"), key=lambda record: record.latency_ms)
    assert names == {"fused", best.implementation} & {record.implementation for record in timed}
    return names


def test_the_energy_pass_measures_fused_and_the_fastest_baseline_only(records):
    refusal = rapl_refusal()
    for name in energy_cells(records):
        assert records[name].energy_reason == refusal
        assert (records[name].energy_mj is None) == (refusal is not None)


class TwentyWatts(EnergySource):
    """An energy counter of a CPU that takes 20 W, updated every millisecond."""

    name, scope = "rapl", "package"

    def read_mj(self):
        return 20e3 * (time.perf_counter_ns() // 1_000_000) / 1e3


def test_energy_per_product_is_power_times_latency_where_the_cpu_has_a_counter():
    backend = CpuBackend(cpu_target())
    backend.energy_meter = EnergyMeter(TwentyWatts())
    settings = replace(QUICK, energy_settle_s=0.05, energy_window_s=0.1)
    found = measure_problem(PROBLEM, IMPLEMENTATIONS, cpu_target(), settings, energy=True, backend=backend)
    records = {record.implementation: record for record in found}
    names = energy_cells(records)
    assert names
    for name in names:
        record = records[name]
        assert record.energy_reason is None
        assert record.energy_source == "rapl"
        assert record.power_w == pytest.approx(20, rel=0.2)
        assert record.energy_low_mj <= record.energy_mj <= record.energy_high_mj
        # the fastest launch: other programs may slow the median, and the energy window not
        assert record.energy_mj / record.power_w > 0.5 * min(record.samples_ms)


def test_the_fused_product_records_the_hash_of_its_code(records):
    if records["fused"].status == "unsupported":
        pytest.skip(records["fused"].reason)
    assert records["fused"].code_hash


def test_threads_match_the_environment_and_the_busy_time_covers_all_samples(records):
    backend = backend_for(cpu_target())
    assert torch.get_num_threads() == cpu_target().record.facts["threads"]
    assert backend.busy_s >= sum(sum(record.samples_ms) for record in records.values()) / 1e3
    assert backend.healthy()


def test_a_problem_that_does_not_fit_into_memory_is_the_reason_of_every_cell():
    too_large = Problem(Pattern(1, 4096, 4096, 64), 1 << 20, "fp32", "batch_last")
    found = measure_problem(too_large, IMPLEMENTATIONS[:2], cpu_target(), QUICK)
    assert [record.status for record in found] == ["out_of_memory"] * 2
    assert "GB are free" in found[0].reason
