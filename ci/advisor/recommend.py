"""Which implementation to use for a problem, what that gains, how sure that is, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from kswatch.ci.advisor.nearest import NearestMeasured, nearest_measured
from kswatch.ci.advisor.target_device import AskedDevice, find_asked_device
from kswatch.db.store import Store
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.learned import METRICS, Estimate, estimate
from kswatch.kernels.heuristics.rules import PERMUTATION
from kswatch.kernels.pattern import Pattern, check_chain
from kswatch.kernels.problem import Layout, Precision, Problem


@dataclass(frozen=True)
class Advice:
    """The contract of `kswatch advise --json`; gains and speedups above 1 are good, None is not known."""

    problem: str
    implementation: str
    predicted_speedup: float | None
    """Best baseline over fused, in the metric that decided."""
    latency_gain: float | None
    """Time of the best alternative over that of the implementation."""
    energy_gain: float | None
    """Energy of the best alternative over that of the implementation."""
    confidence: float | None
    """Probability that the better of fused and the best baseline was named."""
    why: str
    caveats: tuple[str, ...]
    heuristic: str
    metric: str | None
    """What decided: latency or energy; None where a rule over the pattern did."""
    nearest_measured: tuple[NearestMeasured, ...]


@dataclass(frozen=True)
class ChainAdvice:
    """Advice for the factors of a chain, the right-most first."""

    factors: tuple[Advice, ...]
    confidence: float | None
    """Probability that every factor's winner was named."""


def advise(store: Store | None, problem: Problem, device: str | None, metric: str = METRICS[0]) -> Advice:
    """What to use for a problem on a device, measured or not.

    Args:
        store: for the device's facts and the nearest measured problems; None where there is none.
        problem: what is asked about.
        device: UUID, unique prefix, model name or cpu; may be None where the store holds one device.
        metric: what shall be least.

    Raises:
        UsageError: no device is named and the store does not hold just one, or the name is ambiguous.
        ConfigurationError: the model file in use cannot be read.
    """
    return _advise(store, problem, find_asked_device(store, device), metric)


def advise_chain(
    store: Store | None,
    patterns: Sequence[Pattern],
    batch: int,
    precision: Precision,
    layout: Layout,
    device: str | None,
    metric: str = METRICS[0],
) -> ChainAdvice:
    """What to use for each factor of a chain, `patterns[0]`, the right-most, being applied first.

    Raises:
        UsageError: the patterns do not chain, or as `advise`.
    """
    check_chain(patterns)
    asked = find_asked_device(store, device)
    factors = tuple(
        _advise(store, Problem(pattern, batch, precision, layout), asked, metric) for pattern in patterns
    )
    known = [one.confidence for one in factors if one.confidence is not None]
    return ChainAdvice(factors, prod(known) if len(known) == len(factors) else None)


def _advise(store: Store | None, problem: Problem, asked: AskedDevice, metric: str) -> Advice:
    said = estimate(problem, asked.facts, _first(metric))
    nearest = nearest_measured(store, problem, asked, said)
    if said is None:
        return _by_rule(problem, asked, nearest)
    implementation = next(iter(said.costs))
    gains = {name: _gain(problem, asked.facts, name, said, implementation) for name in METRICS}
    return Advice(
        problem=str(problem),
        implementation=implementation,
        predicted_speedup=said.predicted_speedup,
        latency_gain=gains["latency"],
        energy_gain=gains["energy"],
        confidence=said.confidence,
        why=_why(problem, implementation),
        caveats=said.caveats,
        heuristic="learned",
        metric=said.section.metric,
        nearest_measured=nearest,
    )


def _first(metric: str) -> tuple[str, ...]:
    """All metrics, this one preferred."""
    return (metric, *(other for other in METRICS if other != metric))


def _by_rule(problem: Problem, asked: AskedDevice, nearest: tuple[NearestMeasured, ...]) -> Advice:
    implementation = "fused" if PERMUTATION.predict(problem, asked.facts).predicts_fused else "bmm"
    return Advice(
        problem=str(problem),
        implementation=implementation,
        predicted_speedup=None,
        latency_gain=None,
        energy_gain=None,
        confidence=None,
        why=_why(problem, implementation),
        caveats=(f"nothing was learned of devices like {asked.name}: this is the rule d > 1",),
        heuristic=PERMUTATION.name,
        metric=None,
        nearest_measured=nearest,
    )


def _gain(
    problem: Problem, facts: DeviceFacts, metric: str, deciding: Estimate, implementation: str
) -> float | None:
    """The best alternative over the implementation, where the deciding device was measured in the metric."""
    said = estimate(problem, facts, (metric,))
    about = (deciding.section.device, deciding.section.precision, deciding.section.layout)
    if said is None or (said.section.device, said.section.precision, said.section.layout) != about:
        return None
    if implementation not in said.costs:
        return None
    return (
        min(cost for name, cost in said.costs.items() if name != implementation) / said.costs[implementation]
    )


def _why(problem: Problem, implementation: str) -> str:
    needed_mb, gflop = problem.compulsory_bytes / 1e6, problem.flops / 1e9
    work = f"{gflop:.3g} GFLOP over {needed_mb:.3g} MB that nobody can avoid"
    pattern = problem.pattern
    if implementation == "dense":
        return f"{work}: so small a product that {pattern.a * pattern.d} times the operations cost less"
    if pattern.d == 1 and implementation == "fused":
        return f"{work}; with d = 1 nothing is permuted, but it multiplied faster on problems like this one"
    if pattern.d == 1:
        return f"{work}; with d = 1 bmm has nothing to permute: there is no traffic for fused to save"
    permuting_mb = 2 * problem.element_bytes * problem.batch * (pattern.rows + pattern.columns) / 1e6
    if implementation == "fused":
        return f"{work}: bmm moves {permuting_mb:.3g} MB more to permute X and Y, fused does not"
    return (
        f"{work}: at {problem.intensity:.0f} operations per byte the {permuting_mb:.3g} MB that fused "
        f"saves weigh less than {implementation}'s faster multiplying"
    )
