"""What a heuristic is, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kswatch.kernels.problem import Problem

DeviceFacts = Mapping[str, object]
"""What a rule may know of a device: model, kind, memory sizes, measured rates of the canaries.

`metric` says what the answer is about: latency, where it is absent, or energy.
"""


@dataclass(frozen=True)
class Prediction:
    """What a heuristic says for one problem; the optional parts are None where a rule has none."""

    predicts_fused: bool
    predicted_speedup: float | None = None
    """Best baseline over fused, > 1 where fused is better."""
    confidence: float | None = None
    """Probability of being right about the winner, 0.5 to 1."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """Predicted ms or mJ by implementation, where a rule predicts them."""


@dataclass(frozen=True)
class Heuristic:
    """A named, versioned rule; a change of its answers is a new version."""

    name: str
    version: int
    statement: str
    """The rule in one line, as shown to people."""
    predict: Callable[[Problem, DeviceFacts], Prediction]
    predict_together: Callable[[Sequence[Problem], DeviceFacts], list[Prediction]] | None = None
    """The same for many problems, where a rule is faster at that."""

    def predict_all(self, problems: Sequence[Problem], facts: DeviceFacts) -> list[Prediction]:
        """What it says for each problem."""
        if self.predict_together is not None:
            return self.predict_together(problems, facts)
        return [self.predict(problem, facts) for problem in problems]
