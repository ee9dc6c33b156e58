"""The measuring loop: all implementations of one problem together, on one device.

Prepare and check each one; warm up; visit them in seeded ABBA rounds until every median is known
well enough; check again. A cell that fails becomes a record with a status and a reason, and the
others go on.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from db.records import CanaryRecord, MeasurementRecord
from kernels.implementation import Implementation
from kernels.problem import Problem
from kswatch_errors import MeasurementError
from profiler import bench as benches
from profiler.admission import Admission
from profiler.bench import Bench
from profiler.canaries import Position, read_canary
from profiler.contender import REFERENCE, Announce, Contender, tell_nobody
from profiler.devices import Target
from profiler.energy_pass import measure_energy
from profiler.recording import to_records
from profiler.roofline import Roofline
from profiler.settings import MeasureSettings

SLOW_VISIT_LAUNCHES = 3


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
    """One record per implementation, in their order.

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
    contenders = [Contender(problem, each, settings, announce) for each in implementations]
    for probe in bench.probes:
        probe.problem_begins(problem)
    try:
        stage = bench.stage(problem, seed)
    except Exception as error:  # operands that do not fit, say: every cell tells why
        for contender in contenders:
            contender.fails(error)
    else:
        try:
            _Loop(contenders, bench, settings, Admission(stage, bench, settings, roofline)).run(seed, energy)
        finally:
            stage.close()
    return to_records(contenders, bench, target.record, roofline)


def measure_canaries(target: Target, position: Position, bench: Bench | None = None) -> list[CanaryRecord]:
    """A copy that exceeds the last cache, and one dense product per precision that the device has."""
    bench = bench or benches.of(target)
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

    def run(self, seed: int, energy: bool) -> None:
        """The whole story."""
        for contender in sorted(self._contenders, key=lambda each: each.name != "bmm"):
            with self._turn(contender):
                self._admission.admit(contender)
        self._warm_up()
        self._race(random.Random(seed))
        if energy:
            measure_energy(self._contenders, self._bench, self._settings)
        for contender in self._racing():
            with self._turn(contender):
                self._admission.check_again(contender)

    @contextmanager
    def _turn(self, contender: Contender) -> Iterator[None]:
        """What fails inside costs this cell alone, unless the device is lost with it."""
        with contender.surviving():
            yield
        if contender.status == "crashed" and not self._bench.healthy():
            raise MeasurementError(f"the device no longer answers after {contender.name}: {contender.reason}")

    def _warm_up(self) -> None:
        """Launch each one until caches, clocks and lazy libraries have settled; nothing is kept."""
        racing = self._racing()
        for contender in racing:
            launches = self._launches(contender, self._settings.warm_up_ms / len(racing))
            with self._turn(contender), self._bench.busy():
                visit = self._bench.timer.visit(contender.work, launches)
                contender.estimate_ms = statistics.median(visit.samples_ms)

    def _race(self, randomness: random.Random) -> None:
        """ABBA rounds: every order is visited forwards and then backwards, so that drift hits all alike."""
        begin_s, turn = self._bench.now_s(), 0
        while field := self._field():
            randomness.shuffle(field)
            for contender in (*field, *reversed(field)):
                self._visit(contender, turn)
            for contender in self._unfinished():
                contender.judge(self._best_ms(), self._bench.timer.tick_ms)
            turn += 1
            if 1e3 * (self._bench.now_s() - begin_s) >= self._settings.problem_cap_ms:
                for contender in self._unfinished():
                    contender.gives_up(self._bench.timer.tick_ms)

    def _racing(self) -> list[Contender]:
        return [contender for contender in self._contenders if contender.racing]

    def _unfinished(self) -> list[Contender]:
        return [contender for contender in self._racing() if contender.status is None]

    def _field(self) -> list[Contender]:
        """Who is visited in the next round: the unfinished, and `fused` beside them for the ratios."""
        unfinished = self._unfinished()
        beside = [each for each in self._racing() if each.name == REFERENCE and each.can_go_on]
        return unfinished + beside if unfinished else []

    def _visit(self, contender: Contender, turn: int) -> None:
        if not contender.racing:
            return  # it failed in this very round
        begin_s = self._bench.now_s()
        launches = self._launches(contender, self._settings.visit_ms)
        if contender.is_slow(self._best_ms()):
            launches = min(launches, SLOW_VISIT_LAUNCHES)
        with self._turn(contender), self._bench.busy():
            for probe in self._bench.probes:
                probe.visit_begins(contender.name)
            visit = self._bench.timer.visit(contender.work, launches)
            for probe in self._bench.probes:
                probe.visit_ends(contender.name)
            contender.takes(visit, turn, 1e3 * (self._bench.now_s() - begin_s))

    def _launches(self, contender: Contender, visit_ms: float) -> int:
        wanted = round(visit_ms / max(contender.estimate_ms, 1e-6))
        return min(max(wanted, 1), self._settings.visit_launches)

    def _best_ms(self) -> float:
        return min(contender.estimate_ms for contender in self._racing())
