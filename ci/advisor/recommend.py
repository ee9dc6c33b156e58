"""Recommendation of an implementation for a problem, with its gain, confidence and reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from kswatch.ci.advisor.from_store import TargetDevice, find_target_device
from kswatch.ci.advisor.nearest import NearestMeasured, nearest_measured
from kswatch.db.store import Store
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.layer_costs import LayerCosts
from kswatch.kernels.heuristics.learned import METRICS, CostEstimate, estimate_costs, layer_choice
from kswatch.kernels.heuristics.rules import PERMUTATION
from kswatch.kernels.pattern import Pattern, check_chain
from kswatch.kernels.problem import Layout, Precision, Problem

FEW_WEIGHTS = "a layer of so few weights starts the twin fastest"
WITHOUT_CHOICE: Mapping[str, tuple[str, str]] = {
    "fp8": ("fused", 'KSLinear.freeze("fp8") uses fused, whatever the algorithm'),
    "fp64": ("", "KSLinear computes float64 by the definition, whatever the algorithm"),
    "complex64": ("", "KSLinear has no complex weights, only the transforms of kswatch.transforms"),
}
"""Precisions in which a layer chooses no algorithm: what it uses, and the sentence."""


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
    dense_gain: float | None = None
    """Cost of the dense product over that of the implementation, in the metric that decided."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """Predicted ms or mJ of each implementation, `dense` included where it was measured, the best first."""
    layer_implementation: str = ""
    """What `KSLinear(algorithm="auto")` uses on this device; a caveat has the reason where it differs.

    Empty where a layer computes this precision without an implementation, or not at all.
    """
    metric: str | None = None
    """The metric that decided, latency or energy; None where a rule over the pattern did."""
    nearest_measured: tuple[NearestMeasured, ...]


@dataclass(frozen=True)
class ChainAdvice:
    """Advice for the factors of a chain, the right-most first."""

    factors: tuple[Advice, ...]
    confidence: float | None
    """Probability that every factor's winner was named."""
    latency_ms: float | None = None
    """Of the chain: the sum of its factors by the named implementations; None without data."""
    dense_latency_ms: float | None = None
    """Of the dense layer of the same shape."""


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
    confidence = prod(known) if len(known) == len(factors) else None
    costs = LayerCosts(target.facts, layout=layout)
    sides = patterns[0].columns, patterns[-1].rows
    chain = costs.by_names(patterns, [one.implementation for one in factors], batch, precision)
    return ChainAdvice(factors, confidence, chain.value, costs.dense(*sides, batch, precision).value)


def _advise(store: Store | None, problem: Problem, target: TargetDevice, metric: str) -> Advice:
    metrics = (metric, *(other for other in METRICS if other != metric))  # this one preferred
    estimate = estimate_costs(problem, target.facts, metrics)
    nearest = nearest_measured(store, problem, target, estimate)
    if estimate is None or estimate.is_far:
        return _by_rule(problem, target, nearest, estimate)
    implementation = next(iter(estimate.costs))
    layer_implementation, fixed = _layer_choice(problem, target.facts)
    differs = (
        ()
        if implementation == layer_implementation
        else (fixed or _why_auto_differs(layer_implementation, estimate, metric),)
    )
    gains = {name: _gain(problem, target.facts, name, estimate, implementation) for name in METRICS}
    return Advice(
        problem=str(problem),
        implementation=implementation,
        predicted_speedup=estimate.predicted_speedup,
        latency_gain=gains["latency"],
        energy_gain=gains["energy"],
        confidence=estimate.confidence,
        why=_why(problem, implementation),
        caveats=estimate.caveats + differs,
        heuristic="learned",
        dense_gain=_over(estimate.costs, "dense", implementation),
        costs=estimate.costs,
        layer_implementation=layer_implementation,
        metric=estimate.section.metric,
        nearest_measured=nearest,
    )


def _by_rule(
    problem: Problem, target: TargetDevice, nearest: tuple[NearestMeasured, ...], far: CostEstimate | None
) -> Advice:
    """The rule d > 1, without a confidence: only problems of far other sizes were measured, or none."""
    implementation = "fused" if PERMUTATION.predict(problem, target.facts).predicts_fused else "bmm"
    layer_implementation, fixed = _layer_choice(problem, target.facts)
    reason = (
        f"no fitted model covers devices like {target.name}" if far is None else "that is too far to predict"
    )
    caveats = (*(() if far is None else far.caveats), f"{reason}: the rule d > 1 is used")
    if layer_implementation != implementation:
        few = f'KSLinear(algorithm="auto") uses {layer_implementation} here: {FEW_WEIGHTS}'
        caveats += (fixed or few,)
    return Advice(
        problem=str(problem),
        implementation=implementation,
        why=_why(problem, implementation),
        caveats=caveats,
        heuristic=PERMUTATION.name,
        layer_implementation=layer_implementation,
        nearest_measured=nearest,
    )


def _layer_choice(problem: Problem, facts: DeviceFacts) -> tuple[str, str | None]:
    """What a layer uses by itself, and the sentence where that is no choice."""
    return WITHOUT_CHOICE.get(problem.precision) or (layer_choice(problem, facts), None)


def _why_auto_differs(layer_implementation: str, estimate: CostEstimate, metric: str) -> str:
    """The sentence where a layer would not follow the advice by itself."""
    if metric != METRICS[0]:
        reason = "it minimises latency"
    elif layer_implementation == "fused" and estimate.section.device.get("kind") == "cpu":
        reason = FEW_WEIGHTS
    elif estimate.section.is_imported or estimate.distance > 0:
        reason = (
            "it uses only latencies of this project's own kernel on the same device, precision and layout"
        )
    else:
        reason = "it uses the model of this project's own measurements"
    return (
        f'KSLinear(algorithm="auto") uses {layer_implementation} here, since {reason}; name another to differ'
    )


def _over(costs: Mapping[str, float], first: str, second: str) -> float | None:
    return costs[first] / costs[second] if first in costs else None


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
    if advice.dense_gain is not None and advice.implementation != "dense":
        lines.append(f"  dense: takes {advice.dense_gain:.2f} times as much {advice.metric}")
    lines += [f"  but {caveat}" for caveat in advice.caveats]
    for one in advice.nearest_measured:
        speedup = f"{one.best_baseline}/fused {one.speedup:.2f} in {one.metric}"
        where = f"({one.pattern}) batch {one.batch} on {one.device}"
        lines.append(f"  measured: {where}: {one.winner} won, {speedup}")
    return "\n".join(lines)


def chain_text(advice: ChainAdvice) -> str:
    """The advice for each factor, then the chain beside the dense layer of its shape."""
    lines = [advice_text(one) for one in advice.factors]
    if advice.latency_ms is not None and advice.dense_latency_ms is not None:
        lines.append(
            f"the chain: {advice.latency_ms:.4g} ms; dense: {advice.dense_latency_ms:.4g} ms (predicted)"
        )
    return "\n".join(lines)
