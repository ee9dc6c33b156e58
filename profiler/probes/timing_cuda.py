"""Timing on a GPU: CUDA events around each launch, flushed caches, all queued behind a spin kernel.

A launch shorter than a hundred event ticks is timed as a CUDA graph over rotated sets of operands, which is
cold too, with the flag `graph`; where capturing fails it is timed alone, with the flag `short_launch`.
"""

from __future__ import annotations

import ctypes
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from kswatch.errors import UnsupportedError
from kswatch.profiler.probes.cuda_graphs import CapturedGraph, cold_graph, hot_graph
from kswatch.profiler.probes.timing import Launchable, Timer, Visit

EVENT_TICK_MS = 0.5e-3
SHORT_TICKS = 100
COLD_GRAPH_MS = 0.5
"""A thousand ticks, for a resolution of 0.1 % per sample."""
HOT_GRAPH_MS = 2.0
MAX_QUEUED = 200
FLUSHED_CACHES = 2
SPIN_PER_LAUNCH_MS = 0.06
"""Initial estimate of the host time to enqueue one flush, one product and its events."""
SPIN_MARGIN = 1.5
ATTEMPTS = 4
CALIBRATION_CYCLES = 2_000_000
CALIBRATIONS, MAX_CALIBRATIONS = 10, 60
STABLE_RATIO = 1.01


