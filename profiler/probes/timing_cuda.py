"""Timing on a GPU: CUDA events around each launch, caches flushed, all queued behind a spin kernel.

A launch shorter than a hundred event ticks is still timed by itself and labelled `short_launch`;
CUDA graphs over rotated sets, for those, and SM cycles are not measured yet. Lines that somebody
made persist in L2 are not reset: nothing here makes any.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from profiler.probes.timing import Timer, Visit, Work

EVENT_TICK_MS = 0.5e-3
SHORT_TICKS = 100
MAX_QUEUED = 200
FLUSHED_CACHES = 2
SPIN_PER_LAUNCH_MS = 0.06
"""What enqueuing one flush, one product and its events takes the host, before it is known better."""
SPIN_MARGIN = 1.5
TRIES = 4
CALIBRATION_CYCLES = 2_000_000


def flush_by_torch(device: torch.device, cache_bytes: int) -> Callable[[], object]:
    """Write, then read, twice the last cache: writing alone leaves lines whose eviction the product pays."""
    lines = torch.zeros(FLUSHED_CACHES * cache_bytes // 4, device=device)

    def flush() -> object:
        return lines.zero_().sum()

    return flush


class CudaTimer(Timer):
    """Cold times of single launches on the current stream of the current GPU.

    The spin kernel is finite (one that waits for a flag deadlocks on lazy loading, on an allocator's
    miss, on a full queue), so it may end too early: samples count only if the event behind it is
    still unfinished after the last launch was enqueued. Otherwise the visit is repeated with a longer
    spin, and given up as `not_queued` after a few tries.
    """

    tick_ms = EVENT_TICK_MS

    def __init__(
        self,
        flush: Callable[[], object],
        cuda: Any = torch.cuda,  # noqa: ANN401  (the module, or a simulated one)
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Time on `cuda`, with `flush` before every launch; `clock` is the host's."""
        self._flush = flush
        self._cuda = cuda
        self._clock = clock
        self._cycles_per_ms = self._spin_rate()
        self._spin_ms: dict[str, float] = {}
        """Per launch, by the work's name: what its last visit took the host, and half as much again."""
        self._launch_ms: float | None = None
        self._launched = 0

    def visit(self, work: Work, launches: int) -> Visit:
        """See `Timer`; at most 200 launches, as many as surely fit into the queue."""
        launches = min(launches, MAX_QUEUED)
        for _ in range(TRIES):
            samples_ms, queued = self._queue(work, launches)
            if queued:
                break
        flags = [] if queued else ["not_queued"]
        if statistics.median(samples_ms) < SHORT_TICKS * self.tick_ms:
            flags.append("short_launch")
        return Visit(tuple(samples_ms), tuple(flags))

    def launch_ms(self) -> float:
        """An empty kernel between two events, measured once."""
        if self._launch_ms is None:
            empty = Work("empty", lambda _: self._cuda._sleep(1))
            self._launch_ms = statistics.median(self.visit(empty, 50).samples_ms)
        return self._launch_ms

    def _queue(self, work: Work, launches: int) -> tuple[list[float], bool]:
        """Samples, and whether all launches were in the queue before the first began."""
        events = [(self._event(), self._event()) for _ in range(launches)]
        gate = self._event()
        spin_ms = self._spin_ms.get(work.name, SPIN_PER_LAUNCH_MS)
        begin_s = self._clock()
        self._cuda._sleep(round(self._cycles_per_ms * spin_ms * launches))
        gate.record()
        for begin, end in events:
            self._launched += 1
            self._flush()
            begin.record()
            work.launch(self._launched)
            end.record()
        queued = not gate.query()
        host_ms = 1e3 * (self._clock() - begin_s) / launches
        self._spin_ms[work.name] = SPIN_MARGIN * (host_ms if queued else max(host_ms, spin_ms))
        self._cuda.synchronize()
        return [begin.elapsed_time(end) for begin, end in events], queued

    def _event(self) -> Any:  # noqa: ANN401  (torch.cuda.Event, or a simulated one)
        return self._cuda.Event(enable_timing=True)

    def _spin_rate(self) -> float:
        """Cycles per millisecond of the spin kernel; the second of two, the first loads it."""
        for _ in range(2):
            begin, end = self._event(), self._event()
            begin.record()
            self._cuda._sleep(CALIBRATION_CYCLES)
            end.record()
            self._cuda.synchronize()
        return CALIBRATION_CYCLES / max(begin.elapsed_time(end), self.tick_ms)
