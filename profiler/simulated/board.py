"""A simulated board: a clock that advances only when something takes time, a queue, and power.

The host enqueues, the board executes: a launch starts when the queue before it is done. Power is integrated
over the work, so that the energy at any instant is known and a counter can lag behind it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict

import numpy as np

from kswatch.profiler.devices.simulated_models import MODELS, BoardModel
from kswatch.profiler.devices.simulated_spec import BoardOptions
from kswatch.profiler.simulated.cost_model import Truth

NORMALS_PER_DRAW = 4096
KEPT_S = 3.0
POINT_S = 2e-4
"""Power is integrated exactly, and interpolated linearly between points this far apart."""
AMBIENT_C, LOADED_C, WARMING_S = 32.0, 33.0, 20.0


class VirtualClock:
    """Seconds that pass only on request."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def read(self) -> float:
        """The time now; each reading takes 0.1 µs, so that loops which wait for a time end."""
        self.now_s += 1e-7
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


class Board:
    """One simulated GPU: latencies with noise, drift and throttling, caches, energy, and faults."""

    def __init__(self, options: BoardOptions = BoardOptions(), model: BoardModel = MODELS["h200"]) -> None:  # noqa: B008 (frozen)
        self.options = options
        self.model = model
        self.clock = VirtualClock()
        self.broken = False
        """Whether every call fails, after a sticky error."""
        self._random = np.random.default_rng(options.seed)
        self._normals: list[float] = []
        self._levels: dict[str, float] = {}
        self._deviations: dict[str, float] = {}
        self._done_s = 0.0
        self._times, self._energies = [0.0], [0.0]
        self._cached: OrderedDict[str, int] = OrderedDict()
        self._cached_bytes = 0

    # -- work ---------------------------------------------------------------------------------

    def run(self, seconds: float, power_w: float) -> float:
        """Enqueue work; returns the instant at which it ends."""
        begin_s = max(self._done_s, self.clock.now_s)
        self._integrate_power(begin_s, self.model.idle_w)
        self._done_s = begin_s + seconds
        self._integrate_power(self._done_s, power_w)
        return self._done_s

    @property
    def done_s(self) -> float:
        """The instant at which all enqueued work ends, and the next would start."""
        return max(self._done_s, self.clock.now_s)

    def synchronize(self) -> None:
        """Wait for the end of all work."""
        self.clock.now_s = self.done_s

    def sample_ms(self, name: str, truth: Truth, at_s: float, hot: bool = False, launches: int = 1) -> float:
        """The latency of one launch at an instant, or the total of many in a row, with all disturbances."""
        level_ms = truth.hot_ms if hot and truth.hot_ms is not None else truth.time_ms
        if truth.second_mode and launches == 1 and self._random.random() < 0.5:
            level_ms = truth.second_mode
        before = self._deviations.get(name, self._normal())
        deviation = truth.memory * before + (1 - truth.memory**2) ** 0.5 * self._normal()
        self._deviations[name] = deviation
        noise = truth.noise * deviation / launches**0.5
        disturbed = (1 + self.options.drift * at_s) * (1 + self._levels.get(name, 0.0)) * self.slowdown(at_s)
        return launches * level_ms * max(0.05, 1 + noise) * disturbed

    def draw_level(self, name: str) -> None:
        """Draw the level of this visit."""
        self._levels[name] = self.options.shift * self._normal()

    def touch(self, key: str, size_bytes: int) -> bool:
        """Pass bytes through the last cache; returns whether they were cached already."""
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
        if not self._normals:
            self._normals = self._random.standard_normal(NORMALS_PER_DRAW).tolist()
        return self._normals.pop()

    # -- energy -------------------------------------------------------------------------------

    def energy_mj(self, at_s: float) -> float:
        """The board's energy until an instant."""
        times, energies = self._times, self._energies
        place = bisect_right(times, at_s)
        if place == len(times):
            return energies[-1] + 1e3 * self.model.idle_w * (at_s - times[-1])
        if place == 0:
            return energies[0]
        share = (at_s - times[place - 1]) / (times[place] - times[place - 1])
        return energies[place - 1] + share * (energies[place] - energies[place - 1])

    def power_w(self, at_s: float, over_s: float = 0.0) -> float:
        """Power at an instant, or its mean over the preceding seconds."""
        over_s = max(over_s, 2 * POINT_S)
        return (self.energy_mj(at_s) - self.energy_mj(max(0.0, at_s - over_s))) / over_s / 1e3

    def _integrate_power(self, until_s: float, power_w: float) -> None:
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
        """Whether the board is throttled at an instant; each episode is at the end of its period."""
        options = self.options
        quiet_s = options.throttle_every_s - options.throttle_s
        return bool(options.throttle) and at_s % options.throttle_every_s >= quiet_s

    def slowdown(self, at_s: float) -> float:
        """Factor of all latencies at an instant."""
        return self.options.throttle_by if self.throttled(at_s) else 1.0

    def throttled_s(self, at_s: float) -> float:
        """Seconds of all episodes until an instant, as NVML's time counters report them."""
        if not self.options.throttle:
            return 0.0
        periods, rest_s = divmod(at_s, self.options.throttle_every_s)
        quiet_s = self.options.throttle_every_s - self.options.throttle_s
        return periods * self.options.throttle_s + max(0.0, rest_s - quiet_s)

    def temperature_c(self) -> int:
        """The board's temperature now."""
        return round(AMBIENT_C + LOADED_C * (1 - float(np.exp(-self.clock.now_s / WARMING_S))))
