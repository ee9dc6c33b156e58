"""The measuring loop on simulated devices of known truth."""

import math
import re

import pytest
import torch

from kswatch.db.records import CanaryRecord, DeviceRecord
from kswatch.errors import MeasurementError, UnsupportedError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import Correctness
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.measurement.cell import CellMeasurement
from kswatch.profiler.measurement.loop import measure_problem
from kswatch.profiler.probes.timing import Launchable, Visit
from kswatch.profiler.settings import MeasureSettings

PROBLEM = Problem(Pattern(2, 64, 64, 2), 1024, "fp32", "batch_first")
WRONG = Correctness(math.inf, math.inf, False, "3 elements are NaN")


@pytest.fixture
def measure(simulated):
    def run(truths, *, drift=0.0, settings=None, target=simulated.target, answers=True, seed=0, **options):
        backend = simulated.backend(truths, seed=seed, drift=drift)
        backend.answers = answers
        implementations = [simulated.implementation(name) for name in truths]
        records = measure_problem(
            PROBLEM,
            implementations,
            target,
            settings or MeasureSettings(),
            seed=seed,
            backend=backend,
            **options,
        )
        assert backend.closed == 1
        return {record.implementation: record for record in records}

    return run


def test_the_interval_holds_the_truth_and_the_ratio_is_that_of_the_truths(measure, simulated):
    records = measure({"fused": simulated.Truth(1.0), "bmm": simulated.Truth(1.5)})
    bmm = records["bmm"]
    assert [record.status for record in records.values()] == ["ok", "ok"]
    assert bmm.latency_low_ms < 1.5 < bmm.latency_high_ms
    assert bmm.latency_high_ms - bmm.latency_low_ms < 2.1 * 0.005 * 1.5
    assert bmm.ratio_to_fused_low < 1.5 < bmm.ratio_to_fused_high
    assert records["fused"].ratio_to_fused is None
    assert bmm.sample_count == len(bmm.samples_ms) >= 30
    assert bmm.latency_p05_ms < bmm.latency_p25_ms < bmm.latency_ms < bmm.latency_p75_ms < bmm.latency_p95_ms


def test_a_failed_cell_is_a_record_with_its_status_and_the_others_continue(measure, simulated):
    records = measure(
        {
            "fused": simulated.Truth(1.0),
            "bmm": simulated.Truth(prepare_error=MemoryError("no 3 GB")),
            "einsum": simulated.Truth(prepare_error=UnsupportedError("not here")),
            "bsr": simulated.Truth(prepare_error=torch.OutOfMemoryError("CUDA out of memory")),
            "csr": simulated.Truth(launch_error=RuntimeError("boom"), fails_after=100),
            "dense": simulated.Truth(launch_error=ValueError("out of memory in the text only")),
        }
    )
    assert {name: record.status for name, record in records.items()} == {
        "fused": "ok",
        "bmm": "out_of_memory",
        "einsum": "unsupported",
        "bsr": "out_of_memory",
        "csr": "crashed",
        "dense": "crashed",
    }
    assert records["csr"].reason == "RuntimeError: boom"
    assert records["csr"].latency_ms is None
    assert records["einsum"].reason == "not here"


def test_a_wrong_product_is_incorrect_before_and_after_timing(measure, simulated):
    before, after = simulated.Truth(1.0, checks=[WRONG]), simulated.Truth(1.0, checks=[RIGHT, WRONG])
    records = measure({"fused": before, "bmm": after})
    assert [record.status for record in records.values()] == ["incorrect", "incorrect"]
    assert records["fused"].reason == "before timing: 3 elements are NaN"
    assert records["bmm"].reason == "after timing: 3 elements are NaN"
    assert before.launches == 0
    assert records["bmm"].latency_ms is None
    assert records["bmm"].relative_error is None


def test_a_much_slower_cell_gets_few_samples_and_their_interval(measure, simulated):
    records = measure({"fused": simulated.Truth(1.0), "dense": simulated.Truth(7.0)})
    dense = records["dense"]
    assert dense.status == "ok"
    assert "slow" in dense.flags
    assert 5 <= dense.sample_count <= 8
    half_tick_ms = 0.00025
    assert dense.latency_low_ms == pytest.approx(min(dense.samples_ms) - half_tick_ms)
    assert dense.latency_high_ms == pytest.approx(max(dense.samples_ms) + half_tick_ms)
    assert dense.ratio_to_fused_low < dense.ratio_to_fused < dense.ratio_to_fused_high


