"""Records of cells that gave no number, made where nothing of torch is known."""

from __future__ import annotations

from kswatch.db.records import MeasurementRecord, ProblemKey, Status
from kswatch.kernels.problem import Problem


def problem_key(problem: Problem) -> ProblemKey:
    """The problem as the store names it."""
    return ProblemKey(*problem.pattern.as_tuple(), problem.batch, problem.precision, problem.layout)


def unmeasured(problem: Problem, implementation: str, status: Status, reason: str) -> MeasurementRecord:
    """A cell that has a status and a reason, and nothing else."""
    return MeasurementRecord(problem_key(problem), implementation, status, reason=reason)
