"""Interleaved measurements of two revisions, as the profiler hands them to the gate."""

from __future__ import annotations

from dataclasses import dataclass

from kswatch.db.records import MeasurementRecord, ProblemKey

BASE, HEAD = "base", "head"
SIDE = "side"
"""An argument of the two runs of an interleaved measurement: the revision that this one measured."""


@dataclass(frozen=True)
class PairedReading:
    """One cell, measured alternately by a fresh process of each revision."""

    problem: ProblemKey
    implementation: str
    base: MeasurementRecord
    head: MeasurementRecord
    ratios: tuple[float, ...] = ()
    """The head's latency over the base's, one per round; empty where one of them has no latencies."""


@dataclass(frozen=True)
class BrokenRevision:
    """A revision that cannot be measured, since it does not build or this profiler cannot import it."""

    side: str
    """`base` or `head`."""
    commit: str
    reason: str
    log: str
    """Output of the compiler or the interpreter; may be empty."""
