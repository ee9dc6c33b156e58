"""Timing one visit: a few launches in a row, each with a sample of its own."""

from __future__ import annotations

import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kswatch.kernels.problem import Problem

MAX_LAUNCHES = 200
"""Of one visit."""


@dataclass(frozen=True)
class Rotation:
    """One cell's product on many sets of operands in turn: no cache still holds one when its turn comes."""

    launch: Callable[[int], object]
    """`launch(i)` launches once on set i modulo `sets`."""
    sets: int
    complete: bool = True
    """Whether all sets together exceed four times the last cache."""


@dataclass(frozen=True)
class Work:
    """One cell's product, ready to be launched; a simulated timer looks its truth up by the names."""

    name: str
    """The implementation's name, or the canary's."""
    launch: Callable[[int], object]
    """`launch(i)` launches once on the i-th of the rotated input sets; any i >= 0."""
    problem: Problem | None = None
    """None for a canary."""
    rotate: Callable[[], Rotation] | None = None
    """Makes the sets, on first use, for a launch that is too short to be timed alone."""


@dataclass(frozen=True)
class Visit:
    """What one visit gave: samples in order of time, and labels for what was wrong with them."""

    samples_ms: tuple[float, ...]
    flags: tuple[str, ...] = ()
    tick_ms: float | None = None
    """Resolution of these samples, where it is finer than the timer's: each is a mean over a graph."""
    launches_per_sample: int = 1
    sm_clock_mhz: float | None = None
    """Mean clock while the visit lasted, where stamps of the device itself tell it."""

    @property
    def timed_ms(self) -> float:
        """What all launches took together."""
        return self.launches_per_sample * sum(self.samples_ms)


class Timer(ABC):
    """Times the launches of one cell, cold."""

    tick_ms: float
    """The timer's resolution: the interval of a median is widened by half of it on both sides."""

    @abstractmethod
    def visit(self, work: Work, launches: int) -> Visit:
        """At most `launches` samples; the device is idle before and after."""

    @abstractmethod
    def hot(self, work: Work, launches: int) -> Visit:
        """The same with operands that the launch before has left in the caches.

        Raises:
            UnsupportedError: it cannot be timed so.
        """

    @abstractmethod
    def block_ms(self, work: Work, launches: int) -> float:
        """What so many launches in a row take together, hot and unprepared, as the paper's authors timed."""

    def forget(self) -> None:  # noqa: B027 (most keep nothing)
        """Give back what was kept for the cells of a problem."""

    def launch_ms(self) -> float:
        """What launching nothing takes by this timer: part of every floor."""
        return 0.0


class CpuTimer(Timer):
    """Wall time of each call by `perf_counter_ns`, garbage collection off.

    The first call of a visit of several is not a sample: it finds the rival's threads still spinning
    and its own code out of the instruction cache, and would be charged for whoever ran before.
    """

    tick_ms = time.get_clock_info("perf_counter").resolution * 1e3

    def __init__(self) -> None:
        self._launched = 0

    def visit(self, work: Work, launches: int) -> Visit:
        """See `Timer`; goes on through the input sets where the last visit stopped."""
        return self._visit(work, launches, 1)

    def hot(self, work: Work, launches: int) -> Visit:
        """See `Timer`: every launch on the same set."""
        return self._visit(work, max(launches, 2), 0)

    def block_ms(self, work: Work, launches: int) -> float:
        """See `Timer`."""
        begin_ns = time.perf_counter_ns()
        for _ in range(launches):
            work.launch(0)
        return (time.perf_counter_ns() - begin_ns) / 1e6

    def _visit(self, work: Work, launches: int, step: int) -> Visit:
        samples_ms = []
        launches = min(launches, MAX_LAUNCHES)
        with _no_garbage_collection():
            if launches > 1:
                self._sample_ms(work, step)
            for _ in range(launches):
                samples_ms.append(self._sample_ms(work, step))
        return Visit(tuple(samples_ms))

    def _sample_ms(self, work: Work, step: int) -> float:
        self._launched += step
        begin_ns = time.perf_counter_ns()
        y = work.launch(self._launched)
        end_ns = time.perf_counter_ns()
        del y  # after the second stamp: giving memory back is not the product's work
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