def half_width(record) -> float:
    """Of the interval, as a share of the median."""
    low, high = record.latency_low_ms, record.latency_high_ms
    return max(high - record.latency_ms, record.latency_ms - low) / record.latency_ms


def test_a_much_slower_cell_is_ok_only_with_an_interval_of_ten_half_widths(measure, simulated):
    for seed in range(5):
        noisy = {"fused": simulated.Truth(1.0), "dense": simulated.Truth(7.0, noise=0.4)}
        dense = measure(noisy, seed=seed)["dense"]
        assert (dense.status == "ok") == (half_width(dense) <= 10 * 0.005)
        assert dense.sample_count > 8


def test_a_finished_reference_whose_interval_widens_is_taken_up_again(simulated):
    """It is visited for the ratios of others from then on, perhaps while the machine is disturbed."""
    cell = CellMeasurement(PROBLEM, simulated.implementation("fused"), MeasureSettings())
    cell.admit(Launchable("fused", print), 1.0)
    cell.add_visit(Visit(tuple(1.0 + 1e-4 * (index % 7) for index in range(60))), 0, 60.0)
    cell.finish_if_done(1.0, 0.0)
    cell.resume_if_wide(0.0)
    assert cell.status == "ok"
    for index in range(40):
        cell.add_visit(Visit((2.0 + index, 3.0 + index)), index + 1, 5.0)
    cell.resume_if_wide(0.0)
    assert cell.status is None


def test_a_cell_predicted_too_slow_is_never_run(measure, simulated):
    gemm = CanaryRecord("start", "gemm", "fp32", 1.0, rate=1e6)
    truth = simulated.Truth(1.0)
    record = measure({"dense": truth}, canaries=[gemm])["dense"]
    assert record.status == "too_slow"
    assert "predicted" in record.reason
    assert truth.launches == 0


def test_a_cell_whose_first_call_is_too_slow_is_not_timed(measure, simulated):
    truth = simulated.Truth(900.0)
    record = measure({"fused": simulated.Truth(1.0), "dense": truth})["dense"]
    assert record.status == "too_slow"
    assert truth.launches == 1
    assert record.latency_ms is None


def test_a_noisy_cell_is_not_converged_at_its_time_cap_with_the_interval_reached(measure, simulated):
    settings = MeasureSettings(cell_cap_ms=100.0)
    record = measure({"fused": simulated.Truth(1.0, noise=0.2)}, settings=settings)["fused"]
    assert record.status == "not_converged"
    assert record.latency_low_ms < 1.0 < record.latency_high_ms
    assert "wanted: ±0.5 % from 25 effective samples" in record.reason
    assert "\n" not in record.reason
    assert 90 <= sum(record.samples_ms) <= 130


def test_the_time_cap_of_a_problem_finishes_all_its_cells(measure, simulated):
    truths = {name: simulated.Truth(1.0, noise=0.3) for name in ("fused", "bmm", "einsum")}
    records = measure(truths, settings=MeasureSettings(problem_cap_ms=200.0))
    assert {record.status for record in records.values()} == {"not_converged"}
    assert sum(sum(record.samples_ms) for record in records.values()) < 260


def test_time_is_spent_on_fused_and_the_rivals_near_it_first(measure, simulated):
    """All three are too noisy to converge; the far rival gets what is left: nothing after the first round."""
    times = {"fused": 1.0, "bmm": 1.1, "einsum": 1.7}
    truths = {name: simulated.Truth(time_ms, noise=0.3) for name, time_ms in times.items()}
    records = measure(truths, settings=MeasureSettings(problem_cap_ms=400.0))
    samples = {name: record.sample_count for name, record in records.items()}
    assert samples["einsum"] < 10
    assert min(samples["fused"], samples["bmm"]) > 100
    assert {record.status for record in records.values()} == {"not_converged"}


