"""Probes of clocks and memory, and the load of the energy pass, each against a simulated device."""

from contextlib import nullcontext
from types import SimpleNamespace

import pynvml
import pytest

from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.probes.clocks import ClockProbe, ClockReading, read_clocks
from kswatch.profiler.probes.graph_load import GraphLoad
from kswatch.profiler.probes.memory import MemoryProbe
from kswatch.profiler.probes.timing import Launchable

PROBLEM = Problem(Pattern(1, 8, 8, 1), 16, "fp32", "batch_first")


def test_clocks_are_medians_over_visits_and_the_temperature_is_the_highest():
    readings = iter(
        ClockReading(mhz, 2600, celsius, 0) for mhz, celsius in ((1980, 60), (1500, 75), (1900, 70))
    )
    probe = ClockProbe(lambda: next(readings), clock=iter(range(100)).__next__)
    for _ in range(3):
        probe.after_visit("fused")
    assert probe.results("fused") == {
        "sm_clock_mhz": 1900,
        "memory_clock_mhz": 2600,
        "temperature_c": 75,
        "event_reasons": None,
        "flags": (),
    }


def test_power_capping_and_heat_are_named_and_flagged():
    probe = ClockProbe(lambda: ClockReading(1200, 2600, 91, 0x4 | 0x20 | 0x1))
    probe.after_visit("fused")
    found = probe.results("fused")
    assert found["event_reasons"] == "sw_power_cap, sw_thermal_slowdown"
    assert found["flags"] == ("power_capped", "thermal_slowdown")


def test_short_visits_are_not_all_read():
    times = iter((0.0, 0.005, 0.01, 0.03))
    readings = []
    probe = ClockProbe(lambda: readings.append(1) or ClockReading(1, 1, 1, 0), clock=times.__next__)
    for _ in range(4):
        probe.after_visit("fused")
    assert len(readings) == 2


def test_a_new_problem_clears_the_readings():
    probe = ClockProbe(lambda: ClockReading(1980, 2600, 60, 0))
    probe.after_visit("fused")
    probe.start_problem(PROBLEM)
    assert probe.results("fused")["sm_clock_mhz"] is None


def test_unsupported_clocks_are_none_and_never_zero():
    def unsupported(*arguments):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    nvml = SimpleNamespace(
        nvmlDeviceGetClockInfo=unsupported,
        nvmlDeviceGetTemperature=lambda gpu, sensor: 44,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda gpu: 0x4,
    )
    assert read_clocks("gpu", nvml) == ClockReading(None, None, 44, 0x4)


class Heap:
    """torch.cuda with an allocator whose count is set by a test."""

    now = peak = 0

    def take(self, size):
        self.now += size
        self.peak = max(self.peak, self.now)

    def reset_peak_memory_stats(self):
        self.peak = self.now

    def max_memory_allocated(self):
        return self.peak

    def memory_allocated(self):
        return self.now


def test_peak_memory_covers_operands_prepared_weights_and_the_launch():
    heap = Heap()
    probe = MemoryProbe(heap)
    heap.take(10_000)  # the operands, and what else lies there
    probe.start_problem(PROBLEM)
    probe.before_prepare("dense")
    heap.take(300)
    probe.after_prepare("dense")
    probe.before_launch("dense")
    heap.take(90)
    heap.take(-90)
    probe.after_launch("dense")
    probe.before_visit("dense")
    heap.take(50_000)  # the timer's own: copies of the operands, a graph
    probe.after_visit("dense")
    assert probe.results("dense") == {"memory_peak_bytes": PROBLEM.input_bytes + 300 + 90}
    assert probe.results("never launched") == {}


class Stream:
    """torch.cuda with one queue; replays take 20 ms, launches half a millisecond."""

    def __init__(self, captures=True):
        self.captures = captures
        self.host_ms = self.gpu_ms = 0.0
        self.replays = self.launches = 0
        self.capturing = False

    def Event(self, enable_timing):  # noqa: N802
        return StreamEvent(self)

    def CUDAGraph(self):  # noqa: N802
        return SimpleNamespace(replay=self._replay)

    def graph(self, graph, pool, capture_error_mode):
        return self

    def stream(self, stream):
        return nullcontext()

    def current_stream(self):
        return None

    def graph_pool_handle(self):
        return 7

    def current_device(self):
        return 0

    @property
    def memory(self):
        return SimpleNamespace(
            _cuda_endAllocateToPool=lambda device, pool: None,
            _cuda_releasePool=lambda device, pool: None,
        )

    def __enter__(self):
        self.capturing = True

    def __exit__(self, *error):
        self.capturing = False
        if not self.captures:
            raise RuntimeError("operation not permitted when stream is capturing")

    def _replay(self):
        self.replays += 1
        self.gpu_ms = max(self.gpu_ms, self.host_ms) + 20.0

    def launch(self, turn):
        if not self.capturing:
            self.launches += 1
            self.gpu_ms = max(self.gpu_ms, self.host_ms) + 0.5

    def synchronize(self):
        self.host_ms = max(self.host_ms, self.gpu_ms)


class StreamEvent:
    def __init__(self, stream):
        self.stream = stream

    def record(self):
        self.at_ms = self.stream.gpu_ms

    def query(self):
        return self.at_ms <= self.stream.host_ms

    def elapsed_time(self, end):
        return end.at_ms - self.at_ms


def watched(stream):
    load = GraphLoad(Launchable("fused", stream.launch), 0.5, stream)
    for _ in range(3_000):
        load.top_up()
        assert stream.gpu_ms - stream.host_ms > 15.0  # the device never runs dry
        stream.host_ms += 0.1
    return load


def test_two_replays_are_always_queued_and_the_latency_is_that_of_the_loop():
    stream = Stream()
    assert watched(stream).product_ms() == pytest.approx(20.0 / 40)
    assert stream.replays == pytest.approx(300 / 20 + 2, abs=1)
    assert stream.launches == 0


def test_a_product_that_cannot_be_captured_is_launched_one_by_one():
    stream = Stream(captures=False)
    assert watched(stream).product_ms() == pytest.approx(0.5)
    assert stream.replays == 0
