"""Energy per product, from windows whose edges are the edges of the counter itself.

A board's energy counter changes every 10 to 100 ms only. A window cut anywhere errs by up to one
such tick; a window that begins and ends at a change, with the load running on both sides, does not.
Energy per product is the power over such a window times the time per product in the same loop.
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
"""A counter that does not change for so long under load is broken."""
TICKS_LOOKED_AT = 6
SOURCES_DIFFER = 0.05
IDLE_VALID_S = 1200.0
STEADY_WINDOWS, UNSTEADY_WINDOWS = 3, 5


class EnergySource(ABC):
    """A count of the millijoules that a device has taken; the zero means nothing."""

    name: str
    scope: str
    """What the count covers: board, module or package."""

    @abstractmethod
    def read_mj(self) -> float:
        """The count now.

        Raises:
            MeasurementError: it cannot be read.
        """


class Load(ABC):
    """Products that keep a device evenly busy while its counter is watched."""

    @abstractmethod
    def top_up(self) -> None:
        """See to it that the device has work for the next milliseconds; returns soon."""

    @abstractmethod
    def product_ms(self) -> float:
        """Time per product over all that ran; waits for the end."""

    @property
    def products(self) -> int:
        """How many ran."""
        return 0

    keeps_busy_s: float = 0.0
    """For how long the device surely goes on by itself after `top_up`."""


class Idle(Load):
    """No load: what the device takes with a context alive and nothing to do."""

    def __init__(self, pause: Callable[[float], None]) -> None:
        self._pause = pause

    def top_up(self) -> None:
        """Let a millisecond pass: a thread that spins would keep a CPU from idling."""
        self._pause(1e-3)

    def product_ms(self) -> float:
        """There are no products."""
        return 0.0


@dataclass(frozen=True)
class Edge:
    """A change of the counter: when it was seen, and the count after it."""

    at_s: float
    energy_mj: float


@dataclass(frozen=True)
class EnergyReading:
    """Energy per product over all windows, and how it was come by."""

    energy_mj: float
    energy_low_mj: float
    energy_high_mj: float
    energy_net_mj: float | None
    """Without what the idle device takes in the same time."""
    power_w: float
    energy_source: str
    energy_scope: str
    energy_products: int
    second_power_w: float | None = None
    """By the other source, over the same windows."""
    energy_tick_ms: float | None = None
    flags: tuple[str, ...] = ()


class EnergyMeter:
    """Reads one device's counter at its edges, and its power beside it for a second opinion."""

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
        """When the idle power was measured, and what it was in watts."""

    def measure(self, load: Load, settings: MeasureSettings) -> EnergyReading:
        """Settle, then three windows that share their edges; five of twice the length if they differ.

        Raises:
            MeasurementError: the counter cannot be read, stands still or runs backwards.
        """
        idle_w = self._idle_power_w(settings)
        tick_s = self.tick_s(load)
        # Begun at a random phase: replays that kept step with the counter would meet it at the same place.
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

    def tick_s(self, load: Load) -> float:
        """How often the counter changes, measured once under load."""
        if self._tick_s is None:
            edges = [self.next_edge(load) for _ in range(TICKS_LOOKED_AT)]
            self._tick_s = statistics.median(later.at_s - earlier.at_s for earlier, later in pairwise(edges))
        return self._tick_s

    def next_edge(self, load: Load) -> Edge:
        """Spin until the count changes; it did so between the last two readings.

        Raises:
            MeasurementError: it stands still.
        """
        begin_s = seen_s = self._clock()
        before_mj = self.source.read_mj()
        while True:
            load.top_up()
            asked_s = self._clock()
            energy_mj = self.source.read_mj()
            if energy_mj != before_mj:
                return Edge((seen_s + self._clock()) / 2, energy_mj)
            if asked_s - begin_s > STILL_S:
                raise MeasurementError(f"{self.source.name} did not change for {STILL_S:g} s under load")
            seen_s = asked_s

    def _powers_w(self, load: Load, windows: int, window_s: float) -> list[float]:
        """The mean power of each window; one in which the counter ran backwards is discarded."""
        edges = [self.next_edge(load)]
        for _ in range(windows):
            self._run_for(load, window_s)
            edges.append(self.next_edge(load))
        powers_w = [_power_w(*both) for both in pairwise(edges)]
        forwards = [power_w for power_w in powers_w if power_w is not None]
        if not forwards:
            raise MeasurementError(f"{self.source.name} ran backwards: was the driver reloaded?")
        return forwards

    def _run_for(self, load: Load, seconds: float) -> None:
        end_s = self._clock() + seconds
        while self._clock() < end_s:
            load.top_up()
            self.source.read_mj()
            self._second_stamp()
            if load.keeps_busy_s:
                self._pause(load.keeps_busy_s)

    def _second_stamp(self) -> Edge | None:
        """Both sources are read all along: a trapezoid of power is only as good as its corners."""
        return Edge(self._clock(), self._second.read_mj()) if self._second else None

    def _idle_power_w(self, settings: MeasureSettings) -> float | None:
        """Measured anew every twenty minutes; None where the counter stands still without load."""
        if self._idle is None or self._clock() - self._idle[0] > IDLE_VALID_S:
            try:
                idle_w = self._powers_w(Idle(self._pause), 1, settings.energy_window_s)[0]
            except MeasurementError:
                return None
            self._idle = (self._clock(), idle_w)
        return self._idle[1]


def _power_w(begin: Edge | None, end: Edge | None) -> float | None:
    """Mean power between two edges; None where there are none or the count fell: never 0 for unknown."""
    if begin is None or end is None or end.energy_mj <= begin.energy_mj:
        return None
    return (end.energy_mj - begin.energy_mj) / 1e3 / (end.at_s - begin.at_s)


def _spread(powers_w: Sequence[float]) -> float:
    return (max(powers_w) - min(powers_w)) / statistics.median(powers_w)


class PowerTrapezoid(EnergySource):
    """Power readings integrated over time: the last resort, and the second opinion.

    Every reading adds the area since the one before, so it must be read all along. Averaged sensors
    lag behind by up to a second, which the settling time covers.
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
        """See `EnergySource`; changes every five milliseconds, which spares the driver."""
        now_s = self._clock()
        if self._last is None:
            self._last = (now_s, self._read_w())
        elif now_s - self._last[0] >= self.NEXT_AFTER_S:
            power_w = self._read_w()
            self._sum_mj += 1e3 * (now_s - self._last[0]) * (power_w + self._last[1]) / 2
            self._last = (now_s, power_w)
        return self._sum_mj
