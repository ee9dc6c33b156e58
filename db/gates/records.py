"""The values that a gate records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from kswatch.db.records import ProblemKey

GateVerdict = Literal["faster", "slower", "same", "ambiguous"]


@dataclass(frozen=True)
class GateRecord:
    """One comparison of two revisions, but for its cells and findings."""

    kind: str
    started_at: datetime
    seconds: float | None
    base_commit: str | None
    head_commit: str
    outcome: str
    exit_code: int
    subject: str | None = None
    branch: str | None = None
    author: str | None = None
    host: str | None = None
    base_run_id: int | None = None
    head_run_id: int | None = None
    notes: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class CellVerdict:
    """The verdict on one cell; `verdict` is None where there were no latencies to compare."""

    problem: ProblemKey
    implementation: str
    verdict: GateVerdict | None
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
        """Whether a slowdown, an incorrect or a lost result is confirmed."""
        return self.confirmed and self.verdict in (None, "slower")


@dataclass(frozen=True)
class CodeFinding:
    """One figure of the machine code that changed or is over its budget."""

    state: str
    """`over_budget`, `regressed` or `changed`."""
    kernel: str
    architecture: str
    figure: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class KernelCode:
    """The machine code of one kernel in both revisions, as text without addresses."""

    kernel: str
    architecture: str
    base_code: str
    head_code: str
