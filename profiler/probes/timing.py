"""Timing of one visit: a few launches in a row, each with its own sample."""

from __future__ import annotations

import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kswatch.profiler.subjects.problems import AnyProblem

MAX_LAUNCHES = 200
"""Limit of one visit."""

clock_ns = time.perf_counter_ns
"""Bound here, so that an implementation that replaces `time.perf_counter_ns` changes no sample."""


@dataclass(frozen=True)
class Rotation:
    """One cell's product on many sets of operands in turn; no set is still cached when it is reused."""

    launch: Callable[[int], object]
    """`launch(i)` launches once on set i modulo `sets`."""
    sets: int
    complete: bool = True
    """Whether all sets together exceed four times the last cache."""


@dataclass(frozen=True)
class Launchable:
    """One cell's product, ready to be launched."""

    name: str
    """The implementation's name, or the canary's."""
    launch: Callable[[int], object]
    """`launch(i)` launches once on the i-th of the rotated input sets; any i >= 0."""
    problem: AnyProblem | None = None
    """None for a canary."""
    rotate: Callable[[], Rotation] | None = None
    """Creates the operand sets, on first use, for a launch that is too short to be timed alone."""
    before: Callable[[int], None] | None = None
    """Called before each timed launch, untimed, where launches are not queued."""
    after: Callable[[int], None] | None = None
    """The same as soon as it has returned."""


@dataclass(frozen=True)
class Visit:
    """The result of one visit: samples in order of time, and flags for their defects."""

    samples_ms: tuple[float, ...]
    flags: tuple[str, ...] = ()
    tick_ms: float | None = None
    """Resolution of these samples, where it is finer than the timer's: each is a mean over a graph."""
    launches_per_sample: int = 1
    sm_clock_mhz: float | None = None
    """Mean clock during the visit, where the device can stamp it."""

    @property
    def timed_ms(self) -> float:
        """Total time of all launches."""
        return self.launches_per_sample * sum(self.samples_ms)


class Timer(ABC):
    """Times the launches of one cell, cold."""

    tick_ms: float
    """The timer's resolution: the interval of a median is widened by half of it on both sides."""

    @abstractmethod
    def visit(self, launchable: Launchable, launches: int) -> Visit:
        """At most `launches` samples; the device is idle before and after."""

    @abstractmethod
    def hot(self, launchable: Launchable, launches: int) -> Visit:
        """The same with the operands left in the caches by the previous launch.

        Raises:
            UnsupportedError: the cell cannot be timed hot.
        """

    @abstractmethod
    def block_ms(self, launchable: Launchable, launches: int) -> float:
        """Total time of launches in a row, hot and without warm-up, as in the paper's protocol."""

    def forget(self) -> None:  # noqa: B027 (most keep nothing)
        """Release the state of a problem's cells."""

    def launch_ms(self) -> float:
        """Latency of an empty launch by this timer: a part of every floor."""
        return 0.0


class CpuTimer(Timer):
    """Wall time of each call by `perf_counter_ns`, garbage collection off.

    The first call of a visit with several launches is not a sample: threads of the previous cell are still
    spinning and the code is not in the instruction cache, so it would include costs of the previous cell.
    """

    tick_ms = time.get_clock_info("perf_counter").resolution * 1e3

    def __init__(self) -> None:
        self._launched = 0

    def visit(self, launchable: Launchable, launches: int) -> Visit:
        """See `Timer`; continues through the input sets where the previous visit stopped."""
        return self._visit(launchable, launches, 1)

    def hot(self, launchable: Launchable, launches: int) -> Visit:
        """See `Timer`: every launch on the same set."""
        return self._visit(launchable, max(launches, 2), 0)

    def block_ms(self, launchable: Launchable, launches: int) -> float:
        """See `Timer`."""
        begin_ns = clock_ns()
        for _ in range(launches):
            launchable.launch(0)
        return (clock_ns() - begin_ns) / 1e6

    def _visit(self, launchable: Launchable, launches: int, step: int) -> Visit:
        samples_ms = []
        launches = min(launches, MAX_LAUNCHES)
        with _no_garbage_collection():
            if launches > 1:
                self._sample_ms(launchable, step)
            for _ in range(launches):
                samples_ms.append(self._sample_ms(launchable, step))
        return Visit(tuple(samples_ms))

    def _sample_ms(self, launchable: Launchable, step: int) -> float:
        self._launched += step
        if launchable.before:
            launchable.before(self._launched)
        begin_ns = clock_ns()
        y = launchable.launch(self._launched)
        end_ns = clock_ns()
        if launchable.after:
            launchable.after(self._launched)
        del y  # after the second stamp: freeing memory is not part of the product
        return (end_ns - begin_ns) / 1e6


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
