"""The choice among the alternatives to compute each layer: the fastest, or the most exact within limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kswatch.errors import UsageError
from kswatch.kernels.adoption.plan import Alternative

_NO_ERROR = 1e-9
"""Stands for an error of 0, so that gains can be divided by it."""


@dataclass(frozen=True)
class Limits:
    """What the model may cost at most; None is no limit."""

    max_parameters: int | None = None
    """Of the whole model."""
    max_latency_ms: float | None = None
    """Of the linear layers, summed."""
    max_energy_mj: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int | float) or not value > 0
            ):
                raise UsageError(f"{name} = {value!r} is not a number above 0")

    @property
    def are_given(self) -> bool:
        """Whether there is any."""
        return any(value is not None for value in vars(self).values())


def loses(chain: Alternative, dense: Alternative) -> bool | None:
    """Whether the chain is no faster than dense, or by energy if no latency is known; None without data."""
    for metric in ("latency", "energy"):
        cost, alternative = getattr(chain, metric).value, getattr(dense, metric).value
        if cost is not None and alternative is not None:
            return bool(cost >= alternative)
    return None


def fastest(chains: Sequence[Alternative]) -> Alternative | None:
    """The chain of the lowest latency, or energy where no latency is known; else the most exact one."""
    if not chains:
        return None
    for metric in ("latency", "energy"):
        known = [alternative for alternative in chains if getattr(alternative, metric).value is not None]
        if known:
            return min(known, key=lambda alternative: float(getattr(alternative, metric).value))
    return min(chains, key=_error)


def within_limits(
    options: Sequence[Sequence[Alternative]], limits: Limits, other_parameters: int
) -> list[int]:
    """The option of each layer: the limits are met by the steps that lose least for what they gain.

    Args:
        options: of each layer, the first one dense.
        limits: at least one.
        other_parameters: parameters of the model outside these layers.

    Returns:
        The place of the chosen option of each layer.

    Raises:
        UsageError: the limits cannot be met with these options, or a limited cost is not known.
    """
    _check_known(options, limits)
    chosen = [0] * len(options)
    excess = _excess(options, chosen, limits, other_parameters)
    while excess > 0:
        best_step, best_rate = None, 0.0
        for layer, alternatives in enumerate(options):
            for place in range(len(alternatives)):
                step = [*chosen[:layer], place, *chosen[layer + 1 :]]
                gain = excess - _excess(options, step, limits, other_parameters)
                if gain <= 1e-12:
                    continue
                loss = _error(alternatives[place]) ** 2 - _error(alternatives[chosen[layer]]) ** 2
                rate = gain / max(loss, _NO_ERROR)
                if rate > best_rate:
                    best_step, best_rate = step, rate
        if best_step is None:
            raise UsageError(_unreachable(options, chosen, limits, other_parameters))
        chosen = best_step
        excess = _excess(options, chosen, limits, other_parameters)
    return chosen


def _error(alternative: Alternative) -> float:
    if not alternative.patterns:
        return 0.0
    return 1.0 if alternative.projection_error is None else alternative.projection_error


def _totals(
    options: Sequence[Sequence[Alternative]], chosen: Sequence[int], other_parameters: int
) -> dict[str, float]:
    alternatives = [one[place] for one, place in zip(options, chosen, strict=True)]
    return {
        "max_parameters": other_parameters + sum(alternative.parameters for alternative in alternatives),
        "max_latency_ms": sum(alternative.latency.value or 0.0 for alternative in alternatives),
        "max_energy_mj": sum(alternative.energy.value or 0.0 for alternative in alternatives),
    }


def _excess(
    options: Sequence[Sequence[Alternative]], chosen: Sequence[int], limits: Limits, other_parameters: int
) -> float:
    """By how much the limits are exceeded, as shares, summed."""
    totals = _totals(options, chosen, other_parameters)
    return sum(
        max(0.0, totals[name] / limit - 1) for name, limit in vars(limits).items() if limit is not None
    )


def _check_known(options: Sequence[Sequence[Alternative]], limits: Limits) -> None:
    for name, metric in (("max_latency_ms", "latency"), ("max_energy_mj", "energy")):
        missing = sum(getattr(alternatives[0], metric).value is None for alternatives in options)
        if getattr(limits, name) is not None and missing:
            raise UsageError(
                f"{name} cannot be kept: no {metric} is known for {missing} of {len(options)} layers on this "
                "device; measure it (kswatch profile, kswatch heuristics fit), or limit something else"
            )


def _unreachable(
    options: Sequence[Sequence[Alternative]], chosen: Sequence[int], limits: Limits, other_parameters: int
) -> str:
    totals = _totals(options, chosen, other_parameters)
    missed = (
        f"{name} = {limit:g} (least found: {totals[name]:g})"
        for name, limit in vars(limits).items()
        if limit is not None and totals[name] > limit
    )
    return f"no chains of these layers keep {' and '.join(missed)}; allow more"
