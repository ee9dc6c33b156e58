"""Two revisions of the kernels on one device, measured alternately: the basis of `kswatch gate` and `bisect`.

Each revision has a process of its own, so that a crash costs one cell and neither affects the other. The
coordinator drives them visit by visit in ABBA rounds, never both at once. Processes differ by chance (in
memory addresses, above all), so a judgement needs several pairs of fresh ones.
"""

from __future__ import annotations

import random
import statistics
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kswatch.db.paired_runs.paired_record import BASE, HEAD, BrokenRevision, PairedReading
from kswatch.db.records import MeasurementRecord, ProblemKey, RevisionRecord
from kswatch.profiler.ab_runs.protocol import Broken, CellState, MakeVisit, SetUp, TakeDown
from kswatch.profiler.ab_runs.worker import RevisionProcess
from kswatch.profiler.empty_records import empty_record, problem_of
from kswatch.profiler.executors.base import MeasurementSite
from kswatch.profiler.settings import MeasureSettings

SIDES = (BASE, HEAD)
TIMEOUT_S = 300.0
"""Longest wait for one answer: setting a problem up may build a GPU's kernels, which takes minutes."""
FEW_LAUNCHES, FEW_LAUNCHES_MS = 8, 60.0
"""Fewest launches of a visit, unless they take longer than that: some of them meet an undisturbed machine."""

CellStates = Mapping[str, Mapping[str, CellState]]
"""By side and implementation."""


