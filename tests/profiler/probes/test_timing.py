"""Timers: the real one of the CPU, and the GPU's on a simulated CUDA with a queue."""

import gc
import time
from collections import deque

import pytest

from kswatch.profiler.probes.cuda_graphs import capture
from kswatch.profiler.probes.timing import CpuTimer, Launchable
from kswatch.profiler.probes.timing_cuda import SPIN_PER_LAUNCH_MS, CudaTimer
from kswatch.profiler.simulated.board import Board
from kswatch.profiler.simulated.cuda import SimulatedCuda


def test_a_cpu_sample_is_the_wall_time_of_one_call():
    visit = CpuTimer().visit(Launchable("sleep", lambda turn: time.sleep(0.002)), 3)
    assert len(visit.samples_ms) == 3
    assert all(2.0 <= sample_ms < 100.0 for sample_ms in visit.samples_ms)


def test_a_visit_of_several_launches_has_a_lead_in_and_continues_through_the_input_sets():
    turns: list[int] = []
    timer = CpuTimer()
    timer.visit(Launchable("bmm", turns.append), 3)
    timer.visit(Launchable("bmm", turns.append), 1)
    assert turns == [1, 2, 3, 4, 5]


def test_garbage_collection_is_off_in_a_visit_and_back_on_after_it():
    seen: list[bool] = []
    CpuTimer().visit(Launchable("bmm", lambda turn: seen.append(gc.isenabled())), 2)
    assert not any(seen)
    assert gc.isenabled()


class Device:
    """Host and GPU clocks in ms: enqueued work starts when host and queue permit it."""

    CYCLES_PER_MS = 1.5e6

    def __init__(self, enqueue_ms=0.005, holds=10**9, cold_spins=0):
        self.enqueue_ms = enqueue_ms
        self.holds = holds
        self.cold_spins = cold_spins
        self.pending = deque()
        self.host_ms = 0.0
        self.gpu_ms = 0.0
        self.last_sleep_ms = 0.0
        self.launches = 0

    def enqueue(self, duration_ms):
        self.host_ms += self.enqueue_ms
        while len(self.pending) >= self.holds:
            self.host_ms = max(self.host_ms, self.pending.popleft())
        self.gpu_ms = max(self.gpu_ms, self.host_ms) + duration_ms
        self.pending.append(self.gpu_ms)
        self.launches += 1

    def clock(self):
        return self.host_ms / 1e3


class Event:
    def __init__(self, device):
        self.device = device

    def record(self):
        self.device.enqueue(0.0)
        self.at_ms = self.device.gpu_ms

    def query(self):
        return self.at_ms <= self.device.host_ms

    def elapsed_time(self, end):
        return end.at_ms - self.at_ms


class Cuda:
    """The part of torch.cuda that the timer uses."""

    def __init__(self, device):
        self.device = device

    def Event(self, enable_timing):  # noqa: N802
        return Event(self.device)

    def _sleep(self, cycles):
        self.device.cold_spins -= 1
        slower = 4 if self.device.cold_spins >= 0 else 1
        self.device.last_sleep_ms = slower * cycles / Device.CYCLES_PER_MS
        self.device.enqueue(self.device.last_sleep_ms)

    def synchronize(self):
        self.device.host_ms = max(self.device.host_ms, self.device.gpu_ms)
        self.device.pending.clear()


def timer_on(device, flush_ms=0.02):
    return CudaTimer(lambda: device.enqueue(flush_ms), Cuda(device), device.clock)


def test_samples_contain_the_product_without_flush_and_spin():
    device = Device()
    visit = timer_on(device).visit(Launchable("bmm", lambda turn: device.enqueue(0.25)), 10)
    assert visit.samples_ms == pytest.approx([0.25] * 10)
    assert visit.flags == ()


def test_slowly_enqueued_launches_are_timed_again_with_a_longer_spin():
    device = Device(enqueue_ms=0.05)
    turns: list[int] = []

    def launch(turn):
        turns.append(turn)
        for _ in range(4):
            device.enqueue(0.1)

    timer = timer_on(device)
    visit = timer.visit(Launchable("einsum", launch), 10)
    assert visit.samples_ms == pytest.approx([0.4] * 10)
    assert visit.flags == ()
    assert len(turns) == 20
    timer.visit(Launchable("einsum", launch), 10)
    assert len(turns) == 30


def test_a_host_that_is_always_too_slow_is_flagged():
    device = Device()

    def launch(turn):
        device.enqueue(0.1)
        device.host_ms = device.gpu_ms + 1.0  # the product itself waits for the GPU

    visit = timer_on(device).visit(Launchable("csr", launch), 5)
    assert "not_queued" in visit.flags


def test_a_product_of_many_kernels_gives_fewer_samples_when_the_drivers_queue_is_full():
    device = Device(holds=1_024)

    def launch(turn):
        for _ in range(12):
            device.enqueue(0.02)

    timer = timer_on(device)
    first = timer.visit(Launchable("csr", launch), 150)
    assert first.flags == ()
    assert first.samples_ms == pytest.approx([0.24] * 37)
    before = device.launches
    assert len(timer.visit(Launchable("csr", launch), 150).samples_ms) == 37
    assert device.launches - before < 40 * 15, "what fits is remembered"


def test_the_spin_is_calibrated_once_the_clock_has_risen():
    device = Device(cold_spins=6)
    visit = timer_on(device).visit(Launchable("bmm", lambda turn: device.enqueue(0.25)), 10)
    assert visit.flags == ()
    assert device.last_sleep_ms == pytest.approx(10 * SPIN_PER_LAUNCH_MS, rel=0.01), (
        "tried once, and long enough"
    )


def test_no_more_than_two_hundred_launches_are_queued():
    device = Device()
    assert (
        len(timer_on(device).visit(Launchable("bmm", lambda turn: device.enqueue(0.2)), 5_000).samples_ms)
        == 200
    )


def test_a_launch_of_a_few_ticks_is_flagged():
    device = Device()
    visit = timer_on(device).visit(Launchable("fused", lambda turn: device.enqueue(0.004)), 10)
    assert visit.flags == ("short_launch",)


def test_the_time_of_an_empty_launch_is_measured_once():
    device = Device()
    timer = timer_on(device)
    assert timer.launch_ms() == pytest.approx(1 / Device.CYCLES_PER_MS, abs=1e-6)
    launches = device.launches
    timer.launch_ms()
    assert device.launches == launches


def test_a_failed_capture_leaves_neither_its_stream_nor_its_pool_open():
    cuda = SimulatedCuda(Board())

    def synchronises(turn):
        raise RuntimeError("operation not permitted when stream is capturing")

    assert capture(cuda, synchronises, 3) is None
    assert cuda.current_stream() == "default"
    assert capture(cuda, lambda turn: None, 3) is not None, "the next one is not refused"
    assert cuda.current_stream() == "default"
