"""Latency and energy of a linear layer, dense or as a chain: measured, predicted, or no data.

A chain costs the sum of its factors; a dense layer what `dense` costs for any pattern of its sides. Nothing
is carried over from another device model, precision or layout, nor far outside the measured sizes: there it
is no data.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, gcd
from typing import Final, Literal

from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.device_distance import device_distance
from kswatch.kernels.heuristics.learned import METRICS, NEAR, estimate_many, layer_choice
from kswatch.kernels.heuristics.measured import MeasuredProblem
from kswatch.kernels.heuristics.model_file import learned_sections
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Layout, Precision, Problem

Source = Literal["measured", "predicted", "no data"]
Chain = tuple[Pattern, ...]

AUTO: Final = "auto"
"""The algorithm of `KSLinear` that takes `learned.layer_choice` for each factor."""
_SPLITS = 64
"""The most equal parts into which the sides of a dense layer are split to find a measured pattern."""


@dataclass(frozen=True)
class Cost:
    """A latency in ms or an energy in mJ; None where there is no data."""

    value: float | None = None
    source: Source = "no data"

    def __add__(self, other: Cost) -> Cost:
        """The sum: measured where both are, and no data where one has none."""
        if self.value is None or other.value is None:
            return Cost()
        return Cost(self.value + other.value, max(self.source, other.source))  # predicted > measured


@dataclass(frozen=True)
class ChainCost:
    """What a chain costs with one algorithm of `KSLinear`."""

    algorithm: str
    cost: Cost


class LayerCosts:
    """The costs of layers on one device, in `batch_first` or `batch_last`.

    Args:
        facts: about the device.
        measured: its measured problems by metric; predictions fill what is missing.
        layout: of the layers.
    """

    def __init__(
        self,
        facts: DeviceFacts,
        measured: Mapping[str, Sequence[MeasuredProblem]] | None = None,
        layout: Layout = "batch_first",
    ) -> None:
        self.facts, self.layout = facts, layout
        self._measured = {
            metric: {one.problem: one.costs for one in found} for metric, found in (measured or {}).items()
        }
        self._known: dict[tuple[str, Problem], dict[str, Cost]] = {}

    def remarks(self) -> tuple[str, ...]:
        """Where the predictions come from, or that there are none."""
        near = [
            section
            for section in learned_sections()
            if section.layout == self.layout
            and device_distance(self.facts, section.device, section.precision) < NEAR
        ]
        origins = (
            f"{one.metric} in {one.precision} predicted from {one.problems} problems on {one.device['model']}"
            + (", imported: its fused kernel is another project's" if one.is_imported else "")
            for one in near
        )
        return tuple(origins) or (
            "nothing like this was measured: `kswatch profile` and `kswatch heuristics fit` give predictions",
        )

    def chain(
        self,
        patterns: Chain,
        batch: int,
        precision: Precision,
        metric: str = METRICS[0],
        algorithm: str | None = None,
    ) -> ChainCost:
        """The chain with the given algorithm, or the cheapest: `auto` unless a named one is cheaper."""
        problems = [Problem(pattern, batch, precision, self.layout) for pattern in patterns]
        costs = self._by_implementation(problems, metric)
        names = set.intersection(*(set(one) for one in costs)) if algorithm is None else {algorithm} - {AUTO}
        found = [
            ChainCost(name, _sum(one.get(name, Cost()) for one in costs))
            for name in sorted(names - {"dense"})
        ]
        if algorithm in (None, AUTO):
            choices = [layer_choice(problem, self.facts) for problem in problems]
            found.insert(0, ChainCost(AUTO, self.by_names(patterns, choices, batch, precision, metric)))
        return min(found, key=lambda one: (one.cost.value is None, one.cost.value or 0.0))

    def by_names(
        self,
        patterns: Sequence[Pattern],
        implementations: Sequence[str],
        batch: int,
        precision: Precision,
        metric: str = METRICS[0],
    ) -> Cost:
        """The chain with the given implementation of each factor."""
        problems = [Problem(pattern, batch, precision, self.layout) for pattern in patterns]
        costs = self._by_implementation(problems, metric)
        return _sum(one.get(name, Cost()) for one, name in zip(costs, implementations, strict=True))

    def cheapest(
        self, chains: Sequence[Chain], batch: int, precision: Precision, metric: str = METRICS[0]
    ) -> list[float | None]:
        """The cost of each chain with the cheapest implementation of each factor; None without data."""
        problems = {
            pattern: Problem(pattern, batch, precision, self.layout)
            for pattern in dict.fromkeys(pattern for chain in chains for pattern in chain)
        }
        costs = self._by_implementation(list(problems.values()), metric)
        least = {
            pattern: min((cost.value for name, cost in found.items() if name != "dense"), default=None)  # type: ignore[type-var]
            for pattern, found in zip(problems, costs, strict=True)
        }
        return [_total([least[pattern] for pattern in chain]) for chain in chains]

    def dense(
        self, in_features: int, out_features: int, batch: int, precision: Precision, metric: str = METRICS[0]
    ) -> Cost:
        """The dense layer: the median over the measured patterns of its sides, else the predicted.

        Predicted by the cost model's constants alone: the trees correct products of sizes that were measured,
        and whole layers are often larger than the largest dense product among them.
        """
        measured = [
            costs["dense"]
            for problem, costs in self._measured.get(metric, {}).items()
            if (problem.batch, problem.precision, problem.layout) == (batch, precision, self.layout)
            and (problem.pattern.columns, problem.pattern.rows) == (in_features, out_features)
            and "dense" in costs
        ]
        if measured:
            return Cost(statistics.median(measured), "measured")
        patterns = _patterns_of_sides(in_features, out_features)
        problems = [Problem(one, batch, precision, self.layout) for one in patterns]
        found = self._predicted(problems, metric, corrected=False)
        values = [costs["dense"] for costs in found if "dense" in costs]
        return Cost(statistics.median(values), "predicted") if values else Cost()

    def _by_implementation(self, problems: Sequence[Problem], metric: str) -> list[dict[str, Cost]]:
        """The cost of each problem by implementation: measured, or else predicted."""
        missing = [one for one in dict.fromkeys(problems) if (metric, one) not in self._known]
        for problem, predicted in zip(missing, self._predicted(missing, metric), strict=True):
            measured = self._measured.get(metric, {}).get(problem, {})
            self._known[metric, problem] = {
                **{name: Cost(value, "predicted") for name, value in predicted.items()},
                **{name: Cost(value, "measured") for name, value in measured.items()},
            }
        return [self._known[metric, problem] for problem in problems]

    def _predicted(
        self, problems: Sequence[Problem], metric: str, corrected: bool = True
    ) -> list[Mapping[str, float]]:
        estimates = estimate_many(problems, self.facts, (metric,), corrected=corrected) if problems else []
        return [{} if one is None or one.distance >= NEAR or one.is_far else one.costs for one in estimates]


def _sum(costs: Iterable[Cost]) -> Cost:
    first, *others = costs
    for other in others:
        first += other
    return first


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fsum(known) if len(known) == len(values) else None


def _patterns_of_sides(in_features: int, out_features: int) -> list[Pattern]:
    """Patterns whose dense matrix has these sides: split into equal blocks, side by side or interleaved."""
    parts = [count for count in range(1, _SPLITS + 1) if gcd(in_features, out_features) % count == 0]
    blocks = [(count, out_features // count, in_features // count) for count in parts]
    parallel = [Pattern(count, rows, columns, 1) for count, rows, columns in blocks]
    return parallel + [Pattern(1, rows, columns, count) for count, rows, columns in blocks[1:]]
