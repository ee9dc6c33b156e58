"""A revision's cells on their stage: admitted, visited when the parent says so, checked again at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kswatch.db.records import MeasurementRecord
from kswatch.kernels import catalogue
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.ab_runs.protocol import Answered, Asked, Broken, MakeVisit, SetUp, Standing, TakeDown
from kswatch.profiler.backends import base as benches
from kswatch.profiler.backends.workload import Stage
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.roofline import Roofline
from kswatch.profiler.measurement.cell import Contender
from kswatch.profiler.measurement.to_record import to_records
from kswatch.profiler.measurement.validation import Admission


class Revision:
    """The kernels that this process imported, one problem at a time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._bench = benches.of(target)
        self._contenders: dict[str, Contender] = {}
        self._admission: Admission | None = None
        self._stage: Stage | None = None

    def answer(self, asked: Asked) -> Answered:
        """Do what was asked for; whatever a kernel raises is told, never raised."""
        try:
            if isinstance(asked, SetUp):
                return self._set_up(asked)
            if isinstance(asked, MakeVisit):
                return self._visit(asked)
            assert isinstance(asked, TakeDown)
            return self._take_down()
        except Exception as error:
            return Broken(f"{type(error).__name__}: {error}")

    def _set_up(self, asked: SetUp) -> list[Standing]:
        key = asked.problem
        problem = Problem(Pattern(key.a, key.b, key.c, key.d), key.batch, key.precision, key.layout)  # type: ignore[arg-type]
        for probe in self._bench.probes:
            probe.problem_begins(problem)
        self._stage = self._bench.stage(problem, asked.seed)
        roofline = Roofline.from_canaries((), self._bench.timer.launch_ms())
        self._admission = Admission(self._stage, self._bench, asked.settings, roofline)
        self._contenders = {
            name: Contender(problem, catalogue.implementation(name), asked.settings)
            for name in asked.implementations
        }
        for contender in sorted(self._contenders.values(), key=lambda each: each.name != "bmm"):
            with contender.surviving():
                self._admission.admit(contender)
        return [_standing(each) for each in self._contenders.values()]

    def _visit(self, asked: MakeVisit) -> Answered:
        contender = self._contenders[asked.implementation]
        with contender.surviving():
            with self._probed(contender.name if asked.sampled else None), self._bench.busy():
                visit = self._bench.timer.visit(contender.work, asked.launches)
            if asked.sampled:
                contender.takes(visit, asked.turn, sum(visit.samples_ms))
            return visit.samples_ms
        return Broken(f"{contender.status}: {contender.reason}")

    @contextmanager
    def _probed(self, name: str | None) -> Iterator[None]:
        probes = self._bench.probes if name else ()
        for probe in probes:
            probe.visit_begins(name or "")
        yield
        for probe in probes:
            probe.visit_ends(name or "")

    def _take_down(self) -> list[MeasurementRecord]:
        assert self._admission is not None and self._stage is not None
        contenders = list(self._contenders.values())
        try:
            for contender in contenders:
                if contender.racing:
                    with contender.surviving():
                        self._admission.check_again(contender)
                    contender.status = contender.status or "ok"
            roofline = Roofline.from_canaries((), self._bench.timer.launch_ms())
            return to_records(contenders, self._bench, self._target.record, roofline)
        finally:
            self._stage.close()
            self._contenders, self._stage, self._admission = {}, None, None


def _standing(contender: Contender) -> Standing:
    """What its admission gave."""
    return Standing(contender.name, contender.status, contender.reason, contender.estimate_ms)
