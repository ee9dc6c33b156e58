"""Two revisions of the kernels on one device, in turns: what `kswatch gate` and `bisect` measure with.

Each revision has a process of its own, so that a crash takes one cell and nothing of one leaks into the
other. The coordinator drives them visit by visit in ABBA rounds, never both at once. Processes differ by
chance (where memory lies, above all), so whoever judges asks for several pairs of fresh ones.
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
from kswatch.db.records import MeasurementRecord, ProblemKey, RevisionRecord
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.ab_runs.protocol import Broken, MakeVisit, SetUp, Standing, TakeDown
from kswatch.profiler.ab_runs.worker import RevisionProcess
from kswatch.profiler.empty_records import unmeasured
from kswatch.profiler.executors.base import Place
from kswatch.profiler.settings import MeasureSettings

SIDES = (BASE, HEAD)
TIMEOUT_S = 300.0
"""Longest wait for one answer: setting a problem up may build a GPU's kernels, which takes minutes."""
FEW_LAUNCHES, FEW_LAUNCHES_MS = 8, 60.0
"""A visit makes so many launches or more, if they take no longer than that: some find the machine at rest."""


@dataclass(frozen=True)
class Compared:
    """What is compared, and where."""

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
    """Of the environment of both processes, beside what is inherited."""

    def revision(self, side: str) -> RevisionRecord:
        """That of `base` or `head`."""
        return self.base if side == "base" else self.head


class Pair:
    """A fresh process of each revision; use it as a context."""

    def __init__(self, compared: Compared, swapped: bool = False) -> None:
        """Start both.

        Args:
            compared: Revisions and device.
            swapped: Whether the head is started first and opens the first round.
        """
        self._compared = compared
        self._swapped = swapped
        self._order = SIDES[::-1] if swapped else SIDES
        self._sides: dict[str, RevisionProcess] = {}

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def begin(self) -> Place | BrokenRevision:
        """Where both measure; or the revision that cannot be used, and why.

        Raises:
            Stopped: the gate was asked to stop meanwhile.
        """
        one, place = self._compared, None
        for side in self._order:
            folder = one.folders[SIDES.index(side)]
            process = RevisionProcess(
                folder, one.device, one.implementations, one.timeout_s, one.stop, one.variables
            )
            self._sides[side] = process
            begun = process.begun()
            if isinstance(begun, Broken):
                self.close()
                return BrokenRevision(side, one.revision(side).commit, begun.reason, begun.log)
            place = begun
        assert place is not None
        return place

    def close(self) -> None:
        """End both."""
        for process in self._sides.values():
            process.close()
        self._sides.clear()

    def measure(
        self, problem: ProblemKey, implementations: Sequence[str], rounds: int, seed: int = 0
    ) -> list[PairedReading]:
        """A reading of each cell of a problem, whatever becomes of it.

        A process that dies is replaced; where it is not known which cell is to blame, each is measured alone.
        """
        if not self._revived():
            gone = {name: "its process could not be started again" for name in implementations}
            return [self._reading(problem, name, {}, gone, ()) for name in implementations]
        standings, lost = self._set_up(problem, implementations, seed)
        if lost and len(implementations) > 1:
            return [one for name in implementations for one in self.measure(problem, [name], rounds, seed)]
        racing = [name for name in implementations if _may_race(standings, name)]
        levels: dict[str, list[float]] = {name: [] for name in racing}
        if not lost:
            self._race(racing, standings, rounds, random.Random(seed), levels)
        records = {side: self._take_down(side) for side in self._order}
        return [
            self._reading(problem, name, records, lost, tuple(levels.get(name, ())))
            for name in implementations
        ]

    def _revived(self) -> bool:
        if all(side in self._sides and self._sides[side].alive for side in SIDES):
            return True
        self.close()
        return isinstance(self.begin(), Place)

    def _set_up(
        self, problem: ProblemKey, implementations: Sequence[str], seed: int
    ) -> tuple[dict[str, dict[str, Standing]], dict[str, str]]:
        """Each side's standings by implementation; and by side why there are none."""
        asked = SetUp(problem, tuple(implementations), seed, self._compared.settings)
        standings: dict[str, dict[str, Standing]] = {side: {} for side in SIDES}
        lost = {}
        for side in self._order:
            answer = self._sides[side].ask(asked)
            if isinstance(answer, Broken):
                lost[side] = answer.reason
            else:
                standings[side] = {one.implementation: one for one in answer}
        return standings, lost

    def _race(
        self,
        racing: list[str],
        standings: Mapping[str, Mapping[str, Standing]],
        rounds: int,
        randomness: random.Random,
        levels: dict[str, list[float]],
    ) -> None:
        """ABBA rounds; a linear drift within a round cancels in its ratio."""
        launches = {name: self._launches(standings, name) for name in racing}
        for name in racing:
            for side in self._order:
                self._sides[side].ask(MakeVisit(name, max(2, launches[name]), -1, sampled=False))
        for turn in range(rounds):
            randomness.shuffle(racing)
            first, second = self._order if turn % 2 == 0 else self._order[::-1]
            for name in racing:
                times: dict[str, list[float]] = {side: [] for side in SIDES}
                for side in (first, second, second, first):
                    answer = self._sides[side].ask(MakeVisit(name, launches[name], turn))
                    times[side] += () if isinstance(answer, Broken) else answer
                if len(times["base"]) == len(times["head"]) == 2 * launches[name]:
                    levels[name].append(_level(times["head"]) / _level(times["base"]))

    def _launches(self, standings: Mapping[str, Mapping[str, Standing]], name: str) -> int:
        """As many for both: the first launches of a visit are slower, which must weigh alike."""
        estimate_ms = max(standings[side][name].estimate_ms for side in SIDES)
        settings = self._compared.settings
        wanted = round(settings.visit_ms / max(estimate_ms, 1e-6))
        few = min(FEW_LAUNCHES, round(FEW_LAUNCHES_MS / max(estimate_ms, 1e-6)))
        return min(max(wanted, few, 2), settings.visit_launches)

    def _take_down(self, side: str) -> dict[str, MeasurementRecord] | str:
        answer = self._sides[side].ask(TakeDown())
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
        found: dict[str, Any] = {}
        for side in SIDES:
            known = records.get(side, "its process was lost")
            if isinstance(known, str) or name not in known:
                reason = (
                    lost.get(side) or lost.get(name) or (known if isinstance(known, str) else "no record")
                )
                found[side] = unmeasured(_problem(problem), name, "crashed", reason)
            else:
                found[side] = known[name]
        return PairedReading(problem, name, found["base"], found["head"], ratios)


def _level(samples_ms: Sequence[float]) -> float:
    """The lower quartile of a round's launches: whatever disturbs a launch makes it slower, never faster."""
    return statistics.quantiles(samples_ms, n=4, method="inclusive")[0]


def _may_race(standings: Mapping[str, Mapping[str, Standing]], name: str) -> bool:
    return all(name in standings[side] and standings[side][name].status is None for side in SIDES)


def _problem(key: ProblemKey) -> Problem:
    return Problem(Pattern(key.a, key.b, key.c, key.d), key.batch, key.precision, key.layout)  # type: ignore[arg-type]
