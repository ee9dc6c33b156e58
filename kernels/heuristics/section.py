"""One section of the model file: the fitted model of a device in one metric, precision and layout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from kswatch.kernels.heuristics.cost_model import TERM_COUNT, Floats, term_table
from kswatch.kernels.heuristics.features import FEATURES, SIZES, feature_table
from kswatch.kernels.heuristics.forest import Forest
from kswatch.kernels.problem import Problem

SPREAD_PER_DOUBLING = 0.1
"""Added to the spread of log(speedup) for each doubling between the problem and the measured ones.

Not fitted: too few measurements exist from two devices, or outside the range of a fit.
"""


@dataclass(frozen=True)
class ImplementationCost:
    """The constants of one implementation, and the trees that correct the logarithm of their cost."""

    constants: tuple[float, ...]
    correction: Forest


def log_costs(
    implementations: Mapping[str, ImplementationCost], problems: Sequence[Problem], corrected: bool
) -> dict[str, Floats]:
    """Predicted log(ms) or log(mJ) by implementation, from the constants alone or corrected by trees."""
    costs = {
        name: np.log(term_table(problems, name) @ np.array(cost.constants))
        for name, cost in implementations.items()
    }
    if not corrected:
        return costs
    table = feature_table(problems)
    return {name: costs[name] + cost.correction.predict(table) for name, cost in implementations.items()}


def log_speedups(log_costs: Mapping[str, Floats]) -> Floats:
    """log(best baseline / fused) of each problem."""
    baselines = [costs for name, costs in log_costs.items() if name != "fused"]
    return np.min(baselines, axis=0) - log_costs["fused"]


@dataclass(frozen=True)
class ModelSection:
    """One device, metric, precision and layout."""

    device: Mapping[str, Any]
    """Facts about the measured device, including `model`."""
    metric: str
    precision: str
    layout: str
    problems: int
    """Number of problems with a known winner in the fit."""
    implementations: Mapping[str, ImplementationCost]
    plain_spread: float
    """Scale of the logistic distribution of log(speedup)'s held-out errors, for the constants alone."""
    spread: float
    """The same with trees."""
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    """Measured range of the sizes (`features.SIZES`)."""

    @property
    def is_imported(self) -> bool:
        """Whether the measurements were imported: fused is then not this project's kernel."""
        return self.device.get("origin") == "imported"

    def log_costs(self, problems: Sequence[Problem], corrected: bool = True) -> dict[str, Floats]:
        """Predicted log(ms) or log(mJ) by implementation, from the constants alone or corrected by trees."""
        return log_costs(self.implementations, problems, corrected)

    def probabilities(
        self, range_excess: Floats, log_speedups: Floats, corrected: bool = True, distance: float = 0.0
    ) -> Floats:
        """Probabilities that fused wins: nearer to 0.5 for a small gain and far from the measured problems.

        Args:
            range_excess: of the problems, from the method of this name.
            log_speedups: the predicted log(speedup) of each problem.
            corrected: with the trees.
            distance: in doublings, added to each problem's excess over the measured range.
        """
        spread = self.spread if corrected else self.plain_spread
        exponents = log_speedups / (spread + SPREAD_PER_DOUBLING * (distance + range_excess.sum(axis=1)))
        return np.asarray(1 / (1 + np.exp(-np.clip(exponents, -60.0, 60.0))))

    def range_excess(self, problems: Sequence[Problem]) -> Floats:
        """Doublings by which each size exceeds the measured range, of shape (problems, sizes)."""
        values = feature_table(problems)[:, : len(SIZES)]
        excess = np.maximum(np.array(self.lowest) - values, values - np.array(self.highest))
        return np.where(excess > 1e-9, excess, 0.0)

    def to_plain(self) -> dict[str, Any]:
        """The section as values for JSON."""
        costs = {
            name: {"constants": cost.constants, "correction": cost.correction.to_plain()}
            for name, cost in self.implementations.items()
        }
        return {**vars(self), "implementations": costs}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ModelSection:
        """The section from the values of `to_plain`.

        Raises:
            ValueError, KeyError, TypeError: the values have another form.
        """
        costs = {
            name: ImplementationCost(_floats(cost["constants"], TERM_COUNT), _forest(cost["correction"]))
            for name, cost in plain["implementations"].items()
        }
        if "fused" not in costs or len(costs) < 2:
            raise ValueError("fused or every baseline is missing")
        values = {field.name: plain[field.name] for field in fields(cls)} | {"implementations": costs}
        values |= {name: _floats(plain[name], len(SIZES)) for name in ("lowest", "highest")}
        if not (values["spread"] > 0 and values["plain_spread"] > 0):
            raise ValueError("a spread is not above 0")
        return cls(**values)


def _floats(values: Sequence[float], count: int) -> tuple[float, ...]:
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise ValueError(f"{len(values)} numbers, expected {count} finite ones")
    return tuple(float(value) for value in values)


def _forest(plain: Mapping[str, Any]) -> Forest:
    forest = Forest.from_plain(plain)
    used = forest.split_features
    if used.size and not 0 <= used.min() <= used.max() < len(FEATURES):
        raise ValueError("a tree uses a feature that does not exist")
    return forest