def test_a_dense_model_and_the_fastest_rival_of_fused_have_their_time_beside_auto(measure, simulated):
    """`auto` is as fast as `fused` and no rival: what both gains are made of comes first."""
    times = {"dense/fair": 1.8, "ks/bmm": 1.5, "ks/fused": 1.0, "ks/auto": 1.0, "ks/einsum": 1.99}
    truths = {name: simulated.Truth(time_ms, noise=0.3) for name, time_ms in times.items()}
    records = measure(truths, settings=MeasureSettings(problem_cap_ms=800.0))
    samples = {name: record.sample_count for name, record in records.items()}
    assert samples["ks/einsum"] < 10 < 50 < min(samples[name] for name in list(times)[:4])


def test_a_far_rival_is_measured_once_the_near_ones_are_finished(measure, simulated):
    times = {"fused": 1.0, "bmm": 1.1, "csr": 1.7}
    records = measure({name: simulated.Truth(time_ms) for name, time_ms in times.items()})
    assert {record.status for record in records.values()} == {"ok"}
    assert records["csr"].ratio_to_fused == pytest.approx(1.7, rel=0.01)


def test_a_bimodal_cell_is_flagged_with_both_levels(measure, simulated):
    record = measure({"fused": simulated.Truth(1.0, second_mode=1.2, noise=0.005)})["fused"]
    assert "bimodal" in record.flags
    low_ms, high_ms = map(float, re.search(r"two modes, ([\d.]+) and ([\d.]+) ms", record.reason).groups())
    assert (low_ms, high_ms) == (pytest.approx(1.0, rel=0.01), pytest.approx(1.2, rel=0.01))


def test_a_latency_below_the_datasheet_limit_is_implausible(measure, simulated):
    h200 = Target(DeviceRecord("GPU-1", "cuda", "NVIDIA H200", cache_bytes=50 << 20), "cuda:0")
    records = measure({"fused": simulated.Truth(1e-4), "bmm": simulated.Truth(1.0)}, target=h200)
    assert records["fused"].status == "implausible"
    assert "NVIDIA H200" in records["fused"].reason
    assert records["bmm"].status == "ok"
    assert records["bmm"].ratio_to_fused is None


def test_the_floor_comes_from_the_canaries_of_the_run(measure, simulated):
    canaries = [
        CanaryRecord("start", "copy", "fp32", 1.0, 1e10),
        CanaryRecord("start", "gemm", "fp32", 1.0, 1e12),
    ]
    record = measure({"fused": simulated.Truth(1.0)}, canaries=canaries)["fused"]
    assert record.floor_ms == pytest.approx(1e3 * PROBLEM.compulsory_bytes / 1e10)
    assert record.floor_ratio == pytest.approx(record.floor_ms / record.latency_ms)


def test_a_lost_device_is_an_error_that_names_the_cell(measure, simulated):
    truths = {
        "fused": simulated.Truth(1.0),
        "bmm": simulated.Truth(launch_error=RuntimeError("illegal access")),
    }
    with pytest.raises(MeasurementError, match="bmm: RuntimeError: illegal access"):
        measure(truths, answers=False)


def test_operands_that_do_not_fit_are_the_reason_of_every_cell(simulated, monkeypatch):
    backend = simulated.backend({})

    def no_room(problem, seed):
        raise MemoryError("operands need 99 GB")

    monkeypatch.setattr(backend, "workload", no_room)
    implementations = [simulated.implementation(name) for name in ("fused", "bmm")]
    records = measure_problem(PROBLEM, implementations, simulated.target, backend=backend)
    assert [(record.status, record.reason) for record in records] == [
        ("out_of_memory", "operands need 99 GB")
    ] * 2


def test_the_same_seed_gives_the_same_records(measure, simulated):
    def once():
        return measure({"fused": simulated.Truth(1.0), "bmm": simulated.Truth(1.1)}, seed=7)

    assert once() == once()


def test_each_cell_is_announced_before_it_runs(measure, simulated):
    announced: list[str] = []
    measure({"fused": simulated.Truth(1.0), "bmm": simulated.Truth(1.0)}, announce=announced.append)
    assert announced[:2] == ["bmm", "fused"]
    assert announced.count("fused") > 4


RIGHT = Correctness(1e-7, 1e-6, True)
