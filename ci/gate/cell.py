"""One cell of a gate: its readings by fresh pairs of processes, and what they add up to."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kswatch.ci.gate.estimators import Estimate, of_pairs, of_rounds
from kswatch.db.paired_runs.paired_record import PairedReading
from kswatch.db.records import COMPARABLE, MeasurementRecord, ProblemKey

if TYPE_CHECKING:
    from kswatch.ci.gate.sequential import Care

Key = tuple[ProblemKey, str]
Verdict = Literal["faster", "slower", "same", "ambiguous"]
CONFIRMED_LOSSES = 2
"""A result that the head no longer gives is believed when fresh processes lose it again."""


@dataclass(frozen=True)
class CellVerdict:
    """The judgement on one cell; `verdict` is None where there were no times to compare."""

    problem: ProblemKey
    implementation: str
    verdict: Verdict | None
    confirmed: bool
    change: float | None
    change_low: float | None
    change_high: float | None
    p_value: float | None
    base_ms: float | None
    head_ms: float | None
    base_status: str | None
    head_status: str | None
    reason: str | None
    pairs: int
    rounds: int

    @property
    def regressed(self) -> bool:
        """A confirmed slowdown, a wrong result, or one that the head no longer gives."""
        return self.confirmed and self.verdict in (None, "slower")


class Cell:
    """What is known of one cell so far."""

    def __init__(self, problem: ProblemKey, implementation: str) -> None:
        self.problem, self.implementation = problem, implementation
        self.settled = False
        """Whether asking again can change nothing."""
        self.confirmed = False
        self.suspected: Literal["slower", "faster"] | None = None
        self.pooled: Estimate | None = None
        """From the rounds of all pairs."""
        self._readings: list[PairedReading] = []
        self._pairs: list[Estimate] = []
        self._before = 0
        self._losses = 0

    def takes(self, reading: PairedReading) -> None:
        """Add what one more pair of processes gave."""
        self._readings.append(reading)
        if _lost(reading):
            self._losses += 1
            wrong = reading.head.status == "incorrect"
            self.confirmed = self.settled = wrong or self._losses >= CONFIRMED_LOSSES
            return
        if not _timed(reading):
            self.settled = True
            return
        of_pair = of_rounds(reading.ratios)
        if of_pair is not None:
            self._pairs.append(of_pair)
        self.pooled = of_rounds([ratio for one in self._readings for ratio in one.ratios])

    def suspects(self, side: Literal["slower", "faster"]) -> None:
        """From here on pairs vouch for it, or do not."""
        self.suspected, self._before = side, len(self._pairs)

    @property
    def lost(self) -> bool:
        """Whether the head gave no right result where the base did."""
        return self._losses > 0

    @property
    def since(self) -> int:
        """Pairs measured since it was suspected."""
        return len(self._pairs) - self._before if self.suspected else 0

    @property
    def confirming(self) -> Estimate | None:
        """From the pairs since it was suspected; None before there are any."""
        return of_pairs(self._pairs[self._before :]) if self.since else None

    def clock_agrees(self, floor: float) -> bool:
        """Whether cycles say what time says; where they are not counted, time alone decides."""
        counted = [one for one in self._readings[-self.since :] if one.base.cycles and one.head.cycles]
        if not counted or self.pooled is None:
            return True
        change = statistics.median((one.head.cycles or 0) / (one.base.cycles or 1) for one in counted) - 1
        return change * self.pooled.change > 0 and abs(change) >= floor / 2

    def verdict(self, care: Care) -> CellVerdict:
        """What is to be told."""
        best = self.confirming if self.since >= care.confirming_pairs else self.pooled
        word, reason = self._word(care)
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

    def _word(self, care: Care) -> tuple[Verdict | None, str | None]:
        if not self._readings:
            return None, "the budget was spent before its turn"
        last = self._readings[-1]
        if _lost(last):
            return None, last.head.reason or f"the head's result is {last.head.status}"
        if not _timed(last):
            return None, last.base.reason or last.head.reason or "it gave no times"
        if self.confirmed:
            return self.suspected, None
        if self.pooled is None:
            return "ambiguous", f"fewer than {len(last.ratios) + 1} rounds are no evidence"
        if self.settled:
            return "same", None
        if self.suspected and not self.clock_agrees(care.floor):
            return "ambiguous", f"{self.suspected} in time, not in cycles: the clock moved"
        if self.suspected:
            return "ambiguous", f"it looked {self.suspected} at first, and fresh processes did not confirm it"
        return "ambiguous", f"its interval reaches beyond the floor of {100 * care.floor:g} %"


def _timed(reading: PairedReading) -> bool:
    return reading.base.status in COMPARABLE and reading.head.status in COMPARABLE


def _lost(reading: PairedReading) -> bool:
    """A wrong result, or none where the base has one."""
    head = reading.head.status
    return head == "incorrect" or (reading.base.status in COMPARABLE and head not in COMPARABLE)


def _median_ms(records: list[MeasurementRecord]) -> float | None:
    known = [one.latency_ms for one in records if one.latency_ms is not None]
    return statistics.median(known) if known else None
