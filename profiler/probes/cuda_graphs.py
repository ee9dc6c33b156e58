"""A row of launches captured as a CUDA graph: what is too short, or too many, to be enqueued one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kswatch.profiler.probes.timing import Rotation, Work

MAX_LAUNCHES = 2000
"""Of one graph: capturing takes microseconds for each."""


@dataclass(frozen=True)
class Row:
    """A captured row, replayed by one call."""

    graph: Any
    launches: int
    flags: tuple[str, ...] = ()

    def replay(self) -> None:
        """Enqueue all its launches."""
        self.graph.replay()


def capture(cuda: Any, launch: Callable[[int], object], launches: int) -> Any | None:  # noqa: ANN401
    """A graph of `launch(0)` to `launch(launches - 1)`; None where it cannot be captured.

    Some sparse products allocate or synchronise inside, which a capture refuses.

    Args:
        cuda: `torch.cuda`, or a simulated one.
        launch: Launches once on the set of that number.
        launches: How many.
    """
    graph, pool = cuda.CUDAGraph(), cuda.graph_pool_handle()
    try:
        # torch's own context leaves its stream current where the capture fails
        with (
            cuda.stream(cuda.current_stream()),
            cuda.graph(graph, pool=pool, capture_error_mode="thread_local"),
        ):
            for turn in range(launches):
                launch(turn)
    except RuntimeError:
        _end_capture(cuda, pool)
        return None
    return graph


def _end_capture(cuda: Any, pool: Any) -> None:  # noqa: ANN401
    """Close what a failed capture leaves open: torch tells its allocator only of captures that succeed.

    While the allocator believes that one is under way, `empty_cache`, and with it every later
    capture, fails for the rest of the process.
    """
    # it may have ended well, where only a launch failed; and an older torch has no such call
    with suppress(RuntimeError, AttributeError):
        device = cuda.current_device()
        cuda.memory._cuda_endAllocateToPool(device, pool)
        cuda.memory._cuda_releasePool(device, pool)
    cuda.synchronize()


def cold_row(cuda: Any, work: Work, launch_ms: float, row_ms: float) -> Row | None:  # noqa: ANN401
    """A row over rotated sets that lasts about `row_ms`; None where there is no such thing."""
    if work.rotate is None:
        return None
    rotation = work.rotate()
    rounds = max(1, math.ceil(row_ms / (launch_ms * rotation.sets)))
    launches = max(rotation.sets, min(rounds * rotation.sets, MAX_LAUNCHES))
    graph = capture(cuda, rotation.launch, launches)
    return None if graph is None else Row(graph, launches, _labels(rotation))


def hot_row(cuda: Any, work: Work, launch_ms: float, row_ms: float) -> Row | None:  # noqa: ANN401
    """A row on one set that lasts about `row_ms`; None where it cannot be captured."""
    launches = max(2, min(MAX_LAUNCHES, math.ceil(row_ms / launch_ms)))
    graph = capture(cuda, lambda _: work.launch(0), launches)
    return None if graph is None else Row(graph, launches, ("graph",))


def _labels(rotation: Rotation) -> tuple[str, ...]:
    return ("graph",) if rotation.complete else ("graph", "partly_hot")
