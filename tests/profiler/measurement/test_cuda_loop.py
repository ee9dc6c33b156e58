"""The complete loop on a GPU by `make gpu-check`: graphs, stamps, energy windows, warm-up, throttling.

Every test checks the loop, not a board's speed, and runs on a simulated board as well, so that it is tested
without a GPU too.
"""

from __future__ import annotations

import threading

import pytest
import torch

from kswatch.kernels import catalogue
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.simulated_spec import parse
from kswatch.profiler.executors.base import MeasureTask
from kswatch.profiler.executors.local import local_engine
from kswatch.profiler.measurement.backend_factory import backend_for
from kswatch.profiler.measurement.loop import measure_problem
from kswatch.profiler.planning.run_options import RunOptions
from kswatch.profiler.probes.cuda_graphs import capture
from kswatch.profiler.probes.timing import Launchable
from kswatch.profiler.probes.timing_cuda import MAX_QUEUED, SHORT_TICKS
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.simulated.backend import SimulatedBackend

NO_GPU = not torch.cuda.is_available()
ON_GPU = (pytest.mark.gpu, pytest.mark.skipif(NO_GPU, reason="torch sees no NVIDIA GPU here"))
BOARDS = [pytest.param("cuda", marks=ON_GPU), "sim:h200?seed=3&shift=0"]
SHORT = Problem(Pattern(6, 64, 64, 1), 1_024, "fp16", "batch_last")
LONG = Problem(Pattern(6, 64, 64, 16), 25_088, "fp16", "batch_last")
DENSE = Problem(Pattern(1, 4_096, 4_096, 1), 4_096, "fp16", "batch_first")
BMM = catalogue.implementation("bmm")
LABELS = {"power_capped", "thermal_slowdown", "hardware_slowdown", "energy_unsteady", "energy_sources_differ"}


@pytest.fixture(scope="module", params=BOARDS)
def target(request):
    return devices.find(request.param)


@pytest.fixture(scope="module")
def backend(target):
    if target.record.simulated:
        return SimulatedBackend(parse(target.spec))
    return backend_for(target)


@pytest.fixture(scope="module")
def measured(target, backend):
    """A function that measures a problem once for all tests."""
    known = {}

    def measure(problem, energy=False):
        if (problem, energy) not in known:
            settings = RunOptions(hot=True).settings(MeasureSettings())
            found = measure_problem(problem, [BMM], target, settings, backend=backend, energy=energy)
            known[problem, energy] = {record.mode: record for record in found}
        return known[problem, energy]

    return measure


@pytest.fixture
def workload(backend):
    made = backend.workload(LONG, 0)
    yield made
    made.close()


def unlabelled(record):
    return set(record.flags) - LABELS


def test_launches_wait_behind_a_spin_kernel_until_all_are_queued(backend, workload):
    launchable = workload.prepare(BMM)
    workload.check(launchable, None)
    backend.timer.visit(launchable, 2)
    visit = backend.timer.visit(launchable, 50)
    assert visit.flags == ()
    assert len(visit.samples_ms) == 50
    assert min(visit.samples_ms) > SHORT_TICKS * backend.timer.tick_ms


def test_a_product_of_many_launches_still_fits_into_the_queue(backend, workload):
    once = workload.prepare(BMM)
    workload.check(once, None)

    def eight_times(turn):
        for part in range(8):
            once.launch(8 * turn + part)

    launchable = Launchable("eight launches", eight_times, LONG)
    backend.timer.visit(launchable, 2)
    visit = backend.timer.visit(launchable, MAX_QUEUED)
    assert "not_queued" not in visit.flags
    assert visit.samples_ms


def test_a_long_launch_is_timed_by_itself_and_a_short_one_as_a_graph_over_rotated_operands(measured):
    assert unlabelled(measured(LONG)["cold"]) == set()
    short = measured(SHORT)["cold"]
    assert unlabelled(short) <= {"graph", "partly_hot"}
    assert "graph" in short.flags
    assert short.latency_ms < SHORT_TICKS * 0.5e-3


