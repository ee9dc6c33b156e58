"""The part of `torch.cuda` that timer, graphs and loads use, on a simulated board."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace

from kswatch.profiler.simulated.board import Board
from kswatch.profiler.simulated.cost_model import Truth

HOST_S = 4e-6
"""Host time of one call."""
EVENT_TICK_S = 0.5e-6
DEFAULT_STREAM = "default"


@dataclass(frozen=True)
class Launch:
    """One product on one input set."""

    name: str
    truth: Truth
    key: str
    """Key of the input set in the last cache."""
    size_bytes: int


class SimulatedCuda:
    """The part of `torch.cuda` that measuring uses, on one board."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._captured: list[Launch] | None = None
        self._stream = DEFAULT_STREAM
        self._pools = count(1)
        self._open_pools: set[int] = set()
        self.memory = SimpleNamespace(
            _cuda_endAllocateToPool=self._end_allocate_to_pool,
            _cuda_releasePool=lambda device, pool: None,
        )
        """The functions of `torch.cuda.memory` for failed captures."""
        self._flushes = 0

    def launch(self, launch: Launch) -> None:
        """Enqueue a product, or add it to the graph that is being captured.

        Raises:
            RuntimeError: the board is broken.
        """
        self._host()
        if self._captured is not None:
            self._captured.append(launch)
            return
        hot = self._board.touch(launch.key, launch.size_bytes)
        self._run(launch.name, launch.truth, hot)

    def _run(self, name: str, truth: Truth, hot: bool, launches: int = 1) -> None:
        board = self._board
        sample_ms = board.sample_ms(name, truth, board.done_s, hot, launches)
        board.run(sample_ms / 1e3, truth.power_w)

    def flush(self) -> None:
        """Write and read twice the last cache."""
        self._host()
        self._flushes += 1
        model = self._board.model
        self._board.touch(f"flush {self._flushes}", 2 * model.cache_bytes)
        self._board.run(4 * model.cache_bytes / model.bytes_per_s, 0.5 * model.limit_w)

    def Event(self, enable_timing: bool = False) -> SimulatedEvent:  # noqa: N802  (torch's name)
        """See torch."""
        del enable_timing
        return SimulatedEvent(self._board)

    def _sleep(self, cycles: int) -> None:
        self._host()
        board = self._board
        seconds = cycles / (1e6 * board.model.sm_clock_mhz) * board.slowdown(board.done_s)
        board.run(seconds, 2 * board.model.idle_w)

    def synchronize(self, device: object = None) -> None:
        """See torch."""
        del device
        self._host()
        self._board.synchronize()

    def CUDAGraph(self) -> SimulatedGraph:  # noqa: N802  (torch's name)
        """See torch."""
        return SimulatedGraph(self)

    def current_device(self) -> int:
        """See torch."""
        return 0

    def current_stream(self) -> str:
        """See torch."""
        return self._stream

    @contextmanager
    def stream(self, stream: str) -> Iterator[None]:
        """See torch."""
        before, self._stream = self._stream, stream
        try:
            yield
        finally:
            self._stream = before

    def graph_pool_handle(self) -> int:
        """See torch."""
        return next(self._pools)

    @contextmanager
    def graph(
        self, graph: SimulatedGraph, pool: int | None = None, capture_error_mode: str = "global"
    ) -> Iterator[None]:
        """See torch; a failed capture leaves its stream and its pool, as in torch.

        Raises:
            RuntimeError: an earlier capture left its pool, on which torch's `empty_cache` fails.
        """
        del capture_error_mode
        if self._open_pools:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED (simulated)")
        before, self._stream = self._stream, "capture"
        pool = self.graph_pool_handle() if pool is None else pool
        self._open_pools.add(pool)
        self._captured = []
        try:
            yield
            sizes = {launch.key: launch.size_bytes for launch in self._captured}
            graph.launches, graph.key, graph.size_bytes = self._captured, " ".join(sizes), sum(sizes.values())
            self._end_allocate_to_pool(0, pool)
            self._stream = before
        finally:
            self._captured = None

    def _end_allocate_to_pool(self, device: int, pool: int) -> None:
        del device
        if pool not in self._open_pools:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id (simulated)")
        self._open_pools.remove(pool)

    def replay(self, graph: SimulatedGraph) -> None:
        """Run all launches of a graph; their inputs are cached only where all sets fit into the cache."""
        self._host()
        if not graph.launches:
            return
        first = graph.launches[0]
        hot = self._board.touch(graph.key, graph.size_bytes)
        self._run(first.name, first.truth, hot, len(graph.launches))

    def _host(self) -> None:
        self._board.clock.advance(HOST_S)
        if self._board.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered (simulated)")


class SimulatedEvent:
    """An event of a simulated queue."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._at_s = 0.0

    def record(self) -> None:
        """See torch."""
        self._board.clock.advance(HOST_S)
        self._at_s = self._board.done_s

    def query(self) -> bool:
        """See torch."""
        return self._at_s <= self._board.clock.now_s

    def elapsed_time(self, end: SimulatedEvent) -> float:
        """See torch; in ms, rounded to the events' tick."""
        ticks = round(end._at_s / EVENT_TICK_S) - round(self._at_s / EVENT_TICK_S)
        return 1e3 * EVENT_TICK_S * ticks


class SimulatedGraph:
    """Captured launches."""

    def __init__(self, cuda: SimulatedCuda) -> None:
        self._cuda = cuda
        self.launches: list[Launch] = []
        self.key = ""
        """Key of all its input sets together in the last cache."""
        self.size_bytes = 0

    def replay(self) -> None:
        """See torch."""
        self._cuda.replay(self)
