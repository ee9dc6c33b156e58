"""The fitted heuristics: they predict the cost of each implementation from the nearest measured device.

`cost_model` uses only the constants, `learned` corrects them with trees. Both fall back to the rule
d > 1 where no device of the same kind was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

import numpy as np

from kswatch.kernels.heuristics.base import DeviceFacts, Heuristic, Prediction
from kswatch.kernels.heuristics.cost_model import Floats
from kswatch.kernels.heuristics.device_distance import device_distance
from kswatch.kernels.heuristics.features import SIZES
from kswatch.kernels.heuristics.model_file import learned_sections
from kswatch.kernels.heuristics.rules import PERMUTATION
from kswatch.kernels.heuristics.section import ModelSection, log_speedups
from kswatch.kernels.problem import Problem

METRICS: tuple[str, ...] = ("latency", "energy")

OTHER_METRIC = 0.5
OTHER_PRECISION = 1.0
OTHER_LAYOUT = 2.0
"""Penalties for a section with another metric, precision or layout, in doublings like other distances."""
NEAR = 1.0
"""Sections at this distance or more belong to another model, precision or layout."""
SMALL_WEIGHTS = 4096
"""Up to so many weights a layer takes the twin on a CPU: starting a product takes longest there, and a layer
starts the twin fastest (`kernels/layer/native.py`), which no measurement of an implementation shows."""
FAR = 3.0
"""Doublings outside the measured sizes from which on no confidence is claimed: by then the spread of
log(speedup) has grown by 0.3, more than most gains."""


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
    range_excess: float = 0.0
    """Doublings by which the problem's sizes exceed the measured ranges, summed over the sizes."""

    @property
    def is_far(self) -> bool:
        """Whether the problem is so far outside the measured sizes that its costs are a guess."""
        return self.range_excess > FAR

    @property
    def predicts_fused(self) -> bool:
        """Whether fused is the best."""
        return self.predicted_speedup > 1


def estimate_costs(
    problem: Problem,
    facts: DeviceFacts,
    metrics: Sequence[str],
    sections: Sequence[ModelSection] | None = None,
) -> CostEstimate | None:
    """The costs predicted by the nearest section; None where no device of the same kind was measured.

    Args:
        problem: the problem.
        facts: about the device; `model`, `kind` and the canaries' rates are used.
        metrics: the metrics to consider; the first one is preferred.
        sections: the sections to choose from, by default those of the model file in use.
    """
    return estimate_many([problem], facts, metrics, sections)[0]


def estimate_many(
    problems: Sequence[Problem],
    facts: DeviceFacts,
    metrics: Sequence[str],
    sections: Sequence[ModelSection] | None = None,
    corrected: bool = True,
) -> list[CostEstimate | None]:
    """`estimate_costs` of many problems, by the trees or (`corrected` is False) the constants alone."""
    known = learned_sections() if sections is None else sections
    indices_by_kind: dict[tuple[str, str], list[int]] = {}
    for index, problem in enumerate(problems):
        indices_by_kind.setdefault((problem.precision, problem.layout), []).append(index)
    result: list[CostEstimate | None] = [None] * len(problems)
    for indices in indices_by_kind.values():
        group = [problems[index] for index in indices]
        nearest = _nearest(known, group[0], facts, metrics)
        if nearest is not None:
            estimates = _estimate_from_section(*nearest, group, facts, metrics, corrected)
            for index, estimate in zip(indices, estimates, strict=True):
                result[index] = estimate
    return result


def _nearest(
    known: Sequence[ModelSection], problem: Problem, facts: DeviceFacts, metrics: Sequence[str]
) -> tuple[ModelSection, float] | None:
    """The section nearest to problems of this precision and layout, and its distance."""
    candidates = (
        (section, _distance(section, problem, facts, metrics))
        for section in known
        if section.metric in metrics and _kind(section.device) == _kind(facts)
    )
    return min(candidates, key=itemgetter(1), default=None)


def _estimate_from_section(
    section: ModelSection,
    distance: float,
    problems: Sequence[Problem],
    facts: DeviceFacts,
    metrics: Sequence[str],
    corrected: bool,
) -> Iterator[CostEstimate]:
    """The estimates of one section for problems of one precision and layout."""
    by_name = section.log_costs(problems, corrected)
    range_excess = section.range_excess(problems)
    gains = log_speedups(by_name)
    probabilities = section.probabilities(range_excess, gains, corrected, distance)
    costs = np.exp(np.column_stack(list(by_name.values()))).tolist()
    caveats = tuple(_caveats(section, problems[0], facts, metrics[0]))
    for row, values in enumerate(costs):
        probability = float(probabilities[row])
        yield CostEstimate(
            section=section,
            distance=distance,
            caveats=caveats + tuple(_range_caveats(range_excess[row])),
            costs=dict(sorted(zip(by_name, values, strict=True), key=itemgetter(1))),
            predicted_speedup=math.exp(gains[row]),
            confidence=max(probability, 1 - probability),
            range_excess=float(range_excess[row].sum()),
        )


def _range_caveats(range_excess: Floats) -> Iterator[str]:
    """The sizes of a problem that exceed the measured range."""
    for size, excess in zip(SIZES, range_excess, strict=True):
        if excess > 0:
            yield f"{size.removeprefix('log2_')} is {excess:.1f} doublings outside the measured range"


def ranked(problem: Problem, facts: DeviceFacts) -> tuple[str, ...]:
    """Implementations by predicted latency, the best first; the order in which a layer tries them.

    The model file is used where the latency of this project's own kernel was measured on the same device
    model, in the same precision and layout, at sizes that are not far outside the measured ones. Elsewhere
    the rule d > 1 is no worse (README.md), and does not depend on which kernel was measured.

    Raises:
        ConfigurationError: the model file in use cannot be read.
    """
    own = [section for section in learned_sections() if not section.is_imported]
    estimate = estimate_costs(problem, facts, ("latency",), own)
    if estimate is not None and estimate.distance < NEAR and not estimate.is_far:
        return tuple(estimate.costs)
    return ("fused", "bmm") if PERMUTATION.predict(problem, facts).predicts_fused else ("bmm", "fused")


def layer_choice(problem: Problem, facts: DeviceFacts) -> str:
    """The implementation that `KSLinear(algorithm="auto")` uses, where it is supported.

    Raises:
        ConfigurationError: the model file in use cannot be read.
    """
    if _kind(facts) != "cpu":
        return ranked(problem, facts)[0]
    if problem.pattern.nonzeros <= SMALL_WEIGHTS:
        return "fused"
    return ranked(problem, {"kind": "cpu", "model": "cpu"})[
        0
    ]  # most systems do not name their CPU to a layer


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


def predict_from(
    sections: Sequence[ModelSection] | None, corrected: bool, problems: Sequence[Problem], facts: DeviceFacts
) -> list[Prediction]:
    """The prediction for each problem from these sections, by default those of the model file in use."""
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


COST_MODEL = Heuristic(
    "cost_model",
    1,
    "fused where its cost model predicts the lowest cost",
    partial(predict_from, None, False),
)
LEARNED = Heuristic(
    "learned",
    1,
    "fused where the cost model with boosted trees predicts the lowest cost",
    partial(predict_from, None, True),
)
