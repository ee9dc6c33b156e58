"""Recommendation of an implementation for a problem, with its gain, confidence and reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from kswatch.ci.advisor.from_store import TargetDevice, find_target_device
from kswatch.ci.advisor.nearest import NearestMeasured, nearest_measured
from kswatch.db.store import Store
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.learned import METRICS, CostEstimate, estimate_costs
from kswatch.kernels.heuristics.rules import PERMUTATION
from kswatch.kernels.pattern import Pattern, check_chain
from kswatch.kernels.problem import Layout, Precision, Problem


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The contract of `kswatch advise --json`; gains and speedups above 1 are good, None is unknown."""

    problem: str
    implementation: str
    predicted_speedup: float | None = None
    """Best baseline over fused, in the metric that decided."""
    latency_gain: float | None = None
    """Time of the best alternative over that of the implementation."""
    energy_gain: float | None = None
    """Energy of the best alternative over that of the implementation."""
    confidence: float | None = None
    """Probability that the better of fused and the best baseline was named."""
    why: str
    caveats: tuple[str, ...]
    heuristic: str
    metric: str | None = None
    """The metric that decided, latency or energy; None where a rule over the pattern did."""
    nearest_measured: tuple[NearestMeasured, ...]


@dataclass(frozen=True)
class ChainAdvice:
    """Advice for the factors of a chain, the right-most first."""

    factors: tuple[Advice, ...]
    confidence: float | None
    """Probability that every factor's winner was named."""


def advise(store: Store | None, problem: Problem, device: str | None, metric: str = METRICS[0]) -> Advice:
    """The recommendation for a problem on a device, measured or not.

    Args:
        store: for the device's facts and the nearest measured problems; None where there is none.
        problem: the product to compute.
        device: UUID, unique prefix, model name or cpu; may be None where the store holds one device.
        metric: the metric to minimise.

    Raises:
        UsageError: no device is named and the store does not hold just one, or the name is ambiguous.
        ConfigurationError: the model file in use cannot be read.
    """
    return _advise(store, problem, find_target_device(store, device), metric)


def advise_chain(
    store: Store | None,
    patterns: Sequence[Pattern],
    batch: int,
    precision: Precision,
    layout: Layout,
    device: str | None,
    metric: str = METRICS[0],
) -> ChainAdvice:
    """The recommendation for each factor of a chain; `patterns[0]`, the right-most, is applied first.

    Raises:
        UsageError: the patterns do not chain, or as `advise`.
    """
    check_chain(patterns)
    target = find_target_device(store, device)
    factors = tuple(
        _advise(store, Problem(pattern, batch, precision, layout), target, metric) for pattern in patterns
    )
    known = [one.confidence for one in factors if one.confidence is not None]
    return ChainAdvice(factors, prod(known) if len(known) == len(factors) else None)


def _advise(store: Store | None, problem: Problem, target: TargetDevice, metric: str) -> Advice:
    metrics = (metric, *(other for other in METRICS if other != metric))  # this one preferred
    estimate = estimate_costs(problem, target.facts, metrics)
    nearest = nearest_measured(store, problem, target, estimate)
    if estimate is None:
        return _by_rule(problem, target, nearest)
    implementation = next(iter(estimate.costs))
    gains = {name: _gain(problem, target.facts, name, estimate, implementation) for name in METRICS}
    return Advice(
        problem=str(problem),
        implementation=implementation,
        predicted_speedup=estimate.predicted_speedup,
        latency_gain=gains["latency"],
        energy_gain=gains["energy"],
        confidence=estimate.confidence,
        why=_why(problem, implementation),
        caveats=estimate.caveats,
        heuristic="learned",
        metric=estimate.section.metric,
        nearest_measured=nearest,
    )


def _by_rule(problem: Problem, target: TargetDevice, nearest: tuple[NearestMeasured, ...]) -> Advice:
    implementation = "fused" if PERMUTATION.predict(problem, target.facts).predicts_fused else "bmm"
    return Advice(
        problem=str(problem),
        implementation=implementation,
        why=_why(problem, implementation),
        caveats=(f"no fitted model covers devices like {target.name}: the rule d > 1 is used",),
        heuristic=PERMUTATION.name,
        nearest_measured=nearest,
    )


def _gain(
    problem: Problem, facts: DeviceFacts, metric: str, deciding: CostEstimate, implementation: str
) -> float | None:
    """The best alternative over the implementation, where the deciding device was measured in the metric."""
    estimate = estimate_costs(problem, facts, (metric,))
    if estimate is None or implementation not in estimate.costs:
        return None
    names = ("device", "precision", "layout")
    if any(getattr(estimate.section, name) != getattr(deciding.section, name) for name in names):
        return None
    alternatives = [cost for name, cost in estimate.costs.items() if name != implementation]
    return min(alternatives) / estimate.costs[implementation]


def _why(problem: Problem, implementation: str) -> str:
    needed_mb, gflop = problem.compulsory_bytes / 1e6, problem.flops / 1e9
    work = f"{gflop:.3g} GFLOP over {needed_mb:.3g} MB of compulsory traffic"
    pattern = problem.pattern
    if implementation == "dense":
        return f"{work}: the product is so small that {pattern.a * pattern.d} times the operations cost less"
    if pattern.d == 1 and implementation == "fused":
        return f"{work}; with d = 1 nothing is permuted, but it multiplied faster on problems like this one"
    if pattern.d == 1:
        return f"{work}; with d = 1 bmm has nothing to permute: there is no traffic for fused to save"
    permuting_mb = 2 * problem.element_bytes * problem.batch * (pattern.rows + pattern.columns) / 1e6
    if implementation == "fused":
        return f"{work}: bmm moves {permuting_mb:.3g} MB more to permute X and Y, fused does not"
    return (
        f"{work}: at {problem.intensity:.0f} operations per byte the {permuting_mb:.3g} MB that fused "
        f"saves matter less than {implementation}'s faster multiplying"
    )


def advice_text(advice: Advice) -> str:
    """The implementation first, then confidence, reason, gains and the nearest measured problems."""
    sure = "" if advice.confidence is None else f", {advice.confidence:.0%} sure"
    lines = [f"{advice.problem}: use {advice.implementation}{sure}", f"  {advice.why}"]
    for name, gain in (("latency", advice.latency_gain), ("energy", advice.energy_gain)):
        if gain is not None:
            lines.append(f"  {name}: the best alternative takes {gain:.2f} times as much")
    lines += [f"  but {caveat}" for caveat in advice.caveats]
    for one in advice.nearest_measured:
        speedup = f"{one.best_baseline}/fused {one.speedup:.2f} in {one.metric}"
        where = f"({one.pattern}) batch {one.batch} on {one.device}"
        lines.append(f"  measured: {where}: {one.winner} won, {speedup}")
    return "\n".join(lines)
