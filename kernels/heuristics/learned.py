"""The fitted heuristics: what each implementation will cost, from the nearest device that was measured.

`cost_model` takes the constants alone, `learned` corrects them by trees. Both fall back on the rule
d > 1 where nothing was measured on a device of that kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from kswatch.kernels.heuristics.base import DeviceFacts, Heuristic, Prediction
from kswatch.kernels.heuristics.families import device_distance
from kswatch.kernels.heuristics.model_file import learned_sections
from kswatch.kernels.heuristics.rules import PERMUTATION
from kswatch.kernels.heuristics.section import Section, named_excess
from kswatch.kernels.problem import Problem

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
    return estimates([problem], facts, metrics, sections, corrected)[0]


def estimates(
    problems: Sequence[Problem],
    facts: DeviceFacts,
    metrics: Collection[str] = METRICS,
    sections: Sequence[Section] | None = None,
    corrected: bool = True,
) -> list[Estimate | None]:
    """What `estimate` says of each of many problems, in a small part of the time."""
    known = learned_sections() if sections is None else sections
    alike: dict[tuple[str, str], list[int]] = {}
    for place, problem in enumerate(problems):
        alike.setdefault((problem.precision, problem.layout), []).append(place)
    said: list[Estimate | None] = [None] * len(problems)
    for places in alike.values():
        some = [problems[place] for place in places]
        nearest = _nearest(known, some[0], facts, list(metrics))
        if nearest is not None:
            for place, found in zip(
                places, _estimates_by(*nearest, some, facts, metrics, corrected), strict=True
            ):
                said[place] = found
    return said


def _nearest(
    known: Sequence[Section], problem: Problem, facts: DeviceFacts, metrics: Sequence[str]
) -> tuple[Section, float] | None:
    """The section to ask about problems of this precision and layout, and how far it is."""
    ranked = [
        (_distance(section, problem, facts, metrics), number)
        for number, section in enumerate(known)
        if section.metric in metrics and _kind(section.device) == _kind(facts)
    ]
    if not ranked:
        return None
    distance, number = min(ranked)
    return known[number], distance


def _estimates_by(
    section: Section,
    distance: float,
    problems: Sequence[Problem],
    facts: DeviceFacts,
    metrics: Collection[str],
    corrected: bool,
) -> Iterator[Estimate]:
    """What one section says of problems of one precision and layout."""
    by_name = section.log_costs_of(problems, corrected)
    beyond = section.beyond(problems)
    baselines = np.min([values for name, values in by_name.items() if name != "fused"], axis=0)
    log_speedups = baselines - by_name["fused"]
    chances = section.probabilities(beyond, log_speedups, corrected, distance)
    costs = np.exp(np.column_stack(list(by_name.values()))).tolist()
    caveats = tuple(_caveats(section, problems[0], facts, next(iter(metrics))))
    for row, values in enumerate(costs):
        chance = float(chances[row])
        yield Estimate(
            section=section,
            distance=distance,
            caveats=caveats + tuple(map(_told_excess, named_excess(beyond[row]))),
            costs=dict(sorted(zip(by_name, values, strict=True), key=itemgetter(1))),
            predicted_speedup=math.exp(log_speedups[row]),
            confidence=max(chance, 1 - chance),
        )


def _told_excess(excess: tuple[str, float]) -> str:
    return f"{excess[0]} lies {excess[1]:.1f} doublings outside what was measured"


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
    return said


def _fitted(name: str, statement: str, corrected: bool) -> Heuristic:
    def predict(problem: Problem, facts: DeviceFacts) -> Prediction:
        return predict_from(None, corrected)(problem, facts)

    def predict_together(problems: Sequence[Problem], facts: DeviceFacts) -> list[Prediction]:
        return _predictions(problems, facts, None, corrected)

    return Heuristic(name, 1, statement, predict, predict_together)


def predict_from(
    sections: Sequence[Section] | None, corrected: bool
) -> Callable[[Problem, DeviceFacts], Prediction]:
    """A rule from these sections, by default those of the model file in use."""

    def predict(problem: Problem, facts: DeviceFacts) -> Prediction:
        return _predictions([problem], facts, sections, corrected)[0]

    return predict


def _predictions(
    problems: Sequence[Problem], facts: DeviceFacts, sections: Sequence[Section] | None, corrected: bool
) -> list[Prediction]:
    metric = str(facts.get("metric", METRICS[0]))
    wanted = (metric, *(other for other in METRICS if other != metric))
    said = estimates(problems, facts, wanted, sections, corrected)
    pairs = zip(problems, said, strict=True)
    return [_prediction(problem, found, facts, metric) for problem, found in pairs]


def _prediction(problem: Problem, said: Estimate | None, facts: DeviceFacts, metric: str) -> Prediction:
    if said is None:
        return PERMUTATION.predict(problem, facts)
    if said.section.metric != metric:
        return Prediction(said.predicts_fused, confidence=said.confidence)
    return Prediction(said.predicts_fused, said.predicted_speedup, said.confidence, said.costs)


COST_MODEL = _fitted("cost_model", "fused where passes over memory, operations and launches say so", False)
LEARNED = _fitted("learned", "fused where the cost model, corrected by boosted trees, says so", True)
