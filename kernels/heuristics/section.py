"""What was learned of one device in one metric, precision and layout, and what it predicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kswatch.kernels.heuristics.cost_model import TERMS, Floats, term_table
from kswatch.kernels.heuristics.features import FEATURES, SIZES, feature_table
from kswatch.kernels.heuristics.forest import Forest
from kswatch.kernels.problem import Problem

SPREAD_PER_DOUBLING = 0.1
"""Added to the spread of log(speedup) for each doubling between what is asked and what was measured.

Not fitted: there is too little yet that was measured on two devices, or outside its own range.
"""


@dataclass(frozen=True)
class ImplementationCost:
    """One implementation's constants, and trees that correct the logarithm of what they give."""

    constants: tuple[float, ...]
    correction: Forest

    def log_costs(self, problems: Sequence[Problem], implementation: str, corrected: bool = True) -> Floats:
        """Natural logarithms of ms or mJ."""
        plain = self.log_plain(problems, implementation)
        return plain + self.correction.predict(feature_table(problems)) if corrected else plain

    def log_plain(self, problems: Sequence[Problem], implementation: str) -> Floats:
        """The same by the constants alone."""
        return np.log(term_table(problems, implementation) @ np.array(self.constants))


@dataclass(frozen=True)
class Section:
    """One device, metric, precision and layout."""

    device: Mapping[str, Any]
    """Facts of the device that it was measured on, `model` among them."""
    metric: str
    precision: str
    layout: str
    problems: int
    """How many with a winner it was fitted on."""
    implementations: Mapping[str, ImplementationCost]
    plain_spread: float
    """Scale of the logistic distribution of log(speedup)'s held-out errors, by the constants alone."""
    spread: float
    """The same with trees."""
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    """Range of the sizes (`features.SIZES`) that was measured."""

    @property
    def is_imported(self) -> bool:
        """Whether it was measured by others: fused is then their kernel, not this project's."""
        return self.device.get("origin") == "imported"

    def log_costs(self, problem: Problem, corrected: bool = True) -> dict[str, float]:
        """Predicted log(ms) or log(mJ) by implementation, the constants alone or corrected by trees."""
        return {name: float(values[0]) for name, values in self.log_costs_of([problem], corrected).items()}

    def log_costs_of(self, problems: Sequence[Problem], corrected: bool = True) -> dict[str, Floats]:
        """The same for many problems at once."""
        plain = {name: cost.log_plain(problems, name) for name, cost in self.implementations.items()}
        if not corrected:
            return plain
        table = feature_table(problems)
        return {
            name: plain[name] + cost.correction.predict(table) for name, cost in self.implementations.items()
        }

    def probability(
        self, problem: Problem, log_speedup: float, corrected: bool = True, distance: float = 0.0
    ) -> float:
        """That fused wins: nearer to 0.5 the smaller the gain, and the further from what was measured.

        Args:
            problem: what is asked about.
            log_speedup: what was predicted of it.
            corrected: with the trees.
            distance: in doublings, added to the problem's own from the measured range.
        """
        outside = self.beyond([problem])
        return float(self.probabilities(outside, np.array([log_speedup]), corrected, distance)[0])

    def probabilities(
        self, beyond: Floats, log_speedups: Floats, corrected: bool = True, distance: float = 0.0
    ) -> Floats:
        """The same for many problems, of which `beyond` says how far each is outside."""
        spread = self.spread if corrected else self.plain_spread
        exponents = log_speedups / (spread + SPREAD_PER_DOUBLING * (distance + beyond.sum(axis=1)))
        return np.asarray(1 / (1 + np.exp(-np.clip(exponents, -60.0, 60.0))))

    def beyond(self, problems: Sequence[Problem]) -> Floats:
        """Doublings by which each size is beyond what was measured, of shape (problems, sizes)."""
        values = feature_table(problems)[:, : len(SIZES)]
        excess = np.maximum(np.array(self.lowest) - values, values - np.array(self.highest))
        return np.where(excess > 1e-9, excess, 0.0)

    def outside(self, problem: Problem) -> list[tuple[str, float]]:
        """Sizes beyond what was measured, each with the doublings by which it is beyond."""
        return named_excess(self.beyond([problem])[0])

    def to_plain(self) -> dict[str, Any]:
        """What JSON holds."""
        plain = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        costs = {
            name: {"constants": cost.constants, "correction": cost.correction.to_plain()}
            for name, cost in self.implementations.items()
        }
        return {**plain, "implementations": costs}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Section:
        """The section that `to_plain` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is not of that form.
        """
        costs = {
            name: ImplementationCost(_floats(cost["constants"], len(TERMS)), _forest(cost["correction"]))
            for name, cost in plain["implementations"].items()
        }
        if "fused" not in costs or len(costs) < 2:
            raise ValueError("fused or every baseline is missing")
        values = {name: plain[name] for name in _PLAIN_FIELDS}
        values |= {name: _floats(plain[name], len(SIZES)) for name in ("lowest", "highest")}
        if not (values["spread"] > 0 and values["plain_spread"] > 0):
            raise ValueError("a spread that is not above 0")
        return cls(**values, implementations=costs)


_PLAIN_FIELDS = (
    "device",
    "metric",
    "precision",
    "layout",
    "problems",
    "plain_spread",
    "spread",
    "lowest",
    "highest",
)


def named_excess(beyond: Floats) -> list[tuple[str, float]]:
    """The sizes of a problem that are beyond what was measured, by name."""
    return [
        (name.removeprefix("log2_"), float(excess))
        for name, excess in zip(SIZES, beyond, strict=True)
        if excess > 0
    ]


def log_speedup_of(log_costs: Mapping[str, float]) -> float:
    """log(best baseline / fused)."""
    return min(value for name, value in log_costs.items() if name != "fused") - log_costs["fused"]


def _floats(values: Sequence[float], count: int) -> tuple[float, ...]:
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise ValueError(f"{len(values)} numbers where {count} finite ones belong")
    return tuple(float(value) for value in values)


def _forest(plain: Mapping[str, Any]) -> Forest:
    forest = Forest.from_plain(plain)
    asked = forest.split_features
    if asked.size and not 0 <= asked.min() <= asked.max() < len(FEATURES):
        raise ValueError("a tree asks for a feature that does not exist")
    return forest
