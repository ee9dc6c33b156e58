"""Energy per product, from windows aligned to the updates of the energy counter.

A board's energy counter updates only every 10 to 100 ms. An arbitrary window has an error of up to one
such tick; a window that starts and ends at an update, with the load running on both sides, has none.
Energy per product is the power over such a window times the latency per product in the same loop.
"""

from __future__ import annotations

import random
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kswatch.errors import MeasurementError
from kswatch.profiler.settings import MeasureSettings

STILL_S = 2.0
"""A counter that does not change for this long under load is broken."""
TICKS_SAMPLED = 6
SOURCES_DIFFER = 0.05
IDLE_VALID_S = 1200.0
STEADY_WINDOWS, UNSTEADY_WINDOWS = 3, 5


class EnergySource(ABC):
    """A cumulative count of a device's energy in millijoules, from an arbitrary zero."""

    name: str
    scope: str
    """The hardware that the count covers: board, module or package."""

    @abstractmethod
    def read_mj(self) -> float:
        """The current count.

        Raises:
            MeasurementError: the source cannot be read.
        """


class SustainedLoad(ABC):
    """Products that keep a device evenly busy during an energy window."""

    @abstractmethod
    def top_up(self) -> None:
        """Enqueue work for the next milliseconds; returns soon."""

    @abstractmethod
    def product_ms(self) -> float:
        """Mean latency of all products so far; waits for their end."""

    @property
    def products(self) -> int:
        """Number of products so far."""
        return 0

    keeps_busy_s: float = 0.0
    """Time for which the device surely stays busy after `top_up`."""


class NoLoad(SustainedLoad):
    """No load, for the idle power of a device with an open context."""

    def __init__(self, pause: Callable[[float], None]) -> None:
        self._pause = pause

    def top_up(self) -> None:
        """Sleep for a millisecond: a spinning thread would keep a CPU from idling."""
        self._pause(1e-3)

    def product_ms(self) -> float:
        """Always 0: there are no products."""
        return 0.0


@dataclass(frozen=True)
class Edge:
    """An update of the counter: its time, and the count after it."""

    at_s: float
    energy_mj: float


@dataclass(frozen=True)
class EnergyReading:
    """Energy per product over all windows, with its source."""

    energy_mj: float
    energy_low_mj: float
    energy_high_mj: float
    energy_net_mj: float | None
    """Energy per product minus the idle energy of the same time."""
    power_w: float
    energy_source: str
    energy_scope: str
    energy_products: int
    second_power_w: float | None = None
    """Power by the other source, over the same windows."""
    energy_tick_ms: float | None = None
    flags: tuple[str, ...] = ()


