"""The product whose hardware counters are read, as JSON between two processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


@dataclass(frozen=True)
class CounterTask:
    """A product as plain values."""

    pattern: tuple[int, int, int, int]
    batch: int
    precision: str
    layout: str
    implementation: str
    seed: int = 0

    @classmethod
    def of(cls, problem: Problem, implementation: str, seed: int) -> CounterTask:
        """The task of a problem by an implementation, with the seed of its operands."""
        pattern = problem.pattern.as_tuple()
        return cls(pattern, problem.batch, problem.precision, problem.layout, implementation, seed)

    @classmethod
    def from_json(cls, text: str) -> CounterTask:
        """The task that `to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """The task as an argument of a command."""
        return json.dumps(asdict(self))

    @property
    def problem(self) -> Problem:
        """The problem of the task."""
        return Problem(Pattern(*self.pattern), self.batch, self.precision, self.layout)  # type: ignore[arg-type]
