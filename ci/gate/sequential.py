"""The story of a gate: measure every cell, ask again where something may have moved, tell what stands.

    one pair of processes, all cells  ->  suspected or unclear  ->  fresh pairs for those  ->  verdicts

A change is told only when pairs measured after it was suspected say the same: what was measured first
chose it, so it cannot also vouch for it. ci/README.md says the rule in words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal, Protocol

from kswatch.ci.gate.cell import Cell, CellVerdict, Key
from kswatch.ci.gate.estimators import stand
from kswatch.db.paired_runs.paired_record import BrokenRevision, PairedReading
from kswatch.db.records import ProblemKey, RevisionRecord

Cells = Mapping[ProblemKey, Sequence[str]]
Outcome = Literal["nothing changed", "measured", "broken", "nothing measured"]


class Session(Protocol):
    """Two revisions that can be measured in turns; the profiler's side of a gate."""

    base: RevisionRecord
    head: RevisionRecord
    changed: tuple[str, ...]
    cells: dict[ProblemKey, tuple[str, ...]]
    device: str
    notes: tuple[str, ...]
    runs: dict[str, int]
    budget_s: float

    def readings(
        self, cells: Cells, rounds: int, swapped: bool = False
    ) -> Iterator[PairedReading | BrokenRevision]:
        """Each cell once, by a fresh pair of processes."""
        ...


@dataclass(frozen=True)
class Care:
    """How carefully a gate decides."""

    floor: float = 0.02
    """The smallest relative change that is called faster or slower."""
    rounds: int = 12
    """ABBA rounds of one cell by one pair of processes."""
    suspicion_rate: float = 0.05
    """Cells are asked again on what stands at this rate when all are looked at together."""
    confirmation_rate: float = 0.01
    """A suspected change is told when it stands at this rate in pairs measured since."""
    confirming_pairs: int = 4
    most_pairs: int = 10
    """After so many pairs what is still unclear is told as ambiguous."""
    budget_s: float = 600.0


@dataclass(frozen=True)
class GateResult:
    """What is to be said of two revisions."""

    base: RevisionRecord
    head: RevisionRecord
    outcome: Outcome
    device: str = ""
    changed: tuple[str, ...] = ()
    verdicts: tuple[CellVerdict, ...] = ()
    broken: BrokenRevision | None = None
    notes: tuple[str, ...] = ()
    runs: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def regressions(self) -> list[CellVerdict]:
        """Confirmed ones, the worst first: wrong or lost results, then slower ones."""
        found = [one for one in self.verdicts if one.regressed]
        return sorted(found, key=lambda one: (one.verdict == "slower", -(one.change or 0.0)))

    @property
    def exit_code(self) -> int:
        """0 fine, 1 a regression or an incorrect result, 3 could not measure."""
        if self.regressions:
            return 1
        return 3 if self.outcome in ("broken", "nothing measured") else 0


def decide(session: Session, care: Care, clock: Callable[[], float] = time.monotonic) -> GateResult:
    """Compare two revisions, as often as it takes and the budget allows.

    Raises:
        MeasurementError: the device was lost.
    """
    began_s = clock()
    if not session.cells:
        return GateResult(
            session.base, session.head, "nothing changed", changed=session.changed, notes=session.notes
        )
    judging = _Judging(session, care, lambda: care.budget_s - (clock() - began_s))
    broken = judging.run()
    verdicts = tuple(one.verdict(care) for one in judging.cells.values())
    measured = any(one.verdict is not None or one.regressed for one in verdicts)
    return GateResult(
        session.base,
        session.head,
        "broken" if broken else "measured" if measured else "nothing measured",
        session.device,
        session.changed,
        verdicts,
        broken,
        session.notes,
        dict(session.runs),
        clock() - began_s,
    )


class _Judging:
    """Cells, with what is known of each so far."""

    def __init__(self, session: Session, care: Care, left_s: Callable[[], float]) -> None:
        self._session, self._care, self._left_s = session, care, left_s
        self.cells: dict[Key, Cell] = {
            (problem, name): Cell(problem, name) for problem, names in session.cells.items() for name in names
        }

    def run(self) -> BrokenRevision | None:
        """Ask for pairs until every cell is settled, or time or patience is over."""
        for pair in range(self._care.most_pairs + 1):
            waiting = self._waiting()
            if not waiting or self._left_s() <= 0:
                break
            if broken := self._ask(waiting, swapped=pair % 2 == 1):
                return broken
            self._suspect()
            self._confirm()
        return None

    def _waiting(self) -> list[Cell]:
        """What is suspected alone, while there is any: it decides the gate; then what is unclear.

        Once a regression is confirmed nothing unclear can change the answer.
        """
        open_cells = [one for one in self.cells.values() if not one.settled]
        suspected = [one for one in open_cells if one.suspected or one.lost]
        decided = any(one.confirmed and one.suspected != "faster" for one in self.cells.values())
        return suspected or ([] if decided else open_cells)

    def _ask(self, waiting: Sequence[Cell], swapped: bool) -> BrokenRevision | None:
        by_problem: dict[ProblemKey, list[str]] = {}
        for one in waiting:
            by_problem.setdefault(one.problem, []).append(one.implementation)
        # a generator that is left early must end its processes now, not when it is collected
        with closing(self._session.readings(by_problem, self._care.rounds, swapped)) as readings:  # type: ignore[type-var]
            for reading in readings:
                if isinstance(reading, BrokenRevision):
                    return reading
                self.cells[reading.problem, reading.implementation].takes(reading)
                if self._left_s() <= 0:
                    break
        return None

    def _suspect(self) -> None:
        """What stands among all cells is suspected; what is surely no change that matters is settled."""
        known = [(one, one.pooled) for one in self.cells.values() if one.pooled and not one.suspected]
        stands = stand([each.p_value for _, each in known], self._care.suspicion_rate)
        for (one, pooled), significant in zip(known, stands, strict=True):
            if significant and pooled.beyond(self._care.floor):
                one.suspects("slower" if pooled.change > 0 else "faster")
            elif pooled.within(self._care.floor):
                one.settled = True

    def _confirm(self) -> None:
        care = self._care
        ready = [one for one in self.cells.values() if one.suspected and one.since >= care.confirming_pairs]
        told = [(one, each) for one in ready if (each := one.confirming)]
        stands = stand([each.p_value for _, each in told], care.confirmation_rate)
        for (one, each), significant in zip(told, stands, strict=True):
            as_suspected = (each.change > 0) == (one.suspected == "slower")
            if significant and as_suspected and each.beyond(care.floor) and one.clock_agrees(care.floor):
                one.confirmed = one.settled = True
            elif each.within(care.floor):
                one.settled = True
