"""The measuring loop: all implementations of one problem together, on one device.

Prepare and check each one; warm up; visit them in seeded ABBA rounds until every median is known
well enough; check again. A cell that fails becomes a record with a status and a reason, and the
others go on.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from kswatch.db.records import COMPARABLE, CanaryRecord, MeasurementRecord, Mode
from kswatch.kernels.implementation import Implementation
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends import base as benches
from kswatch.profiler.backends.base import Bench
from kswatch.profiler.backends.canaries import Position, read_canary
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.roofline import Roofline
from kswatch.profiler.measurement.cell import Announce, Contender, tell_nobody
from kswatch.profiler.measurement.energy_pass import measure_energy
from kswatch.profiler.measurement.interleaving import Race, launches_of, racing, turn_of
from kswatch.profiler.measurement.paper_protocol import race_as_the_paper
from kswatch.profiler.measurement.to_record import to_records
from kswatch.profiler.measurement.validation import Admission
from kswatch.profiler.settings import MeasureSettings


def measure_problem(
    problem: Problem,
    implementations: Iterable[Implementation],
    target: Target,
    settings: MeasureSettings = MeasureSettings(),  # noqa: B008 (frozen)
    *,
    seed: int = 0,
    energy: bool = False,
    canaries: Sequence[CanaryRecord] = (),
    bench: Bench | None = None,
    announce: Announce = tell_nobody,
) -> list[MeasurementRecord]:
    """One record per implementation, in their order; one more where it was timed hot too.

    Args:
        problem: What all of them compute.
        implementations: Among them `fused`, if ratios to it are wanted.
        target: Where.
        settings: How carefully.
        seed: Decides operands and the order of visits.
        energy: Whether `fused` and the fastest baseline get an energy pass.
        canaries: This run's so far; they give the floor and predict what would take too long.
        bench: The device as the loop sees it; made from `target` unless given.
        announce: Told each cell that runs next.
    """
    bench = bench or benches.of(target)
    roofline = Roofline.from_canaries(canaries, bench.timer.launch_ms())
    mode: Mode = "unknown" if settings.protocol == "paper" else "cold"
    contenders = [Contender(problem, each, settings, announce, mode) for each in implementations]
    hot: list[Contender] = []
    for probe in bench.probes:
        probe.problem_begins(problem)
    try:
        stage = bench.stage(problem, seed)
    except Exception as error:  # operands that do not fit, say: every cell tells why
        for contender in contenders:
            contender.fails(error)
    else:
        try:
            loop = _Loop(contenders, bench, settings, Admission(stage, bench, settings, roofline))
            hot = loop.run(seed, energy)
        finally:
            stage.close()
    records = to_records(contenders, bench, target.record, roofline)
    return records + to_records(hot, bench, target.record, roofline)


def measure_canaries(target: Target, position: Position, bench: Bench | None = None) -> list[CanaryRecord]:
    """A copy that exceeds the last cache, and one dense product per precision that the device has."""
    bench = bench or benches.of(target)
    bench.warm_up(MeasureSettings())
    with bench.busy():
        return [read_canary(canary, position, bench.timer) for canary in bench.canaries()]


class _Loop:
    """One problem's cells on a stage: admitted, warmed up, raced, checked."""

    def __init__(
        self, contenders: Sequence[Contender], bench: Bench, settings: MeasureSettings, admission: Admission
    ) -> None:
        self._contenders = contenders
        self._bench = bench
        self._settings = settings
        self._admission = admission

    def run(self, seed: int, energy: bool) -> list[Contender]:
        """The whole story; what comes back are the cells that were timed hot too."""
        paper = self._settings.protocol == "paper"
        if not paper:
            self._bench.warm_up(self._settings)
        for contender in sorted(self._contenders, key=lambda each: each.name != "bmm"):
            with turn_of(contender, self._bench):
                self._admission.admit(contender)
        if paper:
            race_as_the_paper(self._contenders, self._bench)
        else:
            self._compete(self._contenders, seed)
        hot = [] if paper else self._hot_contenders()
        self._compete(hot, seed)
        if energy:
            measure_energy(self._contenders, self._bench, self._settings)
        if self._settings.counters:
            self._read_counters(seed)
        for contender in racing(self._contenders):
            with turn_of(contender, self._bench):
                self._admission.check_again(contender)
        return hot

    def _compete(self, contenders: Sequence[Contender], seed: int) -> None:
        self._warm_up(contenders)
        Race(contenders, self._bench, self._settings).run(seed)

    def _read_counters(self, seed: int) -> None:
        for contender in racing(self._contenders):
            contender.announce()
            with self._bench.busy():
                contender.counters = self._bench.counters(contender.problem, contender.name, seed)

    def _warm_up(self, contenders: Sequence[Contender]) -> None:
        """Launch each one until caches, clocks and lazy libraries have settled; nothing is kept."""
        racers = racing(contenders)
        for contender in racers:
            launches = launches_of(contender, self._settings.warm_up_ms / len(racers))
            with turn_of(contender, self._bench), self._bench.busy():
                visit = self._bench.timer_of(contender.mode)(contender.work, launches)
                contender.estimate_ms = statistics.median(visit.samples_ms)

    def _hot_contenders(self) -> list[Contender]:
        """A second contender for every cell that was timed cold and whose operands fit into the caches."""
        limit_bytes = self._settings.hot_caches * self._bench.cache_bytes
        return [
            cold.hot_twin()
            for cold in self._contenders
            if self._settings.hot
            and cold.status in COMPARABLE
            and cold.problem.compulsory_bytes < limit_bytes
        ]
