"""Two revisions' readings of the same cells, as the profiler hands them to whoever judges a gate."""

from __future__ import annotations

from dataclasses import dataclass

from kswatch.db.records import MeasurementRecord, ProblemKey

BASE, HEAD = "base", "head"
SIDE = "side"
"""An argument of the runs that measured two revisions in turns: which of both this one measured."""


@dataclass(frozen=True)
class PairedReading:
    """One cell measured in turns by a fresh process of each revision."""

    problem: ProblemKey
    implementation: str
    base: MeasurementRecord
    head: MeasurementRecord
    ratios: tuple[float, ...] = ()
    """The head's time over the base's, one for each round; none where one of them gave no times."""


@dataclass(frozen=True)
class BrokenRevision:
    """A revision that cannot be measured: it does not build, or this profiler cannot import it."""

    side: str
    """`base` or `head`."""
    commit: str
    reason: str
    log: str
    """What the compiler or the interpreter said; may be empty."""
