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
from typing import Any

from kswatch.db.paired_runs.paired_record import BASE, HEAD, BrokenRevision, PairedReading
from kswatch.db.records import MeasurementRecord, ProblemKey
from kswatch.profiler.ab_runs.protocol import Broken, MakeVisit, RevisionCommand, SetUp, TakeDown
from kswatch.profiler.child_process import ChildLostError, ChildProcess
from kswatch.profiler.empty_records import empty_record, problem_of
from kswatch.profiler.executors.base import MeasurementSite
from kswatch.profiler.settings import MeasureSettings

SIDES = (BASE, HEAD)
TIMEOUT_S = 300.0
"""Longest wait for one answer: setting a problem up may build a GPU's kernels, which takes minutes."""
BUILD_TIMEOUT_S = 1200.0
"""Longest wait for a revision to be built: a compiler that competes for the CPU is no broken revision. The
compiler's own limit is shorter (kernels/fused/cpu_twin/build.py), so that its message is the one reported."""
FEW_LAUNCHES, FEW_LAUNCHES_MS = 8, 60.0
"""Fewest launches of a visit, unless they take longer than that: some of them meet an undisturbed machine."""

Estimates = Mapping[str, Mapping[str, float]]
"""Latency in ms by side and implementation, of those that may be visited."""


@dataclass(frozen=True)
class PairSetup:
    """The revisions that are compared, and where."""

    commits: tuple[str, str]
    """Of base and head."""
    folders: tuple[Path, ...]
    """The same: each holds the `kernels/` of its revision."""
    device: str
    implementations: tuple[str, ...]
    settings: MeasureSettings = MeasureSettings()
    stop: threading.Event = field(default_factory=threading.Event)
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the environment of both processes, beside the inherited ones."""


class RevisionProcess(ChildProcess):
    """One revision's kernels in a process of their own; used by one thread."""

    def __init__(self, setup: PairSetup, side: str) -> None:
        """Start it: it imports the kernels, and builds `fused` ahead if it is measured."""
        arguments = (str(setup.folders[SIDES.index(side)]), setup.device, ",".join(setup.implementations))
        module = "kswatch.profiler.ab_runs.worker_main"
        super().__init__(module, arguments, setup.stop, variables=setup.variables, options=("-B",))

    def execute(self, command: RevisionCommand | None) -> Any:  # noqa: ANN401  (see protocol.py)
        """The answer to a command, or `Broken` where the process died, hung or raised; None awaits the start.

        Raises:
            Stopped: the A/B run was asked to stop meanwhile.
        """
        try:
            if command is None:
                return self.receive(BUILD_TIMEOUT_S)
            self.send(command)
            return self.receive(TIMEOUT_S)
        except ChildLostError as error:
            return Broken(str(error))


class ProcessPair:
    """A fresh process of each revision; to be closed."""

    def __init__(self, setup: PairSetup, swapped: bool = False) -> None:
        """Start nothing yet; the head is started first, and opens the first round, where they are swapped."""
        self._setup = setup
        self._order = SIDES[::-1] if swapped else SIDES
        self._sides: dict[str, RevisionProcess] = {}

    def start(self) -> MeasurementSite | BrokenRevision:
        """The device and environment of both processes; or the revision that cannot be used.

        Raises:
            Stopped: the A/B run was asked to stop meanwhile.
        """
        for side in self._order:
            self._sides[side] = RevisionProcess(self._setup, side)
            ready = self._sides[side].execute(None)
            if isinstance(ready, Broken):
                self.close()
                commit = self._setup.commits[SIDES.index(side)]
                return BrokenRevision(side, commit, ready.reason, ready.log)
            site: MeasurementSite = ready
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
            return [_reading(problem, name, {}, lost, ()) for name in implementations]
        estimates, lost = self._set_up(problem, implementations, seed)
        if lost and len(implementations) > 1:
            return [one for name in implementations for one in self.measure(problem, [name], rounds, seed)]
        active = [name for name in implementations if all(name in estimates[side] for side in SIDES)]
        ratios: dict[str, list[float]] = {name: [] for name in active}
        if not lost:
            self._interleave(active, estimates, rounds, random.Random(seed), ratios)
        records: dict[str, dict[str, MeasurementRecord]] = {}
        for side in self._order:
            answer = self._sides[side].execute(TakeDown())
            if isinstance(answer, Broken):
                lost.setdefault(side, answer.reason)
            else:
                records[side] = {record.implementation: record for record in answer}
        return [_reading(problem, name, records, lost, ratios.get(name, ())) for name in implementations]

    def _restarted(self) -> bool:
        """Whether both processes run, started again where one died."""
        if all(side in self._sides and self._sides[side].is_running for side in SIDES):
            return True
        self.close()
        return isinstance(self.start(), MeasurementSite)

    def _set_up(
        self, problem: ProblemKey, implementations: Sequence[str], seed: int
    ) -> tuple[Estimates, dict[str, str]]:
        """Each side's estimates; and by side the reason why there are none."""
        command = SetUp(problem, tuple(implementations), seed, self._setup.settings)
        estimates: dict[str, dict[str, float]] = {side: {} for side in SIDES}
        lost = {}
        for side in self._order:
            answer = self._sides[side].execute(command)
            if isinstance(answer, Broken):
                lost[side] = answer.reason
            else:
                estimates[side] = answer
        return estimates, lost

    def _interleave(
        self,
        active: list[str],
        estimates: Estimates,
        rounds: int,
        randomness: random.Random,
        ratios: Mapping[str, list[float]],
    ) -> None:
        """Visit in ABBA rounds and add the ratio of each; a linear drift within a round cancels in it."""
        launches = {name: self._launches(max(estimates[side][name] for side in SIDES)) for name in active}
        for name in active:
            for side in self._order:
                self._sides[side].execute(MakeVisit(name, max(2, launches[name]), None))
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

    def _launches(self, estimate_ms: float) -> int:
        """As many for both: the first launches of a visit are slower, which must weigh alike."""
        settings = self._setup.settings
        wanted = round(settings.visit_ms / max(estimate_ms, 1e-6))
        few = min(FEW_LAUNCHES, round(FEW_LAUNCHES_MS / max(estimate_ms, 1e-6)))
        return min(max(wanted, few, 2), settings.visit_launches)


def _reading(
    problem: ProblemKey,
    name: str,
    records: Mapping[str, Mapping[str, MeasurementRecord]],
    lost: Mapping[str, str],
    ratios: Sequence[float],
) -> PairedReading:
    """The reading of one cell; a side without its record has crashed, for the reason in `lost`."""
    base, head = (
        records.get(side, {}).get(name)
        or empty_record(problem_of(problem), name, "crashed", lost.get(side, "no record"))
        for side in SIDES
    )
    return PairedReading(problem, name, base, head, tuple(ratios))


def _level(samples_ms: Sequence[float]) -> float:
    """The lower quartile of a round's launches: a disturbance makes a launch slower, never faster."""
    return statistics.quantiles(samples_ms, n=4, method="inclusive")[0]
