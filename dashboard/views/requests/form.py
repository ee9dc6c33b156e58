"""The request of an ad-hoc run: parsed from the form, validated, and estimated before it is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kswatch.dashboard.formatting.labels import count, duration
from kswatch.db.artifacts.stored import NCU_REPORT
from kswatch.db.config import RequestLimits
from kswatch.db.decoding import whole_number
from kswatch.db.records import AD_HOC as AD_HOC
from kswatch.db.records import IMPLEMENTATIONS
from kswatch.db.request_queue.estimates import RequestEstimate
from kswatch.db.request_queue.requested_cells import DEFAULT_BATCHES, DEFAULT_PRECISIONS
from kswatch.declared.suites import SUITES as DECLARED_SUITES
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern, check_chain
from kswatch.kernels.problem import LAYOUTS, PRECISIONS, Problem

SUITES: dict[str, str] = {
    **{name: f"{name}: {statement}" for name, statement, _ in DECLARED_SUITES},
    AD_HOC: "only the patterns below",
}

MOST_ELEMENTS = 2**31
"""Elements of X or Y; kernels index with 32 bits."""


@dataclass(frozen=True)
class RunRequest:
    """A requested run; empty tuples select everything of the suite."""

    device: str
    suite: str
    patterns: tuple[Pattern, ...] = ()
    batches: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    implementations: tuple[str, ...] = ()
    counters: bool = False
    ncu_report: bool = False
    is_chain: bool = False
    budget_minutes: int | None = None

    @property
    def cells(self) -> int | None:
        """The number of cells; None for a suite, whose patterns only the profiler knows."""
        if self.suite != AD_HOC:
            return None
        return (
            len(self.patterns)
            * len(self.batches or DEFAULT_BATCHES)
            * len(self.precisions or DEFAULT_PRECISIONS)
            * len(self.layouts or LAYOUTS)
            * len(self.implementations or IMPLEMENTATIONS)
        )

    def validate(self, limits: RequestLimits) -> None:
        """Check that the run can be requested.

        Raises:
            UsageError: no device, no pattern where the suite has none, factors that do not multiply,
                operands too large to index, a precision or report that the device lacks, too many cells.
        """
        if not self.device:
            raise UsageError("name the device: cpu, cuda:0, a UUID or a model name")
        if self.suite == AD_HOC and not self.patterns:
            raise UsageError("give at least one pattern, as in 6,64,64,1, or choose a suite")
        if self.is_chain:
            check_chain(self.patterns)
        if self.device == "cpu" and self.precisions == ("tf32",):
            raise UsageError("the CPU has no tf32; choose fp32, bf16 or fp16, or another device")
        if self.device == "cpu" and self.ncu_report:
            raise UsageError("ncu profiles NVIDIA GPUs only; omit its reports, or choose another device")
        self._check_operand_sizes()
        reason = limits.refusal(self.cells, None)
        if reason:
            raise UsageError(reason)

    def _check_operand_sizes(self) -> None:
        for pattern in self.patterns:
            for batch in self.batches:
                features = max(pattern.rows, pattern.columns)
                if batch * features >= MOST_ELEMENTS:
                    raise UsageError(
                        f"({pattern}) at batch {batch:,} has {batch * features:,} elements; kernels index "
                        f"fewer than {MOST_ELEMENTS:,}; choose a batch under {MOST_ELEMENTS // features:,}"
                    )

    def arguments(self) -> dict[str, object]:
        """The filters in the form that a run stores."""
        chosen = {
            "pattern": [str(pattern) for pattern in self.patterns],
            "batch": list(self.batches),
            "precision": list(self.precisions),
            "layout": list(self.layouts),
            "implementation": list(self.implementations),
            "counters": self.counters,
            NCU_REPORT: self.ncu_report,
            "budget": f"{self.budget_minutes}m" if self.budget_minutes else None,
        }
        return {name: values for name, values in chosen.items() if values}


def read_patterns(text: str) -> tuple[Pattern, ...]:
    """The patterns typed or pasted, in their order, without duplicates.

    One per line, or separated by semicolons or brackets; columns of a spreadsheet are read too.

    Raises:
        UsageError: one of them is not four integers >= 1.
    """
    lines = [line.strip() for line in re.split(r"[\n;]+|(?<=[)\]])\s*,?\s*(?=[(\[])", text)]
    written = (re.sub(r"(?<=\d)\s+(?=\d)", ",", line) for line in lines if line)
    return tuple(dict.fromkeys(map(Pattern.parse, written)))


def read_batches(text: str) -> tuple[int, ...]:
    """The batches typed, separated by commas or spaces, without duplicates.

    Raises:
        UsageError: one of them is not an integer >= 1.
    """
    words = re.split(r"[,;\s]+", text.strip())
    batches = []
    for word in filter(None, words):
        number = whole_number(word)
        if number is None:
            raise UsageError(f"batch {word[:40]!r} is not an integer >= 1, or too large; try 1024")
        batches.append(Problem(Pattern(1, 1, 1, 1), number, PRECISIONS[0], LAYOUTS[0]).batch)
    return tuple(dict.fromkeys(batches))


def cost_text(estimate: RequestEstimate, budget_minutes: int | None) -> str:
    """The estimated cost of a run that stops after its budget."""
    minutes = None if estimate.seconds is None else estimate.seconds / 60
    if estimate.cells is None:
        cost = "No estimate yet: this suite has not run on such a device"
    elif minutes is None:
        cost = f"{count(estimate.cells, 'cell')}; no estimate yet: nothing has run on this device"
    else:
        cost = f"{count(estimate.cells, 'cell')}, about {duration(60 * minutes)}"
    if estimate.refused:
        cost += f"; {estimate.refused:,} will probably be too slow to time, or too large for its memory"
    if not budget_minutes:
        return f"{cost}."
    is_over = minutes is not None and minutes > budget_minutes
    skipped = "; cells that do not fit are recorded as skipped" if is_over else ""
    return f"{cost}. Stops after {budget_minutes} min{skipped}."
