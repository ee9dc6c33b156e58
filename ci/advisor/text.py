"""Advice as text."""

from __future__ import annotations

from kswatch.ci.advisor.nearest import NearestMeasured
from kswatch.ci.advisor.recommend import Advice, ChainAdvice


def advice_text(advice: Advice) -> str:
    """The implementation first, then confidence, reason, gains and the nearest measured problems."""
    sure = "" if advice.confidence is None else f", {advice.confidence:.0%} sure"
    lines = [f"{advice.problem}: use {advice.implementation}{sure}", f"  {advice.why}"]
    for name, gain in (("latency", advice.latency_gain), ("energy", advice.energy_gain)):
        if gain is not None:
            lines.append(f"  {name}: the best alternative takes {gain:.2f} times as much")
    lines += [f"  but {caveat}" for caveat in advice.caveats]
    lines += [f"  measured: {_nearest(one)}" for one in advice.nearest_measured]
    return "\n".join(lines)


def chain_text(advice: ChainAdvice) -> str:
    """One paragraph for each factor."""
    return "\n".join(advice_text(factor) for factor in advice.factors)


def _nearest(one: NearestMeasured) -> str:
    return (
        f"({one.pattern}) batch {one.batch} on {one.device}: {one.winner} won, "
        f"{one.best_baseline}/fused {one.speedup:.2f} in {one.metric}"
    )
