"""A sustained load on a GPU: a graph of many launches of one product, always with two replays queued."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch

from kswatch.profiler.probes.cuda_graphs import MAX_LAUNCHES, capture
from kswatch.profiler.probes.energy import SustainedLoad
from kswatch.profiler.probes.timing import Launchable

REPLAY_MS = 20.0
"""Long enough that a thread which also polls NVML can keep the queue filled."""
QUEUED = 2


class GraphLoad(SustainedLoad):
    """Products of one cell replayed from a CUDA graph on the current stream.

    A product that cannot be captured (some sparse ones allocate or synchronise) is launched one by one.
    """

    keeps_busy_s = 2e-3

    def __init__(self, launchable: Launchable, estimate_ms: float, cuda: Any = torch.cuda) -> None:  # noqa: ANN401
        """Capture as many launches of about `estimate_ms` as last 20 ms."""
        self._launchable = launchable
        self._cuda = cuda
        self._launches = max(1, min(MAX_LAUNCHES, round(REPLAY_MS / estimate_ms)))
        self._graph = capture(cuda, launchable.launch, self._launches)
        self._pending: deque[Any] = deque()
        self._replays = -1
        """Replays since the first event, which is recorded behind the first replay."""
        self._first: Any = None
        self._last: Any = None

    def top_up(self) -> None:
        """See `SustainedLoad`."""
        while self._pending and self._pending[0].query():
            self._pending.popleft()
        while len(self._pending) < QUEUED:
            self._replay()
            done = self._cuda.Event(enable_timing=True)
            done.record()
            self._pending.append(done)
            self._first, self._last = self._first or done, done
            self._replays += 1

    @property
    def products(self) -> int:
        """See `SustainedLoad`."""
        return max(0, self._replays * self._launches)

    def product_ms(self) -> float:
        """See `SustainedLoad`: from the end of the first replay to the end of the last."""
        self._cuda.synchronize()
        return float(self._first.elapsed_time(self._last)) / self.products

    def _replay(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        for turn in range(self._launches):
            self._launchable.launch(turn)
