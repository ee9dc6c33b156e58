"""Problems as keys of the store, and records of cells without numbers; needs no torch."""

from __future__ import annotations

from kswatch.db.records import LAYER, MeasurementRecord, ProblemKey, Status
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.subjects.problems import AnyProblem, ModelForward


def problem_key(problem: AnyProblem) -> ProblemKey:
    """The problem's key in the store."""
    facets = (problem.batch, problem.precision, problem.layout)
    if isinstance(problem, Problem):
        return ProblemKey(*problem.pattern.as_tuple(), *facets)
    if isinstance(problem, ModelForward):
        return ProblemKey(1, 1, problem.tokens, 1, *facets, problem.subject)
    return ProblemKey(1, problem.out_features, problem.in_features, 1, *facets, LAYER)


def problem_of(key: ProblemKey) -> AnyProblem:
    """The problem behind the store's key.

    Raises:
        UsageError: no problem has this key.
    """
    facets = (key.batch, key.precision, key.layout)
    if key.kind == "layer":
        from kswatch.kernels.families.base import LayerShape

        return LayerShape(key.c, key.b, *facets)  # type: ignore[arg-type]
    if key.kind == "model":
        model, _, execution = key.subject.rpartition(" ")
        return ModelForward(model, key.c, *facets, execution)  # type: ignore[arg-type]
    return product_of(key)


def product_of(key: ProblemKey) -> Problem:
    """The product behind the key of a factor."""
    return Problem(Pattern(key.a, key.b, key.c, key.d), key.batch, key.precision, key.layout)  # type: ignore[arg-type]


def empty_record(problem: AnyProblem, implementation: str, status: Status, reason: str) -> MeasurementRecord:
    """A record with a status and a reason only."""
    return MeasurementRecord(problem_key(problem), implementation, status, reason=reason)
