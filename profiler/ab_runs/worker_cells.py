"""One problem's cells in a revision's process: validated, visited on command, checked again at the end."""

from __future__ import annotations

from contextlib import nullcontext

from kswatch.db.records import MeasurementRecord
from kswatch.profiler.ab_runs.protocol import Broken, MakeVisit, RevisionAnswer, RevisionCommand, SetUp
from kswatch.profiler.backends.workload import Workload
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.roofline import Roofline
from kswatch.profiler.empty_records import problem_of
from kswatch.profiler.measurement.backend_factory import backend_for
from kswatch.profiler.measurement.cell import CellMeasurement
from kswatch.profiler.measurement.cells_by_name import cell_by_name
from kswatch.profiler.measurement.to_record import to_records
from kswatch.profiler.measurement.validation import Validation


class RevisionCells:
    """The kernels that this process imported, one problem at a time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._backend = backend_for(target)
        self._cells: dict[str, CellMeasurement] = {}
        self._validation: Validation | None = None
        self._workload: Workload | None = None

    def execute(self, command: RevisionCommand) -> RevisionAnswer:
        """The answer to a command; an exception of a kernel is an answer, never raised."""
        try:
            if isinstance(command, SetUp):
                return self._set_up(command)
            if isinstance(command, MakeVisit):
                return self._visit(command)
            return self._take_down()
        except Exception as error:
            return Broken(f"{type(error).__name__}: {error}")

    def _set_up(self, command: SetUp) -> dict[str, float]:
        problem = problem_of(command.problem)
        for probe in self._backend.probes:
            probe.start_problem(problem)
        self._workload = self._backend.workload(problem, command.seed)
        roofline = Roofline.from_canaries((), self._backend.timer.launch_ms())
        self._validation = Validation(self._workload, self._backend, command.settings, roofline)
        self._cells = {
            name: CellMeasurement(problem, cell_by_name(problem, name), command.settings)
            for name in command.implementations
        }
        for cell in sorted(self._cells.values(), key=lambda each: each.name != "bmm"):
            with cell.recording_failure():
                self._validation.validate(cell)
        return {name: cell.estimate_ms for name, cell in self._cells.items() if cell.status is None}

    def _visit(self, command: MakeVisit) -> RevisionAnswer:
        cell = self._cells[command.implementation]
        probed = nullcontext() if command.turn is None else self._backend.probed("visit", cell.name)
        with cell.recording_failure():
            with probed, self._backend.busy():
                visit = self._backend.timer.visit(cell.launchable, command.launches)
            if command.turn is not None:
                cell.add_visit(visit, command.turn, sum(visit.samples_ms))
            return visit.samples_ms
        return Broken(f"{cell.status}: {cell.reason}")

    def _take_down(self) -> list[MeasurementRecord]:
        assert self._validation is not None and self._workload is not None
        cells = list(self._cells.values())
        try:
            for cell in cells:
                if cell.active:
                    with cell.recording_failure():
                        self._validation.recheck(cell)
                    cell.status = cell.status or "ok"
            roofline = Roofline.from_canaries((), self._backend.timer.launch_ms())
            return to_records(cells, self._backend, self._target.record, roofline)
        finally:
            self._workload.close()
            self._cells, self._workload, self._validation = {}, None, None
