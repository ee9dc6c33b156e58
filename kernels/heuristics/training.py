"""Fits sections to measurements; the only module that needs scikit-learn (extra `fit`) and SciPy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from kswatch.errors import UsageError
from kswatch.kernels.heuristics.cost_model import Floats, term_table
from kswatch.kernels.heuristics.features import SIZES, feature_table
from kswatch.kernels.heuristics.forest import NO_TREES, Forest
from kswatch.kernels.heuristics.learned import predict_from
from kswatch.kernels.heuristics.measured import Fit, MeasuredProblem, Rule, with_known_winner
from kswatch.kernels.heuristics.rules import PERMUTATION, RANKINGS, fit_majority, fit_threshold
from kswatch.kernels.heuristics.section import ImplementationCost, ModelSection, log_costs, log_speedups

LEAST_PROBLEMS = 8
"""Minimum number of problems to fit the constants of an implementation."""
LEAST_FOR_TREES = 60
"""Minimum number of problems to fit trees; with fewer they would reproduce the noise."""
TREES: dict[str, Any] = {
    "n_estimators": 60,
    "max_depth": 3,
    "learning_rate": 0.06,
    "subsample": 0.5,
    "max_features": 0.4,
}
"""Chosen on the published V100 energies, one setting for all of their sets (see README.md)."""
SEEDS = (0, 1, 2)
"""One set of trees each, averaged: a single seed is a few problems better or worse by chance."""
GRID = 2.0**-14
"""Residuals and features are rounded to multiples of this before trees are fitted: processors differ in the
last bits of a logarithm or a least-squares fit, which would decide between equally good splits."""
REWEIGHTINGS = 10
FOLDS = 3
LEAST_SPREAD = 0.01
WIDE_SPREAD = 1.0
"""Used where too few problems were held out to estimate a spread."""


def fit_sections(
    measured: Sequence[MeasuredProblem],
    device: Mapping[str, Any],
    metric: str,
    seeds: Sequence[int] = SEEDS,
) -> list[ModelSection]:
    """One section for each precision and layout that has enough problems with fused and a baseline.

    `seeds` are those of the trees; without any, only the constants are fitted.
    """
    groups: dict[tuple[str, str], list[MeasuredProblem]] = defaultdict(list)
    for item in measured:
        groups[item.problem.precision, item.problem.layout].append(item)
    fitted = (_fit_section(group, device, metric, seeds) for _, group in sorted(groups.items()))
    return [section for section in fitted if section is not None]


def _fit_section(
    measured: Sequence[MeasuredProblem], device: Mapping[str, Any], metric: str, seeds: Sequence[int]
) -> ModelSection | None:
    costs = _fit_costs(measured, seeds)
    if "fused" not in costs or len(costs) < 2:
        return None
    problem = measured[0].problem
    sizes = feature_table([item.problem for item in measured])[:, : len(SIZES)]
    plain_spread, spread = _spreads(measured, seeds)
    return ModelSection(
        device=device,
        metric=metric,
        precision=problem.precision,
        layout=problem.layout,
        problems=len(with_known_winner(measured)),
        implementations=costs,
        plain_spread=plain_spread,
        spread=spread,
        lowest=tuple(sizes.min(axis=0).tolist()),
        highest=tuple(sizes.max(axis=0).tolist()),
    )


def _fit_costs(measured: Sequence[MeasuredProblem], seeds: Sequence[int]) -> dict[str, ImplementationCost]:
    costs = {}
    for name in sorted({name for item in measured for name in item.costs}):
        with_cost = [item for item in measured if name in item.costs]
        if len(with_cost) >= LEAST_PROBLEMS:
            costs[name] = _fit_cost(with_cost, name, seeds)
    return costs


def _fit_cost(measured: Sequence[MeasuredProblem], name: str, seeds: Sequence[int]) -> ImplementationCost:
    problems = [item.problem for item in measured]
    values = np.array([item.costs[name] for item in measured])
    constants = fit_constants(term_table(problems, name), values)
    plain = ImplementationCost(tuple(constants.tolist()), NO_TREES)
    if not seeds or len(measured) < LEAST_FOR_TREES:
        return plain
    residuals = np.log(values) - log_costs({name: plain}, problems, corrected=False)[name]
    return ImplementationCost(plain.constants, fit_forest(feature_table(problems), residuals, seeds))


def fit_constants(table: Floats, values: Floats) -> Floats:
    """Constants >= 0 for which table @ constants is nearest to the values, in relative terms.

    Least squares of (predicted - value) / sqrt(predicted × value), which to second order is the
    difference of the logarithms; the predicted values in the weights come from the previous iteration.
    """
    from scipy.optimize import nnls

    predicted = values
    for _ in range(REWEIGHTINGS):
        weight = 1 / np.sqrt(predicted * values)
        weighted = table * weight[:, None]
        size = np.where(weighted.max(axis=0) > 0, weighted.max(axis=0), 1.0)
        constants = nnls(weighted / size, values * weight)[0] / size
        predicted = np.maximum(table @ constants, 1e-6 * values)
    # every product keeps some constant cost, so that no logarithm is taken of 0
    constants[0] = max(constants[0], 1e-3 * values.min())
    return np.asarray(constants)


def fit_forest(table: Floats, values: Floats, seeds: Sequence[int] = SEEDS) -> Forest:
    """Boosted trees fitted to the values, as plain arrays.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import GradientBoostingRegressor
    except ImportError as error:
        raise UsageError(
            f"fitting needs scikit-learn ({error}); install it with `pip install -e '.[fit]'`"
        ) from error
    table, values = round_to_grid(table), round_to_grid(values)
    trees = []
    for seed in seeds:
        boosted = GradientBoostingRegressor(**TREES, random_state=seed).fit(table, values)
        trees += [_complete(estimator.tree_, TREES["max_depth"]) for estimator in boosted.estimators_[:, 0]]
    splits, thresholds, leaves = (np.array(part) for part in zip(*trees, strict=True))
    share = TREES["learning_rate"] / len(seeds)
    return Forest(float(values.mean()), splits, thresholds, share * leaves)


