"""The values that a gate records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kswatch.db.records import ProblemKey


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
class GateCellRecord:
    """One cell of a gate, as it was judged."""

    problem: ProblemKey
    implementation: str
    verdict: str | None
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
