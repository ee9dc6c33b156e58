"""CUDA graphs of many launches, for launches that are too short or too many to be enqueued one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kswatch.profiler.probes.timing import Launchable

MAX_LAUNCHES = 2000
"""Limit of one graph: capturing takes microseconds for each launch."""


@dataclass(frozen=True)
class CapturedGraph:
    """Captured launches that are replayed by one call."""

    graph: Any
    launches: int
    flags: tuple[str, ...] = ()

    def replay(self) -> None:
        """Enqueue all launches."""
        self.graph.replay()


def capture(cuda: Any, launch: Callable[[int], object], launches: int) -> Any | None:  # noqa: ANN401
    """A graph of `launch(0)` to `launch(launches - 1)`; None where capturing fails.

    Some sparse products allocate or synchronise, which is not allowed during a capture. `cuda` is
    `torch.cuda`, or a simulated one.
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
    """Close the memory pool that a failed capture leaves open in torch's allocator.

    While the allocator counts a capture as under way, `empty_cache`, and with it every later capture,
    fails for the rest of the process.
    """
    # the capture may have ended normally, where only a launch failed; and an older torch has no such call
    with suppress(RuntimeError, AttributeError):
        device = cuda.current_device()
        cuda.memory._cuda_endAllocateToPool(device, pool)
        cuda.memory._cuda_releasePool(device, pool)
    cuda.synchronize()


def cold_graph(
    cuda: Any,  # noqa: ANN401
    launchable: Launchable,
    launch_ms: float,
    duration_ms: float,
) -> CapturedGraph | None:
    """Launches over rotated sets that last `duration_ms`; None without sets or where capturing fails."""
    if launchable.rotate is None:
        return None
    rotation = launchable.rotate()
    rounds = max(1, math.ceil(duration_ms / (launch_ms * rotation.sets)))
    launches = max(rotation.sets, min(rounds * rotation.sets, MAX_LAUNCHES))
    flags = ("graph",) if rotation.complete else ("graph", "partly_hot")
    graph = capture(cuda, rotation.launch, launches)
    return None if graph is None else CapturedGraph(graph, launches, flags)


def hot_graph(
    cuda: Any,  # noqa: ANN401
    launchable: Launchable,
    launch_ms: float,
    duration_ms: float,
) -> CapturedGraph | None:
    """Launches on one set that last about `duration_ms`; None where capturing fails."""
    launches = max(2, min(MAX_LAUNCHES, math.ceil(duration_ms / launch_ms)))
    graph = capture(cuda, lambda _: launchable.launch(0), launches)
    return None if graph is None else CapturedGraph(graph, launches, ("graph",))