def test_hot_is_measured_too_where_the_operands_fit_and_is_no_slower(measured):
    assert set(measured(LONG)) == {"cold"}
    found = measured(SHORT)
    assert set(found) == {"cold", "hot"}
    assert found["hot"].latency_ms < 1.05 * found["cold"].latency_ms


def test_no_latency_is_below_the_datasheets_limit(measured):
    for problem in (SHORT, LONG):
        for record in measured(problem).values():
            assert record.status in ("ok", "not_converged"), record.reason


def test_cycles_match_latency_times_the_drivers_clock(measured):
    found = measured(LONG)["cold"]
    if found.cycles is None:
        pytest.skip("no clock stamps: there is no nvcc or no PyCUDA here")
    assert found.cycles / found.latency_ms / 1e3 == pytest.approx(found.sm_clock_mhz, rel=0.15)


def test_peak_memory_excludes_the_timers_allocations(target, measured):
    if target.record.simulated:
        pytest.skip("a simulated board has no allocator")
    for problem in (SHORT, LONG):
        peak_bytes = measured(problem)["cold"].memory_peak_bytes
        assert problem.compulsory_bytes <= peak_bytes < 4 * problem.compulsory_bytes + (2 << 20)


def test_energy_windows_follow_the_counters_updates_and_both_sources_agree(backend, measured):
    found = measured(LONG, energy=True)["cold"]
    if backend.energy_meter is None:
        assert found.energy_reason == backend.energy_refusal
        pytest.skip(backend.energy_refusal)
    assert found.energy_reason is None
    assert 5 < found.energy_tick_ms < 250
    assert 0 < found.energy_net_mj < found.energy_mj
    assert found.energy_low_mj <= found.energy_mj <= found.energy_high_mj
    assert found.energy_high_mj < 1.1 * found.energy_low_mj
    if found.second_power_w is not None:
        assert found.second_power_w == pytest.approx(found.power_w, rel=0.2)


def test_the_board_is_warmed_up_again_after_idle_time(backend):
    settings = MeasureSettings()
    backend.pause(1.5)
    durations_s = []
    for _ in range(2):
        begin_s = backend.now_s()
        backend.warm_up(settings)
        durations_s.append(backend.now_s() - begin_s)
    assert 1.0 < durations_s[0] < settings.warm_up_limit_s + 5
    assert durations_s[1] < 0.1


def test_the_time_of_throttling_never_decreases(backend):
    seen = [backend.throttled_s() for _ in range(3)]
    if None in seen:
        pytest.skip("this driver does not count slowdowns")
    assert seen == sorted(seen)
    assert seen[0] >= 0


def test_clocks_and_temperature_are_recorded_and_reasons_have_names(measured):
    found = measured(DENSE)["cold"]
    assert 100 < found.sm_clock_mhz < 4_000
    assert 10 < found.temperature_c < 110
    if "power_capped" in found.flags:
        assert "sw_power_cap" in found.event_reasons


def test_a_product_that_cannot_be_captured_does_not_disturb_later_ones(target, backend, workload):
    launchable = workload.prepare(BMM)
    workload.check(launchable, None)
    cuda = backend._driver.cuda
    before = cuda.current_stream()

    def synchronises(turn):
        launchable.launch(turn)
        if target.record.simulated:
            raise RuntimeError("operation not permitted when stream is capturing")
        cuda.synchronize()

    assert capture(cuda, synchronises, 2) is None
    assert cuda.current_stream() == before
    if not target.record.simulated:
        torch.cuda.empty_cache()
    assert capture(cuda, launchable.launch, 2) is not None
    assert backend.timer.visit(launchable, 5).samples_ms
    assert backend.healthy()


@pytest.mark.slow
def test_a_child_process_measures_the_same(target, measured):
    engine = local_engine(target, 120.0, threading.Event())
    try:
        [record] = engine.measure(MeasureTask(LONG, ("bmm",)))
    finally:
        engine.close()
    assert record.latency_ms == pytest.approx(measured(LONG)["cold"].latency_ms, rel=0.03)