@dataclass(frozen=True)
class PairSetup:
    """The revisions that are compared, and where."""

    base: RevisionRecord
    head: RevisionRecord
    folders: tuple[Path, ...]
    """Of base and head: each holds the `kernels/` of its revision."""
    device: str
    implementations: tuple[str, ...]
    settings: MeasureSettings = MeasureSettings()
    stop: threading.Event = field(default_factory=threading.Event)
    timeout_s: float = TIMEOUT_S
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the environment of both processes, beside the inherited ones."""

    def commit(self, side: str) -> str:
        """The commit of `base` or `head`."""
        return (self.base if side == BASE else self.head).commit


class ProcessPair:
    """A fresh process of each revision; use it as a context."""

    def __init__(self, setup: PairSetup, swapped: bool = False) -> None:
        """Start nothing yet.

        Args:
            setup: Revisions and device.
            swapped: Whether the head is started first and opens the first round.
        """
        self._setup = setup
        self._order = SIDES[::-1] if swapped else SIDES
        self._sides: dict[str, RevisionProcess] = {}

    def __enter__(self) -> ProcessPair:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> MeasurementSite | BrokenRevision:
        """The device and environment of both processes; or the revision that cannot be used.

        Raises:
            Stopped: the A/B run was asked to stop meanwhile.
        """
        setup, site = self._setup, None
        for side in self._order:
            folder = setup.folders[SIDES.index(side)]
            process = RevisionProcess(
                folder, setup.device, setup.implementations, setup.timeout_s, setup.stop, setup.variables
            )
            self._sides[side] = process
            ready = process.wait_until_ready()
            if isinstance(ready, Broken):
                self.close()
                return BrokenRevision(side, setup.commit(side), ready.reason, ready.log)
            site = ready
        assert site is not None
        return site

    def close(self) -> None:
        """End both."""
        for process in self._sides.values():
            process.close()
        self._sides.clear()

    def measure(
        self, problem: ProblemKey, implementations: Sequence[str], rounds: int, seed: int = 0
    ) -> list[PairedReading]:
        """A reading of each cell of a problem, failed ones included.

        A process that dies is replaced; where it is not known which cell killed it, each is measured alone.
        """
        if not self._restarted():
            lost = {side: "its process could not be started again" for side in SIDES}
            return [self._reading(problem, name, {}, lost, ()) for name in implementations]
        states, lost = self._set_up(problem, implementations, seed)
        if lost and len(implementations) > 1:
            return [one for name in implementations for one in self.measure(problem, [name], rounds, seed)]
        active = [name for name in implementations if _is_active(states, name)]
        ratios: dict[str, list[float]] = {name: [] for name in active}
        if not lost:
            self._interleave(active, states, rounds, random.Random(seed), ratios)
        records = {side: self._take_down(side) for side in self._order}
        return [
            self._reading(problem, name, records, lost, tuple(ratios.get(name, ())))
            for name in implementations
        ]

    def _restarted(self) -> bool:
        """Whether both processes run, started again where one died."""
        if all(side in self._sides and self._sides[side].is_running for side in SIDES):
            return True
        self.close()
        return isinstance(self.start(), MeasurementSite)

    def _set_up(
        self, problem: ProblemKey, implementations: Sequence[str], seed: int
    ) -> tuple[CellStates, dict[str, str]]:
        """Each side's cells; and by side the reason why there are none."""
        command = SetUp(problem, tuple(implementations), seed, self._setup.settings)
        states: dict[str, dict[str, CellState]] = {side: {} for side in SIDES}
        lost = {}
        for side in self._order:
            answer = self._sides[side].execute(command)
            if isinstance(answer, Broken):
                lost[side] = answer.reason
            else:
                states[side] = {one.implementation: one for one in answer}
        return states, lost

    def _interleave(
        self,
        active: list[str],
        states: CellStates,
        rounds: int,
        randomness: random.Random,
        ratios: Mapping[str, list[float]],
    ) -> None:
        """Visit in ABBA rounds and add the ratio of each; a linear drift within a round cancels in it."""
        launches = {name: self._launches(states, name) for name in active}
        for name in active:
            for side in self._order:
                self._sides[side].execute(MakeVisit(name, max(2, launches[name]), -1, sampled=False))
        for turn in range(rounds):
            randomness.shuffle(active)
            first, second = self._order if turn % 2 == 0 else self._order[::-1]
            for name in active:
                times: dict[str, list[float]] = {side: [] for side in SIDES}
                for side in (first, second, second, first):
                    answer = self._sides[side].execute(MakeVisit(name, launches[name], turn))
                    times[side] += () if isinstance(answer, Broken) else answer
                if len(times[BASE]) == len(times[HEAD]) == 2 * launches[name]:
                    ratios[name].append(_level(times[HEAD]) / _level(times[BASE]))

    def _launches(self, states: CellStates, name: str) -> int:
        """As many for both: the first launches of a visit are slower, which must weigh alike."""
        estimate_ms = max(states[side][name].estimate_ms for side in SIDES)
        settings = self._setup.settings
        wanted = round(settings.visit_ms / max(estimate_ms, 1e-6))
        few = min(FEW_LAUNCHES, round(FEW_LAUNCHES_MS / max(estimate_ms, 1e-6)))
        return min(max(wanted, few, 2), settings.visit_launches)

    def _take_down(self, side: str) -> dict[str, MeasurementRecord] | str:
        """Records by implementation, or the reason why there are none."""
        answer = self._sides[side].execute(TakeDown())
        if isinstance(answer, Broken):
            return answer.reason
        return {record.implementation: record for record in answer}

    def _reading(
        self,
        problem: ProblemKey,
        name: str,
        records: Mapping[str, dict[str, MeasurementRecord] | str],
        lost: Mapping[str, str],
        ratios: tuple[float, ...],
    ) -> PairedReading:
        found: dict[str, MeasurementRecord] = {}
        for side in SIDES:
            known = records.get(side, "its process was lost")
            if isinstance(known, str) or name not in known:
                reason = lost.get(side) or (known if isinstance(known, str) else "no record")
                found[side] = empty_record(problem_of(problem), name, "crashed", reason)
            else:
                found[side] = known[name]
        return PairedReading(problem, name, found[BASE], found[HEAD], ratios)


def _level(samples_ms: Sequence[float]) -> float:
    """The lower quartile of a round's launches: a disturbance makes a launch slower, never faster."""
    return statistics.quantiles(samples_ms, n=4, method="inclusive")[0]


def _is_active(states: CellStates, name: str) -> bool:
    return all(name in states[side] and states[side][name].status is None for side in SIDES)
