"""The complete loop on a GPU, as `make gpu-check` runs it: graphs, stamps, energy windows, plateau, heat.

Every test is of the loop, not of a board's speed; each runs on a simulated board as well, so that it is known
to run before a GPU is there.
"""

from __future__ import annotations

import threading

import pytest
import torch

from kswatch.kernels import catalogue
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.base import of
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.executors.base import MeasureTask
from kswatch.profiler.executors.local import local_engine
from kswatch.profiler.measurement.loop import measure_problem
from kswatch.profiler.planning.run_options import Ways
from kswatch.profiler.probes.cuda_graphs import capture
from kswatch.profiler.probes.timing import Work
from kswatch.profiler.probes.timing_cuda import MAX_QUEUED, SHORT_TICKS
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.simulated.backend import SimulatedBench

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
def bench(target):
    if target.record.simulated:
        return SimulatedBench.of(target.spec)
    return of(target)


@pytest.fixture(scope="module")
def measured(target, bench):
    """Measures a problem once for all tests that look at it."""
    known = {}

    def measure(problem, energy=False):
        if (problem, energy) not in known:
            settings = Ways(hot=True).settings(MeasureSettings())
            found = measure_problem(problem, [BMM], target, settings, bench=bench, energy=energy)
            known[problem, energy] = {record.mode: record for record in found}
        return known[problem, energy]

    return measure


@pytest.fixture
def stage(bench):
    made = bench.stage(LONG, 0)
    yield made
    made.close()


def unlabelled(record):
    return set(record.flags) - LABELS


def test_launches_wait_behind_a_spin_kernel_until_all_are_queued(bench, stage):
    work = stage.prepare(BMM)
    stage.check(work, None)
    bench.timer.visit(work, 2)
    visit = bench.timer.visit(work, 50)
    assert visit.flags == ()
    assert len(visit.samples_ms) == 50
    assert min(visit.samples_ms) > SHORT_TICKS * bench.timer.tick_ms


def test_a_product_of_many_launches_still_fits_into_the_queue(bench, stage):
    once = stage.prepare(BMM)
    stage.check(once, None)

    def eight_times(turn):
        for part in range(8):
            once.launch(8 * turn + part)

    work = Work("eight launches", eight_times, LONG)
    bench.timer.visit(work, 2)
    visit = bench.timer.visit(work, MAX_QUEUED)
    assert "not_queued" not in visit.flags
    assert visit.samples_ms


def test_a_long_launch_is_timed_by_itself_and_a_short_one_as_a_graph_over_rotated_operands(measured):
    assert unlabelled(measured(LONG)["cold"]) == set()
    short = measured(SHORT)["cold"]
    assert unlabelled(short) <= {"graph", "partly_hot"}
    assert "graph" in short.flags
    assert short.latency_ms < SHORT_TICKS * 0.5e-3


def test_hot_is_beside_cold_where_the_operands_fit_and_is_no_slower(measured):
    assert set(measured(LONG)) == {"cold"}
    found = measured(SHORT)
    assert set(found) == {"cold", "hot"}
    assert found["hot"].latency_ms < 1.05 * found["cold"].latency_ms


def test_nothing_is_faster_than_the_datasheet_allows(measured):
    for problem in (SHORT, LONG):
        for record in measured(problem).values():
            assert record.status in ("ok", "not_converged"), record.reason


def test_cycles_are_time_at_a_clock_that_the_driver_knows_too(measured):
    found = measured(LONG)["cold"]
    if found.cycles is None:
        pytest.skip("no clock stamps: there is no nvcc or no PyCUDA here")
    assert found.cycles / found.latency_ms / 1e3 == pytest.approx(found.sm_clock_mhz, rel=0.15)


def test_the_memory_of_a_product_is_its_own_and_not_the_timers(target, measured):
    if target.record.simulated:
        pytest.skip("a simulated board has no allocator")
    for problem in (SHORT, LONG):
        peak_bytes = measured(problem)["cold"].memory_peak_bytes
        assert problem.compulsory_bytes <= peak_bytes < 4 * problem.compulsory_bytes + (2 << 20)


def test_energy_is_counted_from_edge_to_edge_and_both_sources_agree(bench, measured):
    found = measured(LONG, energy=True)["cold"]
    if bench.energy_meter is None:
        assert found.energy_reason == bench.energy_refusal
        pytest.skip(bench.energy_refusal)
    assert found.energy_reason is None
    assert 5 < found.energy_tick_ms < 250
    assert 0 < found.energy_net_mj < found.energy_mj
    assert found.energy_low_mj <= found.energy_mj <= found.energy_high_mj
    assert found.energy_high_mj < 1.1 * found.energy_low_mj
    if found.second_power_w is not None:
        assert found.second_power_w == pytest.approx(found.power_w, rel=0.2)


def test_the_board_is_warm_until_it_rests(bench):
    settings = MeasureSettings()
    bench.pause(1.5)
    took_s = []
    for _ in range(2):
        begin_s = bench.now_s()
        bench.warm_up(settings)
        took_s.append(bench.now_s() - begin_s)
    assert 1.0 < took_s[0] < settings.plateau_s + 5
    assert took_s[1] < 0.1


def test_what_heat_held_back_is_counted_and_never_runs_backwards(bench):
    seen = [bench.slowed_s() for _ in range(3)]
    if None in seen:
        pytest.skip("this driver does not count slowdowns")
    assert seen == sorted(seen)
    assert seen[0] >= 0


def test_clocks_and_temperature_are_told_and_reasons_have_names(measured):
    found = measured(DENSE)["cold"]
    assert 100 < found.sm_clock_mhz < 4_000
    assert 10 < found.temperature_c < 110
    if "power_capped" in found.flags:
        assert "sw_power_cap" in found.event_reasons


def test_a_product_that_no_graph_takes_harms_nothing_after_it(target, bench, stage):
    work = stage.prepare(BMM)
    stage.check(work, None)
    cuda = bench._driver.cuda
    before = cuda.current_stream()

    def synchronises(turn):
        work.launch(turn)
        if target.record.simulated:
            raise RuntimeError("operation not permitted when stream is capturing")
        cuda.synchronize()

    assert capture(cuda, synchronises, 2) is None
    assert cuda.current_stream() == before
    if not target.record.simulated:
        torch.cuda.empty_cache()
    assert capture(cuda, work.launch, 2) is not None
    assert bench.timer.visit(work, 5).samples_ms
    assert bench.healthy()


@pytest.mark.slow
def test_a_child_process_measures_the_same(target, measured):
    engine = local_engine(target, 120.0, threading.Event())
    try:
        [record] = engine.measure(MeasureTask(LONG, ("bmm",)))
    finally:
        engine.close()
    assert record.latency_ms == pytest.approx(measured(LONG)["cold"].latency_ms, rel=0.03)