def flush_by_torch(device: torch.device, cache_bytes: int) -> Callable[[], object]:
    """A function that writes and reads twice the last cache.

    Writing alone would leave dirty lines whose eviction slows the product down.
    """
    lines = torch.zeros(FLUSHED_CACHES * cache_bytes // 4, device=device)

    def flush() -> object:
        return lines.zero_().sum()

    return flush


def reset_persisting_by_driver() -> Callable[[], object]:
    """A function that resets persisting lines of L2, if the driver has such a call."""
    try:
        reset = ctypes.CDLL("libcuda.so.1").cuCtxResetPersistingL2Cache
    except (OSError, AttributeError):
        return lambda: None
    return reset


class ClockStamps(Protocol):
    """Stamps of the device's own time and cycles, before and after a visit."""

    def enqueue(self, index: int) -> None:
        """Enqueue the stamp before (0) or after (1) the launches."""

    def sm_clock_mhz(self) -> float | None:
        """Cycles over time between both stamps, once all work is done; None without usable stamps."""


@dataclass(frozen=True)
class LaunchQueue:
    """The launches that are queued behind the spin kernel."""

    name: str
    enqueue: Callable[[], object]
    count: int
    flush: Callable[[], object] | None = None


class CudaTimer(Timer):
    """Times on the current stream of the current GPU.

    The spin kernel is finite (one that waits for a flag deadlocks on lazy loading, on a miss of the
    allocator, on a full queue), so it may end too early: samples count only if the event behind it is still
    unfinished after the last launch was enqueued. Otherwise the visit is repeated with a longer spin, then
    with fewer launches; after a few attempts its samples get the flag `not_queued`.
    """

    tick_ms = EVENT_TICK_MS

    def __init__(
        self,
        flush: Callable[[], object],
        cuda: Any = torch.cuda,  # noqa: ANN401  (the module, or a simulated one)
        clock: Callable[[], float] = time.perf_counter,
        reset_persisting: Callable[[], object] = lambda: None,
        stamps: ClockStamps | None = None,
    ) -> None:
        """Time on `cuda`, with `flush` before every single launch; `clock` is the host's."""
        self._flush = flush
        self._cuda = cuda
        self._clock = clock
        self._reset_persisting = reset_persisting
        self._stamps = stamps
        self._cycles_per_ms = self._spin_rate()
        self._spin_ms: dict[str, float] = {}
        """Per launch, by the queue's name: 1.5 times the host time of its last visit."""
        self._fits: dict[str, int] = {}
        """By the queue's name: the number of launches that fit, after a visit that was too long."""
        self._launch_ms: float | None = None
        self._launched = 0
        self._singles_ms: dict[str, list[float]] = {}
        """By the launchable's name: medians of its visits of single launches."""
        self._cold_graphs: dict[str, CapturedGraph | None] = {}
        self._hot_graphs: dict[str, CapturedGraph | None] = {}

    def visit(self, launchable: Launchable, launches: int) -> Visit:
        """See `Timer`; at most 200 launches or replays, which surely fit into the queue."""
        if graph := self._cold_graph(launchable):
            return self._replays(f"{launchable.name} graph", graph, launches)
        count = min(launches, MAX_QUEUED)
        visit = self._visit_queued(
            LaunchQueue(launchable.name, lambda: self._launch(launchable), count, self._flush)
        )
        self._singles_ms.setdefault(launchable.name, []).append(statistics.median(visit.samples_ms))
        return replace(visit, flags=(*visit.flags, "short_launch")) if self._is_short(launchable) else visit

    def hot(self, launchable: Launchable, launches: int) -> Visit:
        """See `Timer`; replays of a graph on one set, without the first one of each visit."""
        if launchable.name not in self._hot_graphs:
            if launchable.name not in self._singles_ms:
                self.visit(launchable, 1)
            self._hot_graphs[launchable.name] = hot_graph(
                self._cuda, launchable, self._single_ms(launchable), HOT_GRAPH_MS
            )
        graph = self._hot_graphs[launchable.name]
        if graph is None:
            raise UnsupportedError("it cannot be captured as a CUDA graph, so it has no hot latency")
        visit = self._replays(f"{launchable.name} hot", graph, graph.launches + max(launches, graph.launches))
        return replace(visit, samples_ms=visit.samples_ms[1:])

    def block_ms(self, launchable: Launchable, launches: int) -> float:
        """See `Timer`: by the host's clock, as in torch's benchmark."""
        self._cuda.synchronize()
        begin_s = self._clock()
        for _ in range(launches):
            launchable.launch(0)
        self._cuda.synchronize()
        return 1e3 * (self._clock() - begin_s)

    def cold_launchable(self, launchable: Launchable) -> Launchable:
        """The launchable as timed cold: over rotated operands where it is timed as a graph."""
        if self._cold_graphs.get(launchable.name) is None or launchable.rotate is None:
            return launchable
        return replace(launchable, launch=launchable.rotate().launch)

    def forget(self) -> None:
        """See `Timer`; graphs hold operands, outputs and memory pools."""
        self._cold_graphs.clear()
        self._hot_graphs.clear()
        self._singles_ms.clear()

    def launch_ms(self) -> float:
        """An empty kernel between two events, measured once."""
        if self._launch_ms is None:
            visit = self._visit_queued(LaunchQueue("empty", lambda: self._cuda._sleep(1), 50, self._flush))
            self._launch_ms = statistics.median(visit.samples_ms)
        return self._launch_ms

    def _launch(self, launchable: Launchable) -> None:
        self._launched += 1
        launchable.launch(self._launched)

    def _single_ms(self, launchable: Launchable) -> float:
        """Median of the second visit of single launches, since the first call may have loaded code."""
        return max(self._singles_ms.get(launchable.name, [math.inf])[:2][-1], self.tick_ms)

    def _is_short(self, launchable: Launchable) -> bool:
        return self._single_ms(launchable) < SHORT_TICKS * self.tick_ms

    def _cold_graph(self, launchable: Launchable) -> CapturedGraph | None:
        """The cell's graph, captured once it is known to be short and replayed once to upload it."""
        if (
            launchable.name not in self._cold_graphs
            and launchable.rotate is not None
            and self._is_short(launchable)
        ):
            graph = cold_graph(self._cuda, launchable, self._single_ms(launchable), COLD_GRAPH_MS)
            if graph is not None:
                graph.replay()
                self._cuda.synchronize()
            self._cold_graphs[launchable.name] = graph
        return self._cold_graphs.get(launchable.name)

    def _replays(self, name: str, graph: CapturedGraph, launches: int) -> Visit:
        replays = min(MAX_QUEUED, max(1, round(launches / graph.launches)))
        visit = self._visit_queued(LaunchQueue(name, graph.replay, replays))
        return replace(
            visit,
            samples_ms=tuple(sample_ms / graph.launches for sample_ms in visit.samples_ms),
            flags=(*visit.flags, *graph.flags),
            tick_ms=self.tick_ms / graph.launches,
            launches_per_sample=graph.launches,
        )

    def _visit_queued(self, queue: LaunchQueue) -> Visit:
        self._reset_persisting()
        count = min(queue.count, self._fits.get(queue.name, queue.count))
        for attempt in range(ATTEMPTS):
            samples_ms, queued = self._enqueue(replace(queue, count=count))
            if queued:
                break
            if attempt:  # a longer spin did not help: the driver's queue is full and blocks the host
                count = self._fits[queue.name] = max(1, count // 2)
        clock_mhz = self._stamps.sm_clock_mhz() if self._stamps else None
        return Visit(tuple(samples_ms), () if queued else ("not_queued",), sm_clock_mhz=clock_mhz)

    def _enqueue(self, queue: LaunchQueue) -> tuple[list[float], bool]:
        """Samples, and whether all launches were queued before the first one started."""
        events = [(self._event(), self._event()) for _ in range(queue.count)]
        gate = self._event()
        spin_ms = self._spin_ms.get(queue.name, SPIN_PER_LAUNCH_MS)
        begin_s = self._clock()
        self._cuda._sleep(round(self._cycles_per_ms * spin_ms * queue.count))
        gate.record()
        self._stamp(0)
        for begin, end in events:
            if queue.flush:
                queue.flush()
            begin.record()
            queue.enqueue()
            end.record()
        self._stamp(1)
        queued = not gate.query()
        host_ms = 1e3 * (self._clock() - begin_s) / queue.count
        self._spin_ms[queue.name] = SPIN_MARGIN * (host_ms if queued else max(host_ms, spin_ms))
        self._cuda.synchronize()
        return [begin.elapsed_time(end) for begin, end in events], queued

    def _stamp(self, index: int) -> None:
        if self._stamps:
            self._stamps.enqueue(index)

    def _event(self) -> Any:  # noqa: ANN401  (torch.cuda.Event, or a simulated one)
        return self._cuda.Event(enable_timing=True)

    def _spin_rate(self) -> float:
        """Cycles per millisecond of the spin kernel; the first run loads it, later ones raise the clock."""
        self._spin_once()
        rates = [self._spin_once() for _ in range(CALIBRATIONS)]
        while len(rates) < MAX_CALIBRATIONS and rates[-1] > STABLE_RATIO * rates[-2]:
            rates.append(self._spin_once())
        return max(rates)

    def _spin_once(self) -> float:
        begin, end = self._event(), self._event()
        begin.record()
        self._cuda._sleep(CALIBRATION_CYCLES)
        end.record()
        self._cuda.synchronize()
        return CALIBRATION_CYCLES / max(begin.elapsed_time(end), self.tick_ms)
