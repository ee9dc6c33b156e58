"""Configuration of measurements and schedule: the `[profiler]` table of kswatch.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from kswatch.db.config import KeyRange, Seconds, Share, check_ranges
from kswatch.errors import ConfigurationError
from kswatch.profiler.settings import MeasureSettings
from kswatch.services import TimingLimits

EngineName = Literal["local", "dask"]
BaselineSetName = Literal["all", "expert", "paper"]
Milliseconds = Annotated[float, KeyRange(86_400_000, above=0, unit="milliseconds")]


@dataclass(frozen=True)
class ProfilerConfig:
    """Defaults of `profile`, `nightly` and `serve`, which their options override."""

    devices: tuple[str, ...] = ()
    """Devices of the nightly run, each by UUID, unique prefix, model name, cuda:N or cpu; empty: every
    GPU of the host, or the CPU where there is none."""

    gpu_suite: str = "nightly"
    """Suite of the nightly run on a GPU."""

    cpu_suite: str = "smoke"
    """Suite of the nightly run on a CPU."""

    nightly_cron: str = "0 2 * * *"
    """Schedule of the nightly run of `kswatch serve`: minute, hour, day of month, month, day of week."""

    timezone: str = "UTC"
    """Time zone of `nightly_cron`, as in Europe/Paris."""

    nightly_budget: str = "3h"
    """Time budget of the nightly run per device, as 90s, 8m or 3h; the remaining cells are skipped."""

    nightly_baselines: BaselineSetName = "all"
    """Baselines of the nightly run: `all` (stock torch), `expert` (also the rivals that are installed) or
    `paper`."""

    foreign: tuple[str, ...] = ()
    """Implementations and suites of other installed packages, by their names, that requests to this host may
    name; these implementations are measured and judged in its nights too."""

    half_width: Share = 0.005
    """A cell is measured until the 95 % interval of its median lies within this share of it; on a GPU."""

    half_width_cpu: Share = 0.02
    """The same on a CPU, whose clock, caches and neighbours change more. It is stored with each run: nights
    of another value are not compared, and a resumed run keeps its own."""

    cell_cap_ms: Milliseconds = 2000.0
    """Time in launches of one cell after which it is `not_converged`."""

    too_slow_ms: Milliseconds = 500.0
    """Predicted latency above which a product is not timed but recorded as `too_slow`."""

    hot: bool = False
    """Whether every run also times products with warm caches, as `kswatch profile --hot` does."""

    watchdog_s: Seconds = 300.0
    """Timeout of a measuring process without progress; it is killed, and its cell recorded as `crashed`."""

    lease_s: Seconds = 120.0
    """Time without a heartbeat after which a process loses its lease of a device."""

    engine: EngineName = "local"
    """Where `serve` and `nightly` measure: `local`, on this host, or `dask`, on a scheduler's workers."""

    scheduler: str = ""
    """Address of the Dask scheduler, as tls://host:8786; for `dask` and `kswatch worker`."""

    worker_host: str = ""
    """Address of the interface that a worker listens on; empty: that of the route to the scheduler."""

    worker_absent_s: Seconds = 600.0
    """Absence of a worker after which its run is interrupted; the run is resumed when the worker returns."""

    store_absent_s: Seconds = 60.0
    """Time that a run waits for an unreachable database server; then its request is queued again."""

    heartbeat_url_variable: str = ""
    """Environment variable with the URL to call after each nightly run, for an external dead-man switch."""

    poll_s: Seconds = 2.0
    """Interval at which `kswatch serve` checks for requests."""

    def __post_init__(self) -> None:
        check_ranges("profiler", self)
        if self.engine not in get_args(EngineName):
            known = ", ".join(get_args(EngineName))
            raise ConfigurationError(f"profiler.engine = {self.engine!r}; choose from {known}")
        if self.nightly_baselines not in get_args(BaselineSetName):
            known = ", ".join(get_args(BaselineSetName))
            raise ConfigurationError(
                f"profiler.nightly_baselines = {self.nightly_baselines!r}; choose from {known}"
            )

    @property
    def timing_limits(self) -> TimingLimits:
        """What estimates need of these."""
        return TimingLimits(self.too_slow_ms, self.cell_cap_ms)

    def settings_on(self, device_kind: str) -> MeasureSettings:
        """Settings of the measuring loop on devices of this kind, `cpu` or `cuda`."""
        half_width = self.half_width_cpu if device_kind == "cpu" else self.half_width
        return MeasureSettings(
            half_width=half_width, cell_cap_ms=self.cell_cap_ms, too_slow_ms=self.too_slow_ms
        )
