"""A plan: the problems of one run in the order in which they are measured."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.planning import suites
from kswatch.profiler.planning.suites import Suite

_GOLDEN = 0.618034
AD_HOC = "ad_hoc"
"""The suite's name of a run over given patterns alone."""


@dataclass(frozen=True)
class Filters:
    """What was chosen of a suite, as written on the command line; an empty tuple chooses all."""

    pattern: tuple[str, ...] = ()
    batch: tuple[int, ...] = ()
    precision: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()
    implementation: tuple[str, ...] = ()
    problem: tuple[str, ...] = ()
    """Exactly these, as `a,b,c,d,batch,precision,layout`, instead of what the others choose."""

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Filters:
        """The filters that `as_arguments` wrote; other keys are left alone."""
        chosen = {name: arguments.get(name) or () for name in cls.__dataclass_fields__}
        return cls(**{name: tuple(values) for name, values in chosen.items()})

    def as_arguments(self) -> dict[str, object]:
        """What a run stores, so that the same cells can be planned again."""
        return {name: list(values) for name, values in asdict(self).items() if values}


@dataclass(frozen=True)
class Plan:
    """What one run measures, in order: any beginning of it is a fair sample of the whole."""

    suite: str
    problems: tuple[Problem, ...]
    implementations: tuple[str, ...]
    energy_problems: int
    """So many get an energy pass: of each stratum in proportion, and of any beginning too."""
    within_s: float | None = None
    """What all of it should take on a small CPU; None where nothing is promised."""

    @property
    def cells(self) -> int:
        """Problems times implementations."""
        return len(self.problems) * len(self.implementations)

    def energy_places(self) -> frozenset[int]:
        """Places of the problems that get an energy pass."""
        share = min(1.0, self.energy_problems / max(1, len(self.problems)))
        seen: dict[tuple[object, ...], float] = {}
        chosen = set()
        for place, problem in enumerate(self.problems):
            # strata start at different fractions, so that they do not all come at once
            begun = seen.setdefault(stratum(problem), (len(seen) * _GOLDEN) % 1.0)
            seen[stratum(problem)] = begun + share
            if int(begun + share) > int(begun):
                chosen.add(place)
        return frozenset(chosen)


def plan_suite(suite_name: str, filters: Filters = Filters(), seed: int = 0) -> Plan:  # noqa: B008 (frozen)
    """The plan of a suite narrowed by filters, or of given patterns alone where the name is `ad_hoc`.

    Chosen values narrow the suite; where the suite does not hold one of them together with the
    others, the chosen values are crossed with the suite's other dimensions instead.

    Raises:
        UsageError: unknown suite, implementation, precision or layout, or a malformed pattern.
    """
    exact = [_problem(text) for text in filters.problem]
    patterns = tuple(Pattern.parse(text) for text in filters.pattern) or tuple(one.pattern for one in exact)
    suite = _ad_hoc(patterns) if suite_name == AD_HOC else suites.find(suite_name)
    chosen = exact or _choose(suite.problems(), (patterns, filters.batch, filters.precision, filters.layout))
    implementations = _choose_implementations(suite.implementations, filters.implementation)
    return Plan(
        suite=suite.name,
        problems=stratified(chosen, seed),
        implementations=implementations,
        energy_problems=len(chosen) if suite.energy_problems is None else suite.energy_problems,
        within_s=suite.within_s,
    )


def stratified(problems: Iterable[Problem], seed: int = 0) -> tuple[Problem, ...]:
    """An order in which every beginning holds each stratum in proportion; the seed alone decides it.

    A stratum is a family, batch, precision and layout. Inside one the order is random; its members
    then stand at equal distances, from a random start, over the whole length.
    """
    strata: dict[tuple[str, int, str, str], list[Problem]] = defaultdict(list)
    for problem in sorted(set(problems)):
        strata[stratum(problem)].append(problem)
    randomness = random.Random(seed)
    placed: list[tuple[float, Problem]] = []
    for members in strata.values():
        randomness.shuffle(members)
        start = randomness.random()
        placed += [((start + place) / len(members), problem) for place, problem in enumerate(members)]
    return tuple(problem for _, problem in sorted(placed))


def stratum(problem: Problem) -> tuple[str, int, str, str]:
    """Problems that are alike: of one family, batch, precision and layout."""
    return (problem.pattern.family, problem.batch, problem.precision, problem.layout)


def _ad_hoc(patterns: Sequence[Pattern]) -> Suite:
    if not patterns:
        raise UsageError("an ad-hoc run needs a pattern; name a suite, or give --pattern a,b,c,d")
    return Suite(AD_HOC, "given patterns", lambda: suites.cross(patterns, precisions=("fp32",)))


def _problem(text: str) -> Problem:
    *numbers, precision, layout = text.split(",")
    if len(numbers) != 5 or not numbers[4].isdecimal():
        raise UsageError(f"{text!r} is no problem; write a,b,c,d,batch,precision,layout")
    named: Any = (precision, layout)  # Problem says which there are
    return Problem(Pattern.parse(",".join(numbers[:4])), int(numbers[4]), *named)


def _dimensions(problem: Problem) -> tuple[Pattern, int, str, str]:
    return (problem.pattern, problem.batch, problem.precision, problem.layout)


def _choose(problems: Sequence[Problem], chosen: Sequence[Sequence[object]]) -> Sequence[Problem]:
    kept = [
        problem
        for problem in problems
        if all(value in values for value, values in zip(_dimensions(problem), chosen, strict=True) if values)
    ]
    held = [set(values) for values in zip(*map(_dimensions, kept), strict=True)] or [set()] * 4
    if all(set(values) <= have for values, have in zip(chosen, held, strict=True)):
        return kept
    every = [dict.fromkeys(values) for values in zip(*map(_dimensions, problems), strict=True)]
    crossed = product(*(values or have for values, have in zip(chosen, every, strict=True)))
    return [Problem(*dimensions) for dimensions in crossed]


def _choose_implementations(known: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...]:
    for name in chosen:
        if name not in known:
            raise UsageError(f"unknown implementation {name!r}; choose from {', '.join(known)}")
    return tuple(name for name in known if not chosen or name in chosen)
