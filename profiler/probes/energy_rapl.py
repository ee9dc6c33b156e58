"""Energy of the CPU packages by RAPL, where the kernel shows it and the user may read it."""

from __future__ import annotations

import time
from pathlib import Path

from kswatch.errors import MeasurementError
from kswatch.profiler.probes.energy import EnergySource, Load
from kswatch.profiler.probes.timing import Work

POWERCAP = Path("/sys/class/powercap")


class CpuLoad(Load):
    """One product after another in this very thread, a millisecond at a time."""

    SLICE_S = 1e-3

    def __init__(self, work: Work) -> None:
        self._work = work
        self._products = 0
        self._began_s = time.perf_counter()

    def top_up(self) -> None:
        """See `Load`."""
        end_s = time.perf_counter() + self.SLICE_S
        while time.perf_counter() < end_s:
            self._products += 1
            self._work.launch(self._products)

    @property
    def products(self) -> int:
        """See `Load`."""
        return self._products

    def product_ms(self) -> float:
        """See `Load`; readings of the counter in between take their time, and energy, too."""
        return 1e3 * (time.perf_counter() - self._began_s) / self._products


class Rapl(EnergySource):
    """The sum over packages; each counter starts again from 0 at its own range, which is undone."""

    name = "rapl"
    scope = "package"

    def __init__(self, folder: Path = POWERCAP) -> None:
        """Find the packages.

        Raises:
            MeasurementError: there are none, or they cannot be read.
        """
        self._packages = sorted(folder.glob("intel-rapl:[0-9]*/energy_uj"))
        # intel-rapl:0:1 is a part of intel-rapl:0.
        self._packages = [path for path in self._packages if path.parent.name.count(":") == 1]
        if not self._packages:
            raise MeasurementError(f"no RAPL: {folder} shows no CPU package, as in most virtual machines")
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
    """Why the CPU's energy cannot be counted here; None where it can."""
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
