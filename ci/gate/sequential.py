"""The sequential test of a gate: measure every cell once, then repeat those that may have changed.

    one pair of processes, all cells  ->  suspected or unclear  ->  fresh pairs for those  ->  verdicts

A change is confirmed only by pairs measured after it was suspected: the first pair selected it, so it would
be a biased sample. ci/README.md describes the whole procedure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from kswatch.ci.gate.cell import GateCell, GateCellKey, GateConfig
from kswatch.db.gates.records import CellVerdict
from kswatch.db.paired_runs.paired_record import BrokenRevision, PairedReading
from kswatch.db.records import ProblemKey, RevisionRecord
from kswatch.db.statistics import benjamini_hochberg

CellSelection = Mapping[ProblemKey, Sequence[str]]
GateOutcome = Literal["nothing changed", "measured", "broken", "nothing measured"]


class PairedSession(Protocol):
    """Two revisions whose measurements interleave; implemented by the profiler."""

    base: RevisionRecord
    head: RevisionRecord
    cells: dict[ProblemKey, tuple[str, ...]]
    device: str
    notes: tuple[str, ...]
    budget_s: float
    runs: dict[str, int]
    """By side: the run that records it, where there is a store."""

    def readings(
        self, cells: CellSelection, rounds: int, swapped: bool = False
    ) -> Iterator[PairedReading | BrokenRevision]:
        """Measure each cell once, by a fresh pair of processes."""
        ...


@dataclass(frozen=True)
class GateResult:
    """The comparison of two revisions."""

    base: RevisionRecord
    head: RevisionRecord
    outcome: GateOutcome
    device: str = ""
    verdicts: tuple[CellVerdict, ...] = ()
    broken: BrokenRevision | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def regressions(self) -> list[CellVerdict]:
        """Confirmed regressions, the worst first: incorrect or lost results, then slower cells."""
        found = [one for one in self.verdicts if one.regressed]
        return sorted(found, key=lambda one: (one.verdict == "slower", -(one.change or 0.0)))

    @property
    def exit_code(self) -> int:
        """1 on a regression or an incorrect result, 3 where nothing could be measured, else 0."""
        if self.regressions:
            return 1
        return 3 if self.outcome in ("broken", "nothing measured") else 0


def compare_revisions(
    session: PairedSession,
    config: GateConfig,
    clock: Callable[[], float] = time.monotonic,
    on_reading: Callable[[], object] = lambda: None,
) -> GateResult:
    """Compare two revisions until every cell is settled or the budget is spent.

    `on_reading` is called after each measurement of a cell: this process goes on.

    Raises:
        MeasurementError: the device was lost.
    """
    started_s = clock()
    result = GateResult(session.base, session.head, "nothing changed", notes=session.notes)
    if not session.cells:
        return result
    test = _SequentialTest(session, config, lambda: config.budget_s - (clock() - started_s), on_reading)
    broken = test.run()
    verdicts = tuple(cell.verdict(config) for cell in test.cells.values())
    measured = any(one.verdict is not None or one.regressed for one in verdicts)
    return replace(
        result,
        outcome="broken" if broken else "measured" if measured else "nothing measured",
        device=session.device,
        verdicts=verdicts,
        broken=broken,
        seconds=clock() - started_s,
    )


class _SequentialTest:
    """The cells of a gate, measured in passes."""

    def __init__(
        self,
        session: PairedSession,
        config: GateConfig,
        left_s: Callable[[], float],
        on_reading: Callable[[], object],
    ) -> None:
        self._session, self._config, self._left_s, self._on_reading = session, config, left_s, on_reading
        self.cells: dict[GateCellKey, GateCell] = {
            (problem, name): GateCell(problem, name)
            for problem, names in session.cells.items()
            for name in names
        }

    def run(self) -> BrokenRevision | None:
        """Measure pairs until every cell is settled, or the budget or the number of pairs is spent."""
        for pair in range(self._config.most_pairs + 1):
            waiting = self._waiting()
            if not waiting or self._left_s() <= 0:
                break
            if broken := self._measure(waiting, swapped=pair % 2 == 1):
                return broken
            self._suspect()
            self._confirm()
        return None

    def _waiting(self) -> list[GateCell]:
        """The suspected cells, which decide the gate; where there are none, all open cells.

        Once a regression is confirmed, an unclear cell cannot change the result.
        """
        open_cells = [cell for cell in self.cells.values() if not cell.settled]
        suspected = [cell for cell in open_cells if cell.suspected or cell.lost]
        decided = any(cell.confirmed and cell.suspected != "faster" for cell in self.cells.values())
        return suspected or ([] if decided else open_cells)

    def _measure(self, waiting: Sequence[GateCell], swapped: bool) -> BrokenRevision | None:
        by_problem: dict[ProblemKey, list[str]] = {}
        for cell in waiting:
            by_problem.setdefault(cell.problem, []).append(cell.implementation)
        # closing: a generator that is left early must end its processes now, not when it is collected
        with closing(self._session.readings(by_problem, self._config.rounds, swapped)) as readings:  # type: ignore[type-var]
            for reading in readings:
                self._on_reading()
                if isinstance(reading, BrokenRevision):
                    return reading
                self.cells[reading.problem, reading.implementation].add_reading(reading)
                if self._left_s() <= 0:
                    break
        return None

    def _suspect(self) -> None:
        """Suspect the cells that changed significantly; settle those whose interval lies within the floor."""
        known = [(cell, cell.pooled) for cell in self.cells.values() if cell.pooled and not cell.suspected]
        significant = benjamini_hochberg([each.p_value for _, each in known], self._config.suspicion_rate)
        for (cell, estimate), is_significant in zip(known, significant, strict=True):
            if is_significant and estimate.beyond(self._config.floor):
                cell.mark_suspected("slower" if estimate.change > 0 else "faster")
            elif estimate.within(self._config.floor):
                cell.settled = True

    def _confirm(self) -> None:
        """Confirm suspected cells whose new pairs agree; settle those with an interval within the floor."""
        config = self._config
        enough = [
            cell for cell in self.cells.values() if cell.pairs_since_suspicion >= config.confirming_pairs
        ]
        known = [(cell, estimate) for cell in enough if (estimate := cell.confirming)]
        significant = benjamini_hochberg([each.p_value for _, each in known], config.confirmation_rate)
        for (cell, estimate), is_significant in zip(known, significant, strict=True):
            as_suspected = (estimate.change > 0) == (cell.suspected == "slower")
            matters = estimate.beyond(config.floor) and cell.clock_agrees(config.floor)
            if is_significant and as_suspected and matters:
                cell.confirmed = cell.settled = True
            elif estimate.within(config.floor):
                cell.settled = True
