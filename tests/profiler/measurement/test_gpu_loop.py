"""Features of the loop on GPUs only, on simulated boards: graphs, hot mode, throttling, warm-up, stamps."""

import statistics

import pytest

from kswatch.kernels import catalogue
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.gpu import warm_up_until_stable
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.simulated_spec import BoardOptions, parse
from kswatch.profiler.measurement.loop import measure_canaries, measure_problem
from kswatch.profiler.planning.run_options import RunOptions
from kswatch.profiler.probes.clocks import ClockReading, slowdown_clock
from kswatch.profiler.probes.energy import SustainedLoad
from kswatch.profiler.probes.sm_clock import clock_of
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.simulated.backend import SimulatedBackend
from kswatch.profiler.simulated.board import Board
from kswatch.profiler.simulated.cost_model import truth_of
from kswatch.profiler.simulated.nvml import SimulatedNvml

SHORT = Problem(Pattern(6, 64, 64, 1), 1_024, "fp16", "batch_first")
LONG = Problem(Pattern(6, 64, 64, 16), 25_088, "fp16", "batch_last")
NAMES = ("fused", "bmm")


def measured(options, problem=LONG, settings=None, energy=False, names=NAMES):
    target = devices.find(f"sim:h200?seed=3&{options}")
    backend = SimulatedBackend(parse(target.spec))
    implementations = [catalogue.implementation(name) for name in names]
    found = measure_problem(
        problem, implementations, target, settings or MeasureSettings(), backend=backend, energy=energy
    )
    return {(record.implementation, record.mode): record for record in found}, backend


def truth(name, problem, options=""):
    return truth_of(parse(f"sim:h200?{options}"), problem, catalogue.implementation(name))


def test_a_short_launch_is_timed_as_a_cold_graph():
    found, _ = measured("shift=0.001", SHORT)
    fused = found["fused", "cold"]
    assert fused.status == "ok"
    assert "graph" in fused.flags
    # a single event's tick of 0.5 microseconds would be a fifth of this
    assert fused.latency_ms == pytest.approx(truth("fused", SHORT).time_ms, rel=0.01)


def test_hot_is_a_separate_measurement_where_the_operands_fit_into_the_cache():
    found, _ = measured("shift=0.001", SHORT, RunOptions(hot=True).settings(MeasureSettings()))
    assert set(found) == {(name, mode) for name in NAMES for mode in ("cold", "hot")}
    for name in NAMES:
        assert found[name, "hot"].latency_ms == pytest.approx(truth(name, SHORT).hot_ms, rel=0.01)
        assert found[name, "hot"].latency_ms < found[name, "cold"].latency_ms
    assert found["bmm", "hot"].ratio_to_fused_low is not None
    large, _ = measured("shift=0.001", LONG, RunOptions(hot=True).settings(MeasureSettings()))
    assert {mode for _, mode in large} == {"cold"}


def test_cycles_are_latency_times_the_stamped_clock():
    found, backend = measured("shift=0")
    fused = found["fused", "cold"]
    assert fused.cycles == pytest.approx(1e3 * backend.board.model.sm_clock_mhz * fused.latency_ms, rel=0.01)


def test_throttled_visits_are_flagged_and_kept_out_of_the_median():
    found, backend = measured("throttle=thermal&throttle_every_s=0.2&throttle_s=0.1&throttle_by=2&noise=0.01")
    fused = found["fused", "cold"]
    assert "thermal_slowdown" in fused.flags
    assert fused.latency_ms == pytest.approx(truth("fused", LONG).time_ms, rel=0.01)
    assert max(fused.samples_ms) < 1.3 * fused.latency_ms


def test_a_board_that_is_always_throttled_gives_a_reason_and_no_latency():
    settings = MeasureSettings(throttled_visits_limit=5)
    found, backend = measured(
        "throttle=thermal&throttle_every_s=1&throttle_s=1&throttle_by=2", settings=settings
    )
    for record in found.values():
        assert record.status == "skipped"
        assert "throttled by heat" in record.reason
        assert record.latency_ms is None


def test_power_capped_visits_are_flagged_and_kept():
    found, _ = measured("throttle=power&throttle_every_s=0.01&throttle_s=0.01&throttle_by=1.2")
    fused = found["fused", "cold"]
    assert "power_capped" in fused.flags
    assert fused.latency_ms == pytest.approx(1.2 * truth("fused", LONG).time_ms, rel=0.01)


