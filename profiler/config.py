"""How runs are measured and when: the `[profiler]` table of kswatch.toml."""

from __future__ import annotations

from dataclasses import dataclass

from kswatch.errors import ConfigurationError
from kswatch.profiler.settings import MeasureSettings

ENGINES = ("local", "dask")
_ABOVE_0 = (
    "half_width",
    "cell_cap_ms",
    "too_slow_ms",
    "watchdog_s",
    "lease_s",
    "worker_absent_s",
    "store_absent_s",
    "poll_s",
)


@dataclass(frozen=True)
class ProfilerConfig:
    """What `profile`, `nightly` and `serve` do unless their options say otherwise."""

    devices: tuple[str, ...] = ()
    """Devices of the nightly run, each by UUID, unique prefix, model name, cuda:N or cpu; empty: every
    GPU of the host, or the CPU where there is none."""

    gpu_suite: str = "nightly"
    """What the nightly run measures on a GPU."""

    cpu_suite: str = "smoke"
    """What the nightly run measures on a CPU."""

    nightly_cron: str = "0 2 * * *"
    """When `kswatch serve` runs the nightly: minute, hour, day of month, month, day of week."""

    timezone: str = "UTC"
    """Time zone of `nightly_cron`, as in Europe/Paris."""

    nightly_budget: str = "3h"
    """Longest nightly run per device, as 90s, 8m or 3h; what does not fit is recorded as skipped."""

    half_width: float = 0.005
    """A cell is measured until the 95 % interval of its median lies within this share of the median."""

    cell_cap_ms: float = 2000.0
    """Time in launches of one cell after which it is `not_converged`."""

    too_slow_ms: float = 500.0
    """A product predicted to take longer is not timed but recorded as `too_slow`."""

    hot: bool = False
    """Whether every run also times products with warm caches, as `kswatch profile --hot` does."""

    watchdog_s: float = 300.0
    """A measuring process that takes no step for so long is ended, and its cell recorded as `crashed`."""

    lease_s: float = 120.0
    """A process that measures on a device and gives no sign for so long loses it to the next one."""

    engine: str = "local"
    """Where `serve` and `nightly` measure: `local`, on this host, or `dask`, on a scheduler's workers."""

    scheduler: str = ""
    """Address of the Dask scheduler, as tcp://host:8786; for `dask` and `kswatch worker`."""

    worker_absent_s: float = 600.0
    """A run whose worker is gone for so long is told as interrupted, and resumed when the worker returns."""

    store_absent_s: float = 60.0
    """A run waits so long for a database server that does not answer; then its request is queued again."""

    heartbeat_url_variable: str = ""
    """Name of the environment variable with the URL that is called after each night, for an outside watch."""

    poll_s: float = 2.0
    """How often `kswatch serve` looks for requests."""

    def __post_init__(self) -> None:
        for name in _ABOVE_0:
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"profiler.{name} = {getattr(self, name)} must be above 0")

        if self.engine not in ENGINES:
            raise ConfigurationError(f"profiler.engine = {self.engine!r}; choose from {', '.join(ENGINES)}")

    @property
    def settings(self) -> MeasureSettings:
        """How carefully the loop measures."""
        return MeasureSettings(
            half_width=self.half_width, cell_cap_ms=self.cell_cap_ms, too_slow_ms=self.too_slow_ms
        )
