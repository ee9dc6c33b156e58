"""The measuring loop on a GPU: `make gpu-check` runs it."""

import pytest
import torch

from kswatch.kernels.catalogue import IMPLEMENTATIONS
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import PRECISIONS, Problem
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.roofline import datasheet
from kswatch.profiler.measurement.backend_factory import backend_for
from kswatch.profiler.measurement.loop import measure_canaries, measure_problem
from kswatch.profiler.settings import MeasureSettings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no NVIDIA GPU here"),
]
PROBLEM = Problem(Pattern(6, 64, 64, 1), 25_088, "fp16", "batch_last")


@pytest.fixture(scope="module")
def target():
    return devices.find("cuda")


@pytest.fixture(scope="module")
def canaries(target):
    return measure_canaries(target, "start")


@pytest.fixture(scope="module")
def records(target, canaries):
    found = measure_problem(
        PROBLEM, IMPLEMENTATIONS, target, MeasureSettings(), energy=True, canaries=canaries
    )
    return {record.implementation: record for record in found}


def test_nvml_and_cuda_agree_on_the_gpus_uuid(target):
    assert devices.find(target.record.uuid) == target
    assert target.record.architecture.startswith("sm_")
    assert target.record.cache_bytes > 0


def test_canaries_stay_below_the_datasheets_rates(target, canaries):
    sheet = datasheet(target.record)
    rates = {(canary.name, canary.precision): canary.rate for canary in canaries}
    assert {precision for name, precision in rates if name == "gemm"} <= set(PRECISIONS)
    if sheet is None:
        pytest.skip(f"no datasheet of {target.record.model}")
    assert 0.4 * sheet.bytes_per_s < rates["copy", "fp32"] < sheet.bytes_per_s
    assert rates["gemm", "fp16"] < sheet.flops_per_s("fp16")


def test_every_cell_is_correct_or_has_a_reason(records):
    assert {record.status for record in records.values()} <= {
        "ok",
        "unsupported",
        "too_slow",
        "not_converged",
    }
    assert records["bmm"].status == "ok"
    assert "not_queued" not in records["bmm"].flags


def test_clocks_memory_and_floor_are_recorded(records):
    bmm = records["bmm"]
    assert bmm.sm_clock_mhz > 0
    assert bmm.memory_peak_bytes >= PROBLEM.compulsory_bytes
    assert 0 < bmm.floor_ratio < 1.2


def test_energy_is_measured_or_refused_with_a_reason(target, records):
    passes = [record for record in records.values() if record.energy_mj or record.energy_reason]
    assert len(passes) in (1, 2)
    if backend_for(target).energy_meter is None:
        pytest.skip(backend_for(target).energy_refusal)
    for record in passes:
        assert 0 < record.energy_net_mj < record.energy_mj
        assert record.energy_low_mj <= record.energy_mj <= record.energy_high_mj
        assert 20 < record.power_w < 1_500
