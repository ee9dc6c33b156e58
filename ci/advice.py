"""Which implementation to use for a problem, why, and what was measured nearest to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from db.records import ProblemKey
from db.store import Store
from db.summary import ProblemOutcome, outcomes
from kernels.heuristics.rules import PERMUTATION
from kernels.problem import Problem

NEAREST_SHOWN = 3


@dataclass(frozen=True)
class NearestMeasured:
    """A measured problem like the one that is asked about."""

    problem: ProblemKey
    best_baseline: str | None
    speedup: float | None
    distance: float
    """Doublings of a, b, c, d and batch between the two, summed."""


@dataclass(frozen=True)
class Advice:
    """The contract of `kswatch advise --json`."""

    implementation: str
    predicted_speedup: float | None
    confidence: float | None
    why: str
    nearest_measured: tuple[NearestMeasured, ...]


def advise(store: Store, problem: Problem, device: str | None) -> Advice:
    """What to use for a problem on a device of the store.

    Raises:
        UsageError: no or several such devices.
    """
    found = outcomes(store, device, precision=problem.precision, layout=problem.layout)
    said = PERMUTATION.predict(problem, {})
    implementation = "fused" if said.predicts_fused else "bmm"
    nearest = sorted(
        (_nearest(problem, one) for one in found.problems if one.outcome.speedup is not None),
        key=lambda one: one.distance,
    )
    return Advice(
        implementation, said.predicted_speedup, said.confidence, _why(problem), tuple(nearest[:NEAREST_SHOWN])
    )


def _nearest(problem: Problem, one: ProblemOutcome) -> NearestMeasured:
    letters = (*problem.pattern.as_tuple(), problem.batch)
    key = one.problem
    measured = (key.a, key.b, key.c, key.d, key.batch)
    distance = sum(abs(math.log2(x / y)) for x, y in zip(letters, measured, strict=True))
    return NearestMeasured(key, one.outcome.best_baseline, one.outcome.speedup, distance)


def _why(problem: Problem) -> str:
    saved = 2 * problem.element_bytes * problem.batch * (problem.pattern.rows + problem.pattern.columns)
    if problem.pattern.d == 1:
        return "d = 1: the stock methods permute nothing, so there is no memory traffic to save"
    return f"d > 1: fused saves the {saved / 1e6:.0f} MB that the stock methods move to permute"


def as_text(problem: Problem, said: Advice) -> str:
    """The advice for people."""
    lines = [f"{problem}: use {said.implementation}", f"  {said.why}"]
    lines += [
        f"  measured: {near.problem.pattern} batch {near.problem.batch}: fused {near.speedup:.2f} times "
        f"{near.best_baseline}'s speed"
        for near in said.nearest_measured
    ]
    return "\n".join(lines)
