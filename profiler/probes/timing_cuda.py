"""Timing on a GPU: CUDA events around each launch, caches flushed, all queued behind a spin kernel.

A launch shorter than a hundred event ticks is timed as a CUDA graph over rotated sets of operands, which
is cold too, and labelled `graph`; where it cannot be captured it is timed by itself, as `short_launch`.
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
from kswatch.profiler.probes.cuda_graphs import Row, cold_row, hot_row
from kswatch.profiler.probes.timing import Timer, Visit, Work

EVENT_TICK_MS = 0.5e-3
SHORT_TICKS = 100
COLD_ROW_MS = 0.5
"""A thousand ticks: the resolution of a sample is then a tenth of a percent."""
HOT_ROW_MS = 2.0
MAX_QUEUED = 200
FLUSHED_CACHES = 2
SPIN_PER_LAUNCH_MS = 0.06
"""What enqueuing one flush, one product and its events takes the host, before it is known better."""
SPIN_MARGIN = 1.5
TRIES = 4
CALIBRATION_CYCLES = 2_000_000
CALIBRATIONS, MOST_CALIBRATIONS = 10, 60
STEADY = 1.01


def flush_by_torch(device: torch.device, cache_bytes: int) -> Callable[[], object]:
    """Write, then read, twice the last cache: writing alone leaves lines whose eviction the product pays."""
    lines = torch.zeros(FLUSHED_CACHES * cache_bytes // 4, device=device)

    def flush() -> object:
        return lines.zero_().sum()

    return flush


def reset_persisting_by_driver() -> Callable[[], object]:
    """Lets lines go that somebody made persist in L2; does nothing where the driver has no such call."""
    try:
        reset = ctypes.CDLL("libcuda.so.1").cuCtxResetPersistingL2Cache
    except (OSError, AttributeError):
        return lambda: None
    return reset


class ClockStamps(Protocol):
    """Stamps that the device itself takes of its time and its cycles, before and after a visit."""

    def enqueue(self, which: int) -> None:
        """Take the stamp before (0) or after (1) the launches."""

    def sm_clock_mhz(self) -> float | None:
        """Cycles over time between both, once all work is done; None where they tell nothing."""


@dataclass(frozen=True)
class Queue:
    """What is put behind the spin kernel, so many times."""

    name: str
    enqueue: Callable[[], object]
    count: int
    flush: Callable[[], object] | None = None


class CudaTimer(Timer):
    """Times on the current stream of the current GPU.

    The spin kernel is finite (one that waits for a flag deadlocks on lazy loading, on an allocator's
    miss, on a full queue), so it may end too early: samples count only if the event behind it is
    still unfinished after the last launch was enqueued. Otherwise the visit is repeated with a longer
    spin, then with fewer launches, and given up as `not_queued` after a few tries.
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
        """Per launch, by the queue's name: what its last visit took the host, and half as much again."""
        self._fits: dict[str, int] = {}
        """By the queue's name: as many as were seen to fit, where its last visit was too long."""
        self._launch_ms: float | None = None
        self._launched = 0
        self._singles_ms: dict[str, list[float]] = {}
        """By the work's name: medians of its visits of single launches."""
        self._cold_rows: dict[str, Row | None] = {}
        self._hot_rows: dict[str, Row | None] = {}

    def visit(self, work: Work, launches: int) -> Visit:
        """See `Timer`; at most 200 launches or replays, as many as surely fit into the queue."""
        row = self._cold_row(work)
        if row is not None:
            return self._replays(f"{work.name} graph", row, launches)
        count = min(launches, MAX_QUEUED)
        visit = self._tried(Queue(work.name, lambda: self._launch(work), count, self._flush))
        self._singles_ms.setdefault(work.name, []).append(statistics.median(visit.samples_ms))
        return replace(visit, flags=(*visit.flags, "short_launch")) if self._is_short(work) else visit

    def hot(self, work: Work, launches: int) -> Visit:
        """See `Timer`; replays of a graph on one set, the first of each visit dropped."""
        if work.name not in self._hot_rows:
            if work.name not in self._singles_ms:
                self.visit(work, 1)
            self._hot_rows[work.name] = hot_row(self._cuda, work, self._single_ms(work), HOT_ROW_MS)
        row = self._hot_rows[work.name]
        if row is None:
            raise UnsupportedError("it cannot be captured as a CUDA graph, so there is no hot time")
        visit = self._replays(f"{work.name} hot", row, row.launches + max(launches, row.launches))
        return replace(visit, samples_ms=visit.samples_ms[1:])

    def block_ms(self, work: Work, launches: int) -> float:
        """See `Timer`: by the host's clock, as torch's benchmark does."""
        self._cuda.synchronize()
        begin_s = self._clock()
        for _ in range(launches):
            work.launch(0)
        self._cuda.synchronize()
        return 1e3 * (self._clock() - begin_s)

    def cold_work(self, work: Work) -> Work:
        """The work as its cold time is taken: over rotated operands where it is timed as a graph."""
        if self._cold_rows.get(work.name) is None or work.rotate is None:
            return work
        return replace(work, launch=work.rotate().launch)

    def forget(self) -> None:
        """See `Timer`: graphs hold operands, outputs and memory pools."""
        self._cold_rows.clear()
        self._hot_rows.clear()
        self._singles_ms.clear()

    def launch_ms(self) -> float:
        """An empty kernel between two events, measured once."""
        if self._launch_ms is None:
            visit = self._tried(Queue("empty", lambda: self._cuda._sleep(1), 50, self._flush))
            self._launch_ms = statistics.median(visit.samples_ms)
        return self._launch_ms

    def _launch(self, work: Work) -> None:
        self._launched += 1
        work.launch(self._launched)

    def _single_ms(self, work: Work) -> float:
        """The second visit's: the first call of all may have loaded code; later ones change nothing."""
        return max(self._singles_ms.get(work.name, [math.inf])[:2][-1], self.tick_ms)

    def _is_short(self, work: Work) -> bool:
        return self._single_ms(work) < SHORT_TICKS * self.tick_ms

    def _cold_row(self, work: Work) -> Row | None:
        """The cell's graph, captured once it is known to be short; its first replay, dropped, uploads it."""
        if work.name not in self._cold_rows and work.rotate is not None and self._is_short(work):
            row = cold_row(self._cuda, work, self._single_ms(work), COLD_ROW_MS)
            if row is not None:
                row.replay()
                self._cuda.synchronize()
            self._cold_rows[work.name] = row
        return self._cold_rows.get(work.name)

    def _replays(self, name: str, row: Row, launches: int) -> Visit:
        replays = min(MAX_QUEUED, max(1, round(launches / row.launches)))
        visit = self._tried(Queue(name, row.replay, replays))
        return replace(
            visit,
            samples_ms=tuple(sample_ms / row.launches for sample_ms in visit.samples_ms),
            flags=(*visit.flags, *row.flags),
            tick_ms=self.tick_ms / row.launches,
            launches_per_sample=row.launches,
        )

    def _tried(self, queue: Queue) -> Visit:
        self._reset_persisting()
        count = min(queue.count, self._fits.get(queue.name, queue.count))
        for trial in range(TRIES):
            samples_ms, queued = self._queue(replace(queue, count=count))
            if queued:
                break
            if trial:  # a longer spin did not help: the driver's queue is full, and the host waits for it
                count = self._fits[queue.name] = max(1, count // 2)
        clock_mhz = self._stamps.sm_clock_mhz() if self._stamps else None
        return Visit(tuple(samples_ms), () if queued else ("not_queued",), sm_clock_mhz=clock_mhz)

    def _queue(self, queue: Queue) -> tuple[list[float], bool]:
        """Samples, and whether all launches were in the queue before the first began."""
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

    def _stamp(self, which: int) -> None:
        if self._stamps:
            self._stamps.enqueue(which)

    def _event(self) -> Any:  # noqa: ANN401  (torch.cuda.Event, or a simulated one)
        return self._cuda.Event(enable_timing=True)

    def _spin_rate(self) -> float:
        """Cycles per millisecond of the spin kernel; the first one loads it, those after raise the clock."""
        self._spin_once()
        rates = [self._spin_once() for _ in range(CALIBRATIONS)]
        while len(rates) < MOST_CALIBRATIONS and rates[-1] > STEADY * rates[-2]:
            rates.append(self._spin_once())
        return max(rates)

    def _spin_once(self) -> float:
        begin, end = self._event(), self._event()
        begin.record()
        self._cuda._sleep(CALIBRATION_CYCLES)
        end.record()
        self._cuda.synchronize()
        return CALIBRATION_CYCLES / max(begin.elapsed_time(end), self.tick_ms)
