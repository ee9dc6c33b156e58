"""The fitted heuristics: they predict the cost of each implementation from the nearest measured device.

`cost_model` uses only the constants, `learned` corrects them with trees. Both fall back to the rule
d > 1 where no device of the same kind was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from kswatch.kernels.heuristics.base import DeviceFacts, Heuristic, Prediction
from kswatch.kernels.heuristics.device_distance import device_distance
from kswatch.kernels.heuristics.model_file import learned_sections
from kswatch.kernels.heuristics.rules import PERMUTATION
from kswatch.kernels.heuristics.section import ModelSection, named_excess
from kswatch.kernels.problem import Problem

METRICS: tuple[str, ...] = ("latency", "energy")

OTHER_METRIC = 0.5
OTHER_PRECISION = 1.0
OTHER_LAYOUT = 2.0
"""Penalties for a section with another metric, precision or layout, in doublings like other distances."""


@dataclass(frozen=True)
class CostEstimate:
    """The predicted costs of a problem, and the section of the model that they come from."""

    section: ModelSection
    distance: float
    """Distance between the section and the requested device, metric, precision and layout."""
    caveats: tuple[str, ...]
    """Reasons for a lower confidence than for a problem like the measured ones."""
    costs: dict[str, float]
    """Predicted ms or mJ (by the section's metric) of each implementation, the best first."""
    predicted_speedup: float
    """Best baseline over fused, in the section's metric."""
    confidence: float
    """Probability that the predicted winner is correct."""

    @property
    def predicts_fused(self) -> bool:
        """Whether fused is the best."""
        return self.predicted_speedup > 1


def estimate_costs(
    problem: Problem,
    facts: DeviceFacts,
    metrics: Collection[str] = METRICS,
    sections: Sequence[ModelSection] | None = None,
    corrected: bool = True,
) -> CostEstimate | None:
    """The costs predicted by the nearest section; None where no device of the same kind was measured.

    Args:
        problem: the problem.
        facts: about the device; `model`, `kind` and the canaries' rates are used.
        metrics: the metrics to consider; the first one is preferred.
        sections: the sections to choose from, by default those of the model file in use.
        corrected: with the trees, instead of only the cost model's constants.
    """
    return estimate_many([problem], facts, metrics, sections, corrected)[0]


def estimate_many(
    problems: Sequence[Problem],
    facts: DeviceFacts,
    metrics: Collection[str] = METRICS,
    sections: Sequence[ModelSection] | None = None,
    corrected: bool = True,
) -> list[CostEstimate | None]:
    """The result of `estimate_costs` for each of many problems, computed much faster."""
    known = learned_sections() if sections is None else sections
    indices_by_kind: dict[tuple[str, str], list[int]] = {}
    for index, problem in enumerate(problems):
        indices_by_kind.setdefault((problem.precision, problem.layout), []).append(index)
    result: list[CostEstimate | None] = [None] * len(problems)
    for indices in indices_by_kind.values():
        group = [problems[index] for index in indices]
        nearest = _nearest(known, group[0], facts, list(metrics))
        if nearest is not None:
            estimates = _estimate_from_section(*nearest, group, facts, metrics, corrected)
            for index, estimate in zip(indices, estimates, strict=True):
                result[index] = estimate
    return result


def _nearest(
    known: Sequence[ModelSection], problem: Problem, facts: DeviceFacts, metrics: Sequence[str]
) -> tuple[ModelSection, float] | None:
    """The section nearest to problems of this precision and layout, and its distance."""
    ranked = [
        (_distance(section, problem, facts, metrics), index)
        for index, section in enumerate(known)
        if section.metric in metrics and _kind(section.device) == _kind(facts)
    ]
    if not ranked:
        return None
    distance, index = min(ranked)
    return known[index], distance


def _estimate_from_section(
    section: ModelSection,
    distance: float,
    problems: Sequence[Problem],
    facts: DeviceFacts,
    metrics: Collection[str],
    corrected: bool,
) -> Iterator[CostEstimate]:
    """The estimates of one section for problems of one precision and layout."""
    by_name = section.log_costs(problems, corrected)
    range_excess = section.range_excess(problems)
    baselines = np.min([values for name, values in by_name.items() if name != "fused"], axis=0)
    log_speedups = baselines - by_name["fused"]
    probabilities = section.probabilities(range_excess, log_speedups, corrected, distance)
    costs = np.exp(np.column_stack(list(by_name.values()))).tolist()
    caveats = tuple(_caveats(section, problems[0], facts, next(iter(metrics))))
    for row, values in enumerate(costs):
        probability = float(probabilities[row])
        yield CostEstimate(
            section=section,
            distance=distance,
            caveats=caveats + tuple(map(_range_caveat, named_excess(range_excess[row]))),
            costs=dict(sorted(zip(by_name, values, strict=True), key=itemgetter(1))),
            predicted_speedup=math.exp(log_speedups[row]),
            confidence=max(probability, 1 - probability),
        )


def _range_caveat(excess: tuple[str, float]) -> str:
    return f"{excess[0]} is {excess[1]:.1f} doublings outside the measured range"


def _distance(section: ModelSection, problem: Problem, facts: DeviceFacts, metrics: Sequence[str]) -> float:
    return (
        device_distance(facts, section.device, problem.precision)
        + OTHER_METRIC * metrics.index(section.metric)
        + OTHER_PRECISION * _precision_steps(section.precision, problem.precision)
        + OTHER_LAYOUT * (section.layout != problem.layout)
    )


def _precision_steps(first: str, second: str) -> int:
    """0 for the same precision, 1 between the two of 16 bits, 2 between others."""
    if first == second:
        return 0
    return 1 if {first, second} == {"fp16", "bf16"} else 2


def _kind(facts: DeviceFacts) -> str:
    return str(facts.get("kind") or "cuda")


def _caveats(section: ModelSection, problem: Problem, facts: DeviceFacts, metric: str) -> list[str]:
    model, measured_on = facts.get("model") or "this device", section.device.get("model")
    caveats = []
    if device_distance(facts, section.device, problem.precision):
        caveats.append(f"{model} was never measured: the nearest measured device is {measured_on}")
    if section.is_imported:
        caveats.append(f"the measurements of {measured_on} are imported, with another project's fused kernel")
    requested = (("metric", metric), ("precision", problem.precision), ("layout", problem.layout))
    for name, value in requested:
        if getattr(section, name) != value:
            caveats.append(f"{name} {value} was not measured there, only {getattr(section, name)}")
    return caveats


def _fitted(name: str, statement: str, corrected: bool) -> Heuristic:
    def predict(problem: Problem, facts: DeviceFacts) -> Prediction:
        return predict_from(None, corrected)(problem, facts)

    def predict_many(problems: Sequence[Problem], facts: DeviceFacts) -> list[Prediction]:
        return _predictions(problems, facts, None, corrected)

    return Heuristic(name, 1, statement, predict, predict_many)


def predict_from(
    sections: Sequence[ModelSection] | None, corrected: bool
) -> Callable[[Problem, DeviceFacts], Prediction]:
    """A rule that predicts from these sections, by default those of the model file in use."""

    def predict(problem: Problem, facts: DeviceFacts) -> Prediction:
        return _predictions([problem], facts, sections, corrected)[0]

    return predict


def _predictions(
    problems: Sequence[Problem], facts: DeviceFacts, sections: Sequence[ModelSection] | None, corrected: bool
) -> list[Prediction]:
    metric = str(facts.get("metric", METRICS[0]))
    metrics = (metric, *(other for other in METRICS if other != metric))
    estimates = estimate_many(problems, facts, metrics, sections, corrected)
    pairs = zip(problems, estimates, strict=True)
    return [_prediction(problem, estimate, facts, metric) for problem, estimate in pairs]


def _prediction(
    problem: Problem, estimate: CostEstimate | None, facts: DeviceFacts, metric: str
) -> Prediction:
    if estimate is None:
        return PERMUTATION.predict(problem, facts)
    if estimate.section.metric != metric:
        return Prediction(estimate.predicts_fused, confidence=estimate.confidence)
    return Prediction(
        estimate.predicts_fused, estimate.predicted_speedup, estimate.confidence, estimate.costs
    )


COST_MODEL = _fitted("cost_model", "fused where its cost model predicts the lowest cost", False)
LEARNED = _fitted("learned", "fused where the cost model with boosted trees predicts the lowest cost", True)
