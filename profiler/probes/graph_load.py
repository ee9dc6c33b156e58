"""A GPU kept evenly busy: a graph of one product many times over, two replays always queued."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch

from kswatch.profiler.probes.cuda_graphs import MAX_LAUNCHES, capture
from kswatch.profiler.probes.energy import Load
from kswatch.profiler.probes.timing import Work

REPLAY_MS = 20.0
"""Long enough that a thread polling NVML keeps up with enqueuing."""
QUEUED = 2


class GraphLoad(Load):
    """Products of one cell replayed from a CUDA graph on the current stream.

    A product that cannot be captured (some sparse ones allocate or synchronise inside) is launched
    one by one instead.
    """

    keeps_busy_s = 2e-3

    def __init__(self, work: Work, estimate_ms: float, cuda: Any = torch.cuda) -> None:  # noqa: ANN401
        """Capture as many launches of about `estimate_ms` as last 20 ms."""
        self._work = work
        self._cuda = cuda
        self._launches = max(1, min(MAX_LAUNCHES, round(REPLAY_MS / estimate_ms)))
        self._graph = capture(cuda, work.launch, self._launches)
        self._pending: deque[Any] = deque()
        self._replays = -1
        """Since the first event, which is recorded behind the first replay."""
        self._first: Any = None
        self._last: Any = None

    def top_up(self) -> None:
        """See `Load`."""
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
        """See `Load`."""
        return max(0, self._replays * self._launches)

    def product_ms(self) -> float:
        """See `Load`: from the end of the first replay to the end of the last."""
        self._cuda.synchronize()
        return float(self._first.elapsed_time(self._last)) / self.products

    def _replay(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        for turn in range(self._launches):
            self._work.launch(turn)
