"""The heuristic and its prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kswatch.kernels.problem import Problem

DeviceFacts = Mapping[str, object]
"""The inputs of a rule about a device: model, kind, memory sizes, measured rates of the canaries.

`metric` selects what is predicted: latency (the default) or energy.
"""


@dataclass(frozen=True)
class Prediction:
    """A heuristic's prediction for one problem; optional fields are None where a rule does not give them."""

    predicts_fused: bool
    predicted_speedup: float | None = None
    """Best baseline over fused, > 1 where fused is better."""
    confidence: float | None = None
    """Probability that the predicted winner is correct, 0.5 to 1."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """Predicted ms or mJ by implementation, where a rule predicts costs."""


@dataclass(frozen=True)
class Heuristic:
    """A named, versioned rule; a change of its predictions is a new version."""

    name: str
    version: int
    statement: str
    """The rule in one line, for display."""
    predict_all: Callable[[Sequence[Problem], DeviceFacts], list[Prediction]]
    """The prediction for each problem."""

    def predict(self, problem: Problem, facts: DeviceFacts) -> Prediction:
        """The prediction for one problem."""
        return self.predict_all([problem], facts)[0]
