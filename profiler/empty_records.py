"""Problems as keys of the store, and records of cells without numbers; needs no torch."""

from __future__ import annotations

from kswatch.db.records import MeasurementRecord, ProblemKey, Status
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


def problem_key(problem: Problem) -> ProblemKey:
    """The problem's key in the store."""
    return ProblemKey(*problem.pattern.as_tuple(), problem.batch, problem.precision, problem.layout)


def problem_of(key: ProblemKey) -> Problem:
    """The problem behind the store's key."""
    return Problem(Pattern(key.a, key.b, key.c, key.d), key.batch, key.precision, key.layout)  # type: ignore[arg-type]


def empty_record(problem: Problem, implementation: str, status: Status, reason: str) -> MeasurementRecord:
    """A record with a status and a reason only."""
    return MeasurementRecord(problem_key(problem), implementation, status, reason=reason)
