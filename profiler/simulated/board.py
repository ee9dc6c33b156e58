"""A simulated board: a clock that passes only when something takes time, a queue, and what it draws.

The host asks, the board works: what is enqueued begins when the queue before it is done. Power is
integrated over the work, so that the energy at any instant is known and a counter can lag behind it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from kswatch.profiler.devices.simulated_models import MODELS, Model
from kswatch.profiler.devices.simulated_spec import Options
from kswatch.profiler.simulated.cost_model import Truth

DRAWN = 4096
KEPT_S = 3.0
POINT_S = 2e-4
"""Power is integrated exactly, and told between points this far apart by a straight line."""
AMBIENT_C, LOADED_C, WARMING_S = 32.0, 33.0, 20.0
THROTTLES = {"power": 0x004, "hardware": 0x008, "thermal": 0x020}
"""NVML's bit of each reason."""


class VirtualClock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def read(self) -> float:
        """A clock for whoever wants one; asking takes a moment, so that who waits for it gets there."""
        self.now_s += 1e-7
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


@dataclass(frozen=True)
class Sensor:
    """What a board's state is at an instant."""

    sm_clock_mhz: float
    temperature_c: float
    reasons: int


class Board:
    """One simulated GPU with everything that it does to those who measure it."""

    def __init__(self, options: Options = Options(), model: Model = MODELS["h200"]) -> None:  # noqa: B008 (frozen)
        self.options = options
        self.model = model
        self.clock = VirtualClock()
        self.broken = False
        """After a sticky error, every call fails."""
        self._random = np.random.default_rng(options.seed)
        self._drawn: list[float] = []
        self._levels: dict[str, float] = {}
        self._deviations: dict[str, float] = {}
        self._done_s = 0.0
        self._times, self._energies = [0.0], [0.0]
        self._cached: OrderedDict[str, int] = OrderedDict()
        self._cached_bytes = 0

    # -- work ---------------------------------------------------------------------------------

    def run(self, seconds: float, power_w: float) -> float:
        """Enqueue work; the instant at which it ends."""
        begin_s = max(self._done_s, self.clock.now_s)
        self._draw_power(begin_s, self.model.idle_w)
        self._done_s = begin_s + seconds
        self._draw_power(self._done_s, power_w)
        return self._done_s

    @property
    def done_s(self) -> float:
        """When everything that is enqueued will have ended."""
        return max(self._done_s, self.clock.now_s)

    def begin_s(self) -> float:
        """When the next thing that is enqueued would begin."""
        return self.done_s

    def synchronize(self) -> None:
        """Wait for the end of all work."""
        self.clock.now_s = self.done_s

    def sample_ms(self, name: str, truth: Truth, at_s: float, hot: bool = False, launches: int = 1) -> float:
        """The time of one launch at an instant, or of many in a row together, with all that disturbs it."""
        level_ms = truth.hot_ms if hot and truth.hot_ms is not None else truth.time_ms
        if truth.second_mode and launches == 1 and self._random.random() < 0.5:
            level_ms = truth.second_mode
        before = self._deviations.get(name, self._normal())
        deviation = truth.memory * before + (1 - truth.memory**2) ** 0.5 * self._normal()
        self._deviations[name] = deviation
        noise = truth.noise * deviation / launches**0.5
        disturbed = (1 + self.options.drift * at_s) * (1 + self._levels.get(name, 0.0)) * self.slowdown(at_s)
        return launches * level_ms * max(0.05, 1 + noise) * disturbed

    def visit_begins(self, name: str) -> None:
        """Each visit has a level of its own."""
        self._levels[name] = self.options.shift * self._normal()

    def touch(self, key: str, size_bytes: int) -> bool:
        """Pass so many bytes through the last cache; whether they were there already."""
        hit = key in self._cached
        if hit:
            self._cached.move_to_end(key)
        else:
            self._cached[key] = size_bytes
            self._cached_bytes += size_bytes
            while self._cached_bytes > self.model.cache_bytes:
                self._cached_bytes -= self._cached.popitem(last=False)[1]
        return hit

    def _normal(self) -> float:
        if not self._drawn:
            self._drawn = self._random.standard_normal(DRAWN).tolist()
        return self._drawn.pop()

    # -- energy -------------------------------------------------------------------------------

    def energy_mj(self, at_s: float) -> float:
        """What the board took until an instant."""
        times, energies = self._times, self._energies
        place = bisect_right(times, at_s)
        if place == len(times):
            return energies[-1] + 1e3 * self.model.idle_w * (at_s - times[-1])
        if place == 0:
            return energies[0]
        share = (at_s - times[place - 1]) / (times[place] - times[place - 1])
        return energies[place - 1] + share * (energies[place] - energies[place - 1])

    def power_w(self, at_s: float, over_s: float = 0.0) -> float:
        """Power at an instant, or its mean over the seconds before."""
        over_s = max(over_s, 2 * POINT_S)
        return (self.energy_mj(at_s) - self.energy_mj(max(0.0, at_s - over_s))) / over_s / 1e3

    def _draw_power(self, until_s: float, power_w: float) -> None:
        times, energies = self._times, self._energies
        if until_s <= times[-1]:
            return
        energy_mj = energies[-1] + 1e3 * power_w * (until_s - times[-1])
        if len(times) > 2 and until_s - times[-2] < POINT_S:
            times[-1], energies[-1] = until_s, energy_mj
        else:
            times.append(until_s)
            energies.append(energy_mj)
        if len(times) > 100_000:
            first = bisect_right(times, self.clock.now_s - KEPT_S)
            del times[: max(0, first - 1)], energies[: max(0, first - 1)]

    # -- state --------------------------------------------------------------------------------

    def throttled(self, at_s: float) -> bool:
        """Whether an instant lies in an episode; each stands at the end of its period."""
        options = self.options
        quiet_s = options.throttle_every_s - options.throttle_s
        return bool(options.throttle) and at_s % options.throttle_every_s >= quiet_s

    def slowdown(self, at_s: float) -> float:
        """How many times longer everything takes then."""
        return self.options.throttle_by if self.throttled(at_s) else 1.0

    def throttled_s(self, at_s: float) -> float:
        """Seconds of all episodes until then: what NVML's time counters tell."""
        if not self.options.throttle:
            return 0.0
        periods, rest_s = divmod(at_s, self.options.throttle_every_s)
        quiet_s = self.options.throttle_every_s - self.options.throttle_s
        return periods * self.options.throttle_s + max(0.0, rest_s - quiet_s)

    def sensor(self) -> Sensor:
        """The board's state now."""
        now_s = self.clock.now_s
        reason = THROTTLES[self.options.throttle] if self.throttled(now_s) else 0
        warm = 1 - float(np.exp(-now_s / WARMING_S))
        return Sensor(
            self.model.sm_clock_mhz / self.slowdown(now_s), round(AMBIENT_C + LOADED_C * warm), reason
        )
