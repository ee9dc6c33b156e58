"""The fitted heuristics: what each implementation will cost, from the nearest device that was measured.

`cost_model` takes the constants alone, `learned` corrects them by trees. Both fall back on the rule
d > 1 where nothing was measured on a device of that kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from kernels.heuristics.families import device_distance
from kernels.heuristics.heuristic import DeviceFacts, Heuristic, Prediction
from kernels.heuristics.model_file import learned_sections
from kernels.heuristics.rules import PERMUTATION
from kernels.heuristics.section import Section, log_speedup_of
from kernels.problem import Problem

METRICS: tuple[str, ...] = ("latency", "energy")

OTHER_METRIC = 0.5
OTHER_PRECISION = 1.0
OTHER_LAYOUT = 2.0
"""Distances that are added where a section speaks of something else, in doublings like the others."""


@dataclass(frozen=True)
class Estimate:
    """What is expected of a problem, and on which grounds."""

    section: Section
    distance: float
    """How far the section's device, metric, precision and layout are from what was asked."""
    caveats: tuple[str, ...]
    """Why the confidence is lower than that of a problem like the measured ones."""
    costs: dict[str, float]
    """Predicted ms or mJ (by the section's metric) of each implementation, the best first."""
    predicted_speedup: float
    """Best baseline over fused, in the section's metric."""
    confidence: float
    """Probability of being right about the winner."""

    @property
    def predicts_fused(self) -> bool:
        """Whether fused is the best."""
        return self.predicted_speedup > 1


def estimate(
    problem: Problem,
    facts: DeviceFacts,
    metrics: Collection[str] = METRICS,
    sections: Sequence[Section] | None = None,
    corrected: bool = True,
) -> Estimate | None:
    """What the nearest section says; None where no device of that kind was measured.

    Args:
        problem: what is asked about.
        facts: of the device; `model`, `kind` and canaries' rates are used.
        metrics: sections of others are not asked; of several the first is preferred.
        sections: to choose from, by default those of the model file in use.
        corrected: with the trees, or the cost model's constants alone.
    """
    known = learned_sections() if sections is None else sections
    ranked = [
        (_distance(section, problem, facts, list(metrics)), number, section)
        for number, section in enumerate(known)
        if section.metric in metrics and _kind(section.device) == _kind(facts)
    ]
    if not ranked:
        return None
    distance, _, section = min(ranked, key=lambda one: one[:2])
    log_costs = section.log_costs(problem, corrected)
    log_speedup = log_speedup_of(log_costs)
    probability = section.probability(problem, log_speedup, corrected, distance)
    return Estimate(
        section=section,
        distance=distance,
        caveats=tuple(_caveats(section, problem, facts, next(iter(metrics)))),
        costs={name: math.exp(value) for name, value in sorted(log_costs.items(), key=lambda item: item[1])},
        predicted_speedup=math.exp(log_speedup),
        confidence=max(probability, 1 - probability),
    )


def _distance(section: Section, problem: Problem, facts: DeviceFacts, metrics: Sequence[str]) -> float:
    return (
        device_distance(facts, section.device, problem.precision)
        + OTHER_METRIC * metrics.index(section.metric)
        + OTHER_PRECISION * _precision_steps(section.precision, problem.precision)
        + OTHER_LAYOUT * (section.layout != problem.layout)
    )


def _precision_steps(one: str, other: str) -> int:
    """0 for the same, 1 between the two of 16 bits, 2 between others."""
    if one == other:
        return 0
    return 1 if {one, other} == {"fp16", "bf16"} else 2


def _kind(facts: DeviceFacts) -> str:
    return str(facts.get("kind") or "cuda")


def _caveats(section: Section, problem: Problem, facts: DeviceFacts, metric: str) -> list[str]:
    model, measured_on = facts.get("model") or "this device", section.device.get("model")
    said = []
    if device_distance(facts, section.device, problem.precision):
        said.append(f"{model} was never measured: the nearest that was is {measured_on}")
    if section.is_imported:
        said.append(f"{measured_on} was measured by others, with their fused kernel")
    wanted = (("metric", metric), ("precision", problem.precision), ("layout", problem.layout))
    for name, value in wanted:
        if getattr(section, name) != value:
            said.append(f"{name} {value} was not measured there: {getattr(section, name)} is")
    for name, doublings in section.outside(problem):
        said.append(f"{name} lies {doublings:.1f} doublings outside what was measured")
    return said


def _fitted(name: str, statement: str, corrected: bool) -> Heuristic:
    def predict(problem: Problem, facts: DeviceFacts) -> Prediction:
        return predict_from(None, corrected)(problem, facts)

    return Heuristic(name, 1, statement, predict)


def predict_from(
    sections: Sequence[Section] | None, corrected: bool
) -> Callable[[Problem, DeviceFacts], Prediction]:
    """A rule from these sections, by default those of the model file in use."""

    def predict(problem: Problem, facts: DeviceFacts) -> Prediction:
        metric = str(facts.get("metric", METRICS[0]))
        wanted = (metric, *(other for other in METRICS if other != metric))
        said = estimate(problem, facts, wanted, sections, corrected)
        if said is None:
            return PERMUTATION.predict(problem, facts)
        if said.section.metric != metric:
            return Prediction(said.predicts_fused, confidence=said.confidence)
        return Prediction(said.predicts_fused, said.predicted_speedup, said.confidence, said.costs)

    return predict


COST_MODEL = _fitted("cost_model", "fused where passes over memory, operations and launches say so", False)
LEARNED = _fitted("learned", "fused where the cost model, corrected by boosted trees, says so", True)
