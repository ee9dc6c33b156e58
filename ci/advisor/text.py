"""Advice for people."""

from __future__ import annotations

from kswatch.ci.advisor.nearest import NearestMeasured
from kswatch.ci.advisor.recommend import Advice, ChainAdvice


def advice_text(said: Advice) -> str:
    """What to use first, then how sure, why, and what was measured nearest."""
    sure = "" if said.confidence is None else f", {said.confidence:.0%} sure"
    lines = [f"{said.problem}: use {said.implementation}{sure}", f"  {said.why}"]
    for name, gain in (("time", said.latency_gain), ("energy", said.energy_gain)):
        if gain is not None:
            lines.append(f"  {name}: the best alternative takes {gain:.2f} times as much")
    lines += [f"  but {caveat}" for caveat in said.caveats]
    lines += [f"  measured: {_nearest(one)}" for one in said.nearest_measured]
    return "\n".join(lines)


def chain_text(said: ChainAdvice) -> str:
    """One paragraph for each factor."""
    return "\n".join(advice_text(factor) for factor in said.factors)


def _nearest(one: NearestMeasured) -> str:
    gain = "in time" if one.metric == "latency" else "in energy"
    return (
        f"({one.pattern}) batch {one.batch} on {one.device}: {one.winner} won, "
        f"{one.best_baseline}/fused {one.speedup:.2f} {gain}"
    )
