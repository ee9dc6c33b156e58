"""Validation of cells before and after timing: supported, fits into memory, correct, and not too slow."""

from __future__ import annotations

from kswatch.db.records import CounterReading
from kswatch.errors import UnsupportedError
from kswatch.profiler.backends.base import Backend
from kswatch.profiler.backends.workload import Workload
from kswatch.profiler.devices.roofline import Roofline
from kswatch.profiler.measurement.cell import CellMeasurement, CellRefused
from kswatch.profiler.probes.timing import Launchable
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.subjects.demand import operand_bytes
from kswatch.profiler.subjects.problems import ModelForward


class Validation:
    """The checks of one problem's cells."""

    def __init__(
        self, workload: Workload, backend: Backend, settings: MeasureSettings, roofline: Roofline
    ) -> None:
        self._workload = workload
        self._backend = backend
        self._settings = settings
        self._roofline = roofline
        self._bmm_error: float | None = None

    def validate(self, cell: CellMeasurement) -> None:
        """Admit the cell to timing; call it for `bmm` first, whose error may widen the limit of the others.

        Raises:
            UnsupportedError: the implementation does not support the problem on this device.
            CellRefused: the cell does not fit into memory, takes too long or is incorrect.
        """
        if refusal := self._workload.unsupported(cell.implementation):
            raise UnsupportedError(refusal)
        self._refuse_oversized(cell)
        least_ms = self._roofline.fastest_ms(cell.problem.precision, cell.implementation.flops(cell.problem))
        self._refuse_slow(cell, least_ms or 0.0, "predicted from its operations at the measured rate")
        with self._backend.probed("prepare", cell.name):
            launchable = self._workload.prepare(cell.implementation)
        self._check(cell, launchable, "before")
        if cell.name == "bmm" and cell.correctness:
            self._bmm_error = cell.correctness.relative_error
        with self._backend.probed("launch", cell.name):
            estimate_ms = self._backend.timer.visit(launchable, 1).samples_ms[0]
        self._refuse_slow(cell, estimate_ms, "the first timed call")
        cell.compile_ms = self._workload.compile_ms(cell.implementation)
        cell.caveats = self._workload.caveats(cell.implementation)
        cell.flag(*cell.caveats)
        cell.admit(launchable, estimate_ms)

    def recheck(self, cell: CellMeasurement) -> None:
        """Check the result again after timing.

        Raises:
            CellRefused: the result is incorrect.
        """
        cell.code_hash, cell.tile = self._workload.code_of(cell.implementation)
        self._check(cell, cell.launchable, "after")

    def figures(self, cell: CellMeasurement) -> tuple[CounterReading, ...]:
        """What else the workload knows of the cell, from passes of their own."""
        return self._workload.figures(cell.launchable)

    def _check(self, cell: CellMeasurement, launchable: Launchable, when: str) -> None:
        cell.correctness = self._workload.check(launchable, self._bmm_error)
        if not cell.correctness.ok:
            raise CellRefused("incorrect", f"{when} timing: {cell.correctness.reason}")

    def _refuse_oversized(self, cell: CellMeasurement) -> None:
        needed = cell.implementation.memory_bytes(cell.problem) - operand_bytes(cell.problem)
        free = self._backend.free_bytes()
        if needed > self._settings.memory_share * free:
            raise CellRefused("out_of_memory", f"needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")

    def _refuse_slow(self, cell: CellMeasurement, time_ms: float, how: str) -> None:
        limit_ms = self._settings.too_slow_ms
        if time_ms > limit_ms:
            unit = "forward" if isinstance(cell.problem, ModelForward) else "product"
            raise CellRefused(
                "too_slow", f"{time_ms:.0f} ms per {unit} ({how}); the limit is {limit_ms:.0f} ms"
            )