@pytest.mark.parametrize(
    ("without", "supported"), [("", True), ("event_times", True), ("event_times,violations", False)]
)
def test_throttling_is_read_from_the_counters_that_the_driver_supports(without, supported):
    known = tuple(filter(None, without.split(",")))
    board = Board(BoardOptions(throttle="thermal", throttle_every_s=10, throttle_s=4, without=known))
    board.clock.advance(20.0)
    seconds = slowdown_clock(None, SimulatedNvml(board))()
    assert seconds == (pytest.approx(8.0, abs=1e-3) if supported else None)


class Hot(SustainedLoad):
    """A load under which a board warms by a degree every `step_s`."""

    keeps_busy_s = 0.1

    def top_up(self):
        pass

    def product_ms(self):
        return 1.0


@pytest.mark.parametrize(("flat_at_s", "reached"), [(10.0, True), (1e9, False)])
def test_warm_up_ends_when_clock_and_temperature_are_stable_or_at_its_limit(flat_at_s, reached):
    time_s = [0.0]

    def pause(seconds):
        time_s[0] += seconds

    def read():
        return ClockReading(1980, 2600, 30 + 2 * min(time_s[0], flat_at_s), 0)

    assert warm_up_until_stable(Hot(), read, lambda: time_s[0], pause, 60.0) is reached
    assert time_s[0] == pytest.approx(12.0 if reached else 60.0, abs=1.0)


def test_a_board_is_warmed_up_once_and_again_only_after_idle_time():
    target = devices.find("sim:h200?seed=1")
    backend = SimulatedBackend(parse(target.spec))
    measure_canaries(target, "start", backend)
    first_s = backend.now_s()
    measure_canaries(target, "middle", backend)
    second_s = backend.now_s() - first_s
    backend.pause(2.0)
    begin_s = backend.now_s()
    measure_canaries(target, "end", backend)
    assert second_s < 1.0 < backend.now_s() - begin_s <= first_s + 1.0


def test_the_clock_is_the_median_of_sms_with_both_stamps():
    before = [(1_000, 5_000), (1_000, 90_000), (0, 0)]
    after = [(2_000, 6_980), (2_000, 91_980), (2_000, 7)]
    assert clock_of(before, after) == pytest.approx(1980.0)
    assert clock_of([(0, 0)], [(0, 0)]) is None


def test_the_paper_protocol_measures_hot_only_and_is_flagged():
    settings = RunOptions(protocol="paper").settings(MeasureSettings())
    found, backend = measured("tick_ms=20&shift=0", LONG, settings, energy=True)
    assert {mode for _, mode in found} == {"unknown"}
    for record in found.values():
        assert record.status == "ok"
        assert "paper_protocol" in record.flags
        assert record.energy_mj > 0
        assert record.latency_ms == pytest.approx(statistics.median(record.samples_ms))


def test_energy_records_its_products_its_tick_and_both_sources():
    found, _ = measured("tick_ms=50", LONG, energy=True)
    fused = found["fused", "cold"]
    assert fused.energy_products > 100
    assert fused.energy_tick_ms == pytest.approx(50, rel=0.05)
    assert fused.second_power_w == pytest.approx(fused.power_w, rel=0.05)
    assert fused.energy_net_mj < fused.energy_mj


@pytest.mark.parametrize(
    ("options", "source", "reason"),
    [
        ("", "nvml_counter", None),
        ("without=counter", "nvml_field_83", None),
        ("without=counter,field_83", "nvml_power_instant", None),
        ("without=counter,field_83,field_186", "nvml_power_average", None),
        ("without=counter,field_83,field_186,power", None, "reports neither energy nor power"),
    ],
)
def test_energy_uses_the_best_available_source_or_is_refused_with_a_reason(options, source, reason):
    found, _ = measured(options, LONG, energy=True, names=("fused",))
    fused = found["fused", "cold"]
    assert fused.energy_source == source
    if reason:
        assert reason in fused.energy_reason
        assert fused.energy_mj is None
    else:
        true = truth("fused", LONG)
        assert fused.energy_mj == pytest.approx(true.power_w * true.time_ms, rel=0.02)


def test_a_reload_of_the_driver_costs_one_window_and_not_the_energy():
    _, backend = measured("", LONG, names=("fused",))
    at_s = backend.now_s() + 3.5
    found, _ = measured(f"reset_at_s={at_s}", LONG, energy=True, names=("fused",))
    true = truth("fused", LONG)
    assert found["fused", "cold"].energy_mj == pytest.approx(true.power_w * true.time_ms, rel=0.02)