def round_to_grid(values: Floats) -> Floats:
    """The nearest multiples of GRID, exact in binary."""
    return np.round(values / GRID) * GRID


def _complete(tree: Any, depth: int) -> tuple[list[int], list[float], list[float]]:  # noqa: ANN401
    """A scikit-learn tree (split features, thresholds, leaves), with all leaves at the same depth."""
    nodes = [0]
    splits: list[int] = []
    thresholds: list[float] = []
    for number in range(2**depth - 1):
        node = nodes[number]
        is_leaf = tree.children_left[node] < 0
        splits.append(0 if is_leaf else int(tree.feature[node]))
        thresholds.append(0.0 if is_leaf else float(tree.threshold[node]))
        nodes += [node, node] if is_leaf else [int(tree.children_left[node]), int(tree.children_right[node])]
    return splits, thresholds, [float(tree.value[node].item()) for node in nodes[2**depth - 1 :]]


def _spreads(measured: Sequence[MeasuredProblem], seeds: Sequence[int]) -> tuple[float, float]:
    """Spreads of the errors of log(speedup) on held-out (b, c): for the constants alone and with trees."""
    blocks = sorted({item.block for item in measured})
    errors: tuple[list[float], list[float]] = ([], [])
    for fold in range(FOLDS):
        held_out = set(blocks[fold::FOLDS])
        # a single set of trees errs slightly more than the mean of several, so the spread is a bit too wide
        costs = _fit_costs([item for item in measured if item.block not in held_out], seeds[:1])
        tested = with_known_winner([item for item in measured if item.block in held_out])
        if "fused" not in costs or len(costs) < 2 or not tested:
            continue
        actual = np.log([item.speedup or 1.0 for item in tested])
        for corrected in (False, True):
            predicted = log_speedups(log_costs(costs, [item.problem for item in tested], corrected))
            errors[corrected].extend((actual - predicted).tolist())
    return _spread(errors[False]), _spread(errors[True])


def _spread(errors: Sequence[float]) -> float:
    """The scale of a logistic distribution with the errors' median magnitude; wide for few errors."""
    if len(errors) < LEAST_PROBLEMS:
        return WIDE_SPREAD
    return max(LEAST_SPREAD, float(np.median(np.abs(errors)) / np.log(3)))


def fitters(device: Mapping[str, Any], metric: str) -> dict[str, Fit]:
    """For each heuristic of `HEURISTICS`, the function that fits it to one device in one metric."""
    return {
        "majority": fit_majority,
        "permutation": lambda measured: lambda problem: PERMUTATION.predict(problem, {}),
        **{name: partial(fit_threshold, name) for name in RANKINGS},
        "cost_model": partial(_fit_learned, device, metric, False),
        "learned": partial(_fit_learned, device, metric, True),
    }


def _fit_learned(
    device: Mapping[str, Any], metric: str, corrected: bool, measured: Sequence[MeasuredProblem]
) -> Rule:
    sections = fit_sections(measured, device, metric, SEEDS if corrected else ())
    facts = {**device, "metric": metric}
    return lambda problem: predict_from(sections, corrected, [problem], facts)[0]
