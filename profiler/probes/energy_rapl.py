"""Energy of the CPU packages by RAPL, where the kernel provides it and the user may read it."""

from __future__ import annotations

import time
from pathlib import Path

from kswatch.errors import MeasurementError
from kswatch.profiler.probes.energy import EnergySource, SustainedLoad
from kswatch.profiler.probes.timing import Launchable

POWERCAP = Path("/sys/class/powercap")


class CpuLoad(SustainedLoad):
    """Products one after another in the calling thread, a millisecond at a time."""

    SLICE_S = 1e-3

    def __init__(self, launchable: Launchable) -> None:
        self._launchable = launchable
        self._products = 0
        self._started_s = time.perf_counter()

    def top_up(self) -> None:
        """See `SustainedLoad`."""
        end_s = time.perf_counter() + self.SLICE_S
        while time.perf_counter() < end_s:
            self._products += 1
            self._launchable.launch(self._products)

    @property
    def products(self) -> int:
        """See `SustainedLoad`."""
        return self._products

    def product_ms(self) -> float:
        """See `SustainedLoad`; includes the time of the counter readings in between."""
        return 1e3 * (time.perf_counter() - self._started_s) / self._products


class Rapl(EnergySource):
    """The sum over packages, with wrap-arounds of each counter at its own range corrected."""

    name = "rapl"
    scope = "package"

    def __init__(self, folder: Path = POWERCAP) -> None:
        """Find the packages.

        Raises:
            MeasurementError: there are none, or they cannot be read.
        """
        self._packages = sorted(folder.glob("intel-rapl:[0-9]*/energy_uj"))
        # intel-rapl:0:1 is a part of intel-rapl:0
        self._packages = [path for path in self._packages if path.parent.name.count(":") == 1]
        if not self._packages:
            raise MeasurementError(f"no RAPL: {folder} lists no CPU package, as in most virtual machines")
        self._ranges_uj = [_read(path.with_name("max_energy_range_uj")) for path in self._packages]
        self._last_uj = [_read(path) for path in self._packages]
        self._sum_uj = 0

    def read_mj(self) -> float:
        """See `EnergySource`."""
        now_uj = [_read(path) for path in self._packages]
        for now, last, range_uj in zip(now_uj, self._last_uj, self._ranges_uj, strict=True):
            self._sum_uj += (now - last) % range_uj
        self._last_uj = now_uj
        return self._sum_uj / 1e3


def rapl_refusal() -> str | None:
    """The reason why the CPU's energy cannot be measured here; None where it can."""
    try:
        Rapl()
    except MeasurementError as error:
        return str(error)
    return None


def _read(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except PermissionError:
        raise MeasurementError(f"RAPL is readable by root only; to allow it: chmod a+r {path}") from None
    except (OSError, ValueError) as error:
        raise MeasurementError(f"RAPL cannot be read: {error}") from error