class EnergyMeter:
    """Reads one device's energy counter at its updates, and a second source for comparison."""

    def __init__(
        self,
        source: EnergySource,
        second: EnergySource | None = None,
        clock: Callable[[], float] = time.perf_counter,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.source = source
        self._second = second
        self._clock = clock
        self._pause = pause
        self._random = random.Random(0)
        self._tick_s: float | None = None
        self._idle: tuple[float, float] | None = None
        """Time of the last idle measurement, and its power in watts."""

    def measure(self, load: SustainedLoad, settings: MeasureSettings) -> EnergyReading:
        """Measure in three windows after settling, or in five of twice the length if the three differ.

        Raises:
            MeasurementError: the counter cannot be read, does not change or runs backwards.
        """
        idle_w = self._idle_power_w(settings)
        tick_s = self.tick_s(load)
        # A random phase: replays in step with the counter would always be read at the same point.
        self._run_for(load, settings.energy_settle_s + tick_s * self._random.random())
        window_s = max(settings.energy_window_s, settings.energy_ticks * tick_s)
        begin = self._second_stamp()
        powers_w = self._powers_w(load, STEADY_WINDOWS, window_s)
        flags = []
        if _spread(powers_w) > settings.energy_spread:
            powers_w = self._powers_w(load, UNSTEADY_WINDOWS, 2 * window_s)
            flags = ["energy_unsteady"] if _spread(powers_w) > settings.energy_spread else []
        power_w, second_w = statistics.median(powers_w), _power_w(begin, self._second_stamp())
        if second_w and abs(second_w / power_w - 1) > SOURCES_DIFFER:
            flags.append("energy_sources_differ")
        product_ms = load.product_ms()
        return EnergyReading(
            energy_mj=power_w * product_ms,
            energy_low_mj=min(powers_w) * product_ms,
            energy_high_mj=max(powers_w) * product_ms,
            energy_net_mj=None if idle_w is None else (power_w - idle_w) * product_ms,
            power_w=power_w,
            energy_source=self.source.name,
            energy_scope=self.source.scope,
            energy_products=load.products,
            second_power_w=second_w,
            energy_tick_ms=self.tick_s(load) * 1e3,
            flags=tuple(flags),
        )

    def tick_s(self, load: SustainedLoad) -> float:
        """Update interval of the counter, measured once under load."""
        if self._tick_s is None:
            edges = [self.next_edge(load) for _ in range(TICKS_SAMPLED)]
            self._tick_s = statistics.median(later.at_s - earlier.at_s for earlier, later in pairwise(edges))
        return self._tick_s

    def next_edge(self, load: SustainedLoad) -> Edge:
        """Wait for the next update; its time is the middle between the last two readings.

        Raises:
            MeasurementError: the counter does not change.
        """
        begin_s = seen_s = self._clock()
        before_mj = self.source.read_mj()
        while True:
            load.top_up()
            read_at_s = self._clock()
            energy_mj = self.source.read_mj()
            if energy_mj != before_mj:
                return Edge((seen_s + self._clock()) / 2, energy_mj)
            if read_at_s - begin_s > STILL_S:
                raise MeasurementError(f"{self.source.name} did not change for {STILL_S:g} s under load")
            seen_s = read_at_s

    def _powers_w(self, load: SustainedLoad, windows: int, window_s: float) -> list[float]:
        """The mean power of each window, without those in which the counter ran backwards."""
        edges = [self.next_edge(load)]
        for _ in range(windows):
            self._run_for(load, window_s)
            edges.append(self.next_edge(load))
        powers_w = [_power_w(*both) for both in pairwise(edges)]
        forwards = [power_w for power_w in powers_w if power_w is not None]
        if not forwards:
            raise MeasurementError(f"{self.source.name} ran backwards: was the driver reloaded?")
        return forwards

    def _run_for(self, load: SustainedLoad, seconds: float) -> None:
        end_s = self._clock() + seconds
        while self._clock() < end_s:
            load.top_up()
            self.source.read_mj()
            self._second_stamp()
            if load.keeps_busy_s:
                self._pause(load.keeps_busy_s)

    def _second_stamp(self) -> Edge | None:
        """A reading of the second source; both are read all the time, as the integral of power needs it."""
        return Edge(self._clock(), self._second.read_mj()) if self._second else None

    def _idle_power_w(self, settings: MeasureSettings) -> float | None:
        """Idle power, measured every twenty minutes; None where the counter does not change without load."""
        if self._idle is None or self._clock() - self._idle[0] > IDLE_VALID_S:
            try:
                idle_w = self._powers_w(NoLoad(self._pause), 1, settings.energy_window_s)[0]
            except MeasurementError:
                return None
            self._idle = (self._clock(), idle_w)
        return self._idle[1]


def _power_w(begin: Edge | None, end: Edge | None) -> float | None:
    """Mean power between two edges; None without both edges or where the count fell."""
    if begin is None or end is None or end.energy_mj <= begin.energy_mj:
        return None
    return (end.energy_mj - begin.energy_mj) / 1e3 / (end.at_s - begin.at_s)


def _spread(powers_w: Sequence[float]) -> float:
    return (max(powers_w) - min(powers_w)) / statistics.median(powers_w)


class PowerTrapezoid(EnergySource):
    """Power readings integrated over time: the fallback, and the second source.

    Every reading adds the area since the previous one, so it must be read all the time. Averaged sensors
    lag by up to a second, which the settling time covers.
    """

    NEXT_AFTER_S = 5e-3

    def __init__(
        self,
        name: str,
        scope: str,
        read_w: Callable[[], float],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name, self.scope = name, scope
        self._read_w, self._clock = read_w, clock
        self._last: tuple[float, float] | None = None
        self._sum_mj = 0.0

    def read_mj(self) -> float:
        """See `EnergySource`; changes every five milliseconds to limit calls of the driver."""
        now_s = self._clock()
        if self._last is None:
            self._last = (now_s, self._read_w())
        elif now_s - self._last[0] >= self.NEXT_AFTER_S:
            power_w = self._read_w()
            self._sum_mj += 1e3 * (now_s - self._last[0]) * (power_w + self._last[1]) / 2
            self._last = (now_s, power_w)
        return self._sum_mj
