"""The measuring loop: all implementations of one problem, interleaved on one device.

Prepare and check each one; warm up; visit them in seeded ABBA rounds until every interval is narrow
enough; check again. A cell that fails becomes a record with a status and a reason, and the others
continue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from kswatch.db.records import COMPARABLE, CanaryPosition, CanaryRecord, MeasurementRecord, Mode
from kswatch.profiler.backends.base import Backend
from kswatch.profiler.backends.canaries import read_canary
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.roofline import Roofline
from kswatch.profiler.measurement.backend_factory import backend_for
from kswatch.profiler.measurement.cell import Announce, CellMeasurement, no_op
from kswatch.profiler.measurement.energy_pass import measure_energy
from kswatch.profiler.measurement.interleaving import Interleaving, active, confine_failure
from kswatch.profiler.measurement.paper_protocol import time_by_paper_protocol
from kswatch.profiler.measurement.to_record import to_records
from kswatch.profiler.measurement.validation import Validation
from kswatch.profiler.probes.host_cpu import CpuTimes
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.subjects.problems import AnyProblem


def measure_problem(
    problem: AnyProblem,
    implementations: Iterable[Any],
    target: Target,
    settings: MeasureSettings = MeasureSettings(),  # noqa: B008 (frozen)
    *,
    seed: int = 0,
    energy: bool = False,
    canaries: Sequence[CanaryRecord] = (),
    backend: Backend | None = None,
    announce: Announce = no_op,
) -> list[MeasurementRecord]:
    """Measure a problem: one record per implementation in their order, then one per cell timed hot.

    Of a layer or a model the implementations are its cells (`kswatch.profiler.subjects`). Ratios need the
    reference among them: `fused`, or the dense layer or model. `seed` is that of the operands and of the
    order of visits; with `energy`, `fused` and the fastest baseline get an energy pass; `canaries` are the
    run's so far: the roofline, also for predicting slow cells. The backend is that of this process unless
    given.
    """
    backend = backend or backend_for(target)
    roofline = Roofline.from_canaries(canaries, backend.timer.launch_ms())
    mode: Mode = "unknown" if settings.protocol == "paper" else "cold"
    cells = [
        CellMeasurement(problem, implementation, settings, announce, mode)
        for implementation in implementations
    ]
    hot: list[CellMeasurement] = []
    for probe in backend.probes:
        probe.start_problem(problem)
    try:
        workload = backend.workload(problem, seed)
    except Exception as error:  # for example operands that do not fit: every cell gets the reason
        for cell in cells:
            cell.fail(error)
    else:
        try:
            loop = _Loop(cells, backend, settings, Validation(workload, backend, settings, roofline))
            hot = loop.run(seed, energy)
        finally:
            workload.close()
    records = to_records(cells, backend, target.record, roofline)
    return records + to_records(hot, backend, target.record, roofline)


def measure_canaries(
    target: Target, position: CanaryPosition, backend: Backend | None = None
) -> list[CanaryRecord]:
    """Readings of a copy larger than the last cache and of one dense product per supported precision.

    Each has the CPU time that other programs used meanwhile, but on a simulated device.
    """
    backend = backend or backend_for(target)
    backend.warm_up(MeasureSettings())
    before = None if target.record.simulated else CpuTimes.now()
    with backend.busy():
        read = [read_canary(canary, position, backend.timer) for canary in backend.canaries()]
    others = before.share_of_others() if before else None
    return [replace(one, other_cpu_share=others) for one in read]


class _Loop:
    """The passes over one problem's cells: validation, warm-up, interleaved timing, energy, checks."""

    def __init__(
        self,
        cells: Sequence[CellMeasurement],
        backend: Backend,
        settings: MeasureSettings,
        validation: Validation,
    ) -> None:
        self._cells = cells
        self._backend = backend
        self._settings = settings
        self._validation = validation

    def run(self, seed: int, energy: bool) -> list[CellMeasurement]:
        """Run all passes; returns the cells that were timed hot."""
        paper = self._settings.protocol == "paper"
        if not paper:
            self._backend.warm_up(self._settings)
        for cell in sorted(self._cells, key=lambda cell: cell.name != "bmm"):
            with confine_failure(cell, self._backend):
                self._validation.validate(cell)
        if paper:
            time_by_paper_protocol(self._cells, self._backend)
        else:
            Interleaving(self._cells, self._backend, self._settings).run(seed)
        hot = [] if paper else self._hot_variants()
        Interleaving(hot, self._backend, self._settings).run(seed)
        if energy:
            measure_energy(self._cells, self._backend, self._settings)
        if self._settings.counters:
            for cell in active(self._cells):
                cell.announce()
                with self._backend.busy():
                    cell.counters = self._backend.counters(cell.problem, cell.name, seed)
        for cell in active(self._cells):
            with confine_failure(cell, self._backend):
                self._validation.recheck(cell)
        for cell in active(self._cells):
            with confine_failure(cell, self._backend):
                cell.counters += self._validation.figures(cell)
                cell.peak_bytes = self._backend.peak_bytes(cell.problem, cell.name, seed)
        return hot

    def _hot_variants(self) -> list[CellMeasurement]:
        """A hot variant of every cell that was timed cold and whose operands fit into the caches."""
        limit_bytes = self._settings.hot_caches * self._backend.cache_bytes
        return [
            cold.hot_variant()
            for cold in self._cells
            if self._settings.hot and cold.status in COMPARABLE and cold.demand.compulsory_bytes < limit_bytes
        ]
