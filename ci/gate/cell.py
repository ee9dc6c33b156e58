"""One cell of a gate: its readings by fresh pairs of processes, and the verdict that follows from them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from kswatch.ci.gate.estimators import GateEstimate, estimate_from_pairs, estimate_from_rounds
from kswatch.db.gates.records import CellVerdict, GateVerdict
from kswatch.db.paired_runs.paired_record import PairedReading
from kswatch.db.records import COMPARABLE, MeasurementRecord, ProblemKey

GateCellKey = tuple[ProblemKey, str]
CONFIRMED_LOSSES = 2
"""Pairs of processes in which the head must lose a result before the loss is confirmed."""


@dataclass(frozen=True)
class GateConfig:
    """How much evidence a gate demands, and how much it may measure."""

    floor: float = 0.02
    """The smallest relative change that is called faster or slower."""
    rounds: int = 12
    """ABBA rounds of one cell by one pair of processes."""
    suspicion_rate: float = 0.05
    """False-discovery rate at which cells are suspected, all cells together."""
    confirmation_rate: float = 0.01
    """False-discovery rate at which the pairs measured since confirm a suspected change."""
    confirming_pairs: int = 4
    most_pairs: int = 10
    """Pairs of processes after which an undecided cell is reported as ambiguous."""
    budget_s: float = 600.0


class GateCell:
    """The readings of one cell so far, and its state: open, suspected, confirmed or settled."""

    def __init__(self, problem: ProblemKey, implementation: str) -> None:
        self.problem, self.implementation = problem, implementation
        self.settled = False
        """Whether further measuring cannot change the verdict."""
        self.confirmed = False
        self.suspected: Literal["slower", "faster"] | None = None
        self.pooled: GateEstimate | None = None
        """From the rounds of all pairs."""
        self._readings: list[PairedReading] = []
        self._pairs: list[GateEstimate] = []
        self._pairs_before_suspicion = 0
        self._losses = 0

    def add_reading(self, reading: PairedReading) -> None:
        """Add the reading of one more pair of processes."""
        self._readings.append(reading)
        if _lost(reading):
            self._losses += 1
            wrong = reading.head.status == "incorrect"
            self.confirmed = self.settled = wrong or self._losses >= CONFIRMED_LOSSES
            return
        if not _timed(reading):
            self.settled = True
            return
        of_pair = estimate_from_rounds(reading.ratios)
        if of_pair is not None:
            self._pairs.append(of_pair)
        self.pooled = estimate_from_rounds([ratio for one in self._readings for ratio in one.ratios])

    def mark_suspected(self, side: Literal["slower", "faster"]) -> None:
        """Suspect a change; only pairs measured from now on can confirm it."""
        self.suspected, self._pairs_before_suspicion = side, len(self._pairs)

    @property
    def lost(self) -> bool:
        """Whether the head gave no correct result where the base did."""
        return self._losses > 0

    @property
    def pairs_since_suspicion(self) -> int:
        """Pairs measured since the cell was suspected."""
        return len(self._pairs) - self._pairs_before_suspicion if self.suspected else 0

    @property
    def confirming(self) -> GateEstimate | None:
        """The estimate of the pairs measured since suspicion; None before the first."""
        if not self.pairs_since_suspicion:
            return None
        return estimate_from_pairs(self._pairs[self._pairs_before_suspicion :])

    def clock_agrees(self, floor: float) -> bool:
        """Whether cycles changed in the direction of the latency; True where cycles are not counted."""
        recent = self._readings[-self.pairs_since_suspicion :]
        counted = [one for one in recent if one.base.cycles and one.head.cycles]
        if not counted or self.pooled is None:
            return True
        change = statistics.median((one.head.cycles or 0) / (one.base.cycles or 1) for one in counted) - 1
        return change * self.pooled.change > 0 and abs(change) >= floor / 2

    def verdict(self, config: GateConfig) -> CellVerdict:
        """The verdict by the readings so far."""
        best = self.confirming if self.pairs_since_suspicion >= config.confirming_pairs else self.pooled
        word, reason = self._verdict_and_reason(config)
        last = self._readings[-1] if self._readings else None
        return CellVerdict(
            problem=self.problem,
            implementation=self.implementation,
            verdict=word,
            confirmed=self.confirmed,
            change=best.change if best else None,
            change_low=best.low if best else None,
            change_high=best.high if best else None,
            p_value=best.p_value if best else None,
            base_ms=_median_ms([one.base for one in self._readings]),
            head_ms=_median_ms([one.head for one in self._readings]),
            base_status=last.base.status if last else None,
            head_status=last.head.status if last else None,
            reason=reason,
            pairs=len(self._readings),
            rounds=sum(len(one.ratios) for one in self._readings),
        )

    def _verdict_and_reason(self, config: GateConfig) -> tuple[GateVerdict | None, str | None]:
        if not self._readings:
            return None, "not measured: the budget was spent first"
        last = self._readings[-1]
        if _lost(last):
            return None, last.head.reason or f"the head's result is {last.head.status}"
        if not _timed(last):
            return None, last.base.reason or last.head.reason or "no latency was measured"
        if self.confirmed:
            return self.suspected, None
        if self.pooled is None:
            return "ambiguous", f"{len(last.ratios)} rounds are too few for an interval"
        if self.settled:
            return "same", None
        if self.suspected and not self.clock_agrees(config.floor):
            return "ambiguous", f"{self.suspected} in latency, not in cycles: the clock changed"
        if self.suspected:
            return "ambiguous", f"{self.suspected} at first, not confirmed by fresh processes"
        return "ambiguous", f"its interval reaches beyond the floor of {100 * config.floor:g} %"


def _timed(reading: PairedReading) -> bool:
    return reading.base.status in COMPARABLE and reading.head.status in COMPARABLE


def _lost(reading: PairedReading) -> bool:
    """Whether the head's result is incorrect, or missing where the base has one."""
    head = reading.head.status
    return head == "incorrect" or (reading.base.status in COMPARABLE and head not in COMPARABLE)


def _median_ms(records: list[MeasurementRecord]) -> float | None:
    known = [one.latency_ms for one in records if one.latency_ms is not None]
    return statistics.median(known) if known else None
