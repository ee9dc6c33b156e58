"""A plan: the problems of one run in the order in which they are measured."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from kswatch.db.records import AD_HOC, BASELINE_SETS, FUSED, IMPLEMENTATIONS, KNOWN_IMPLEMENTATIONS
from kswatch.db.request_queue.confirmation import parse_problem
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.empty_records import problem_of
from kswatch.profiler.planning import suites
from kswatch.profiler.planning.suites import Suite

_GOLDEN = 0.618034


@dataclass(frozen=True)
class Filters:
    """The chosen part of a suite, as written on the command line; an empty tuple chooses all."""

    pattern: tuple[str, ...] = ()
    batch: tuple[int, ...] = ()
    precision: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()
    implementation: tuple[str, ...] = ()
    problem: tuple[str, ...] = ()
    """Exactly these problems, as `a,b,c,d,batch,precision,layout`, instead of the other dimensions."""
    baselines: tuple[str, ...] = ()
    """One set of baselines, which names the implementations: `paper`, `all` or `expert`."""

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Filters:
        """The filters that `as_arguments` wrote; other keys are ignored."""
        chosen = {name: arguments.get(name) or () for name in cls.__dataclass_fields__}
        return cls(**{name: tuple(values) for name, values in chosen.items()})

    def as_arguments(self) -> dict[str, object]:
        """The filters as stored with a run, so that the same cells can be planned again."""
        return {name: list(values) for name, values in asdict(self).items() if values}


@dataclass(frozen=True)
class Plan:
    """The cells of one run in measuring order: every prefix is a fair sample of the whole."""

    suite: str
    problems: tuple[Problem, ...]
    implementations: tuple[str, ...]
    energy_problems: int
    """Number of problems with an energy pass: in proportion in each stratum and in every prefix."""
    within_s: float | None = None
    """Time limit of the whole plan on a small CPU; None for no limit."""

    @property
    def cells(self) -> int:
        """Problems times implementations."""
        return len(self.problems) * len(self.implementations)

    def energy_problem_indices(self) -> frozenset[int]:
        """Indices of the problems with an energy pass."""
        share = min(1.0, self.energy_problems / max(1, len(self.problems)))
        seen: dict[tuple[object, ...], float] = {}
        chosen = set()
        for index, problem in enumerate(self.problems):
            # strata start at different fractions, so that they do not all come at once
            position = seen.setdefault(stratum(problem), (len(seen) * _GOLDEN) % 1.0)
            seen[stratum(problem)] = position + share
            if int(position + share) > int(position):
                chosen.add(index)
        return frozenset(chosen)


def plan_suite(suite_name: str, filters: Filters = Filters(), seed: int = 0) -> Plan:  # noqa: B008 (frozen)
    """The plan of a suite narrowed by filters, or of given patterns alone where the name is `ad_hoc`.

    Chosen values narrow the suite; where the suite does not hold one of them together with the
    others, the chosen values are crossed with the suite's other dimensions instead.

    Raises:
        UsageError: unknown suite, implementation, precision or layout, or a malformed pattern.
    """
    exact = [problem_of(parse_problem(text)) for text in filters.problem]
    named = tuple(Pattern.parse(text) for text in filters.pattern)
    patterns = named or tuple(problem.pattern for problem in exact)
    suite = _ad_hoc(patterns) if suite_name == AD_HOC else suites.find(suite_name)
    chosen = exact or _choose(suite.problems(), (patterns, filters.batch, filters.precision, filters.layout))
    implementations = _choose_implementations(suite, filters)
    return Plan(
        suite=suite.name,
        problems=stratified(chosen, seed),
        implementations=implementations,
        energy_problems=len(chosen) if suite.energy_problems is None else suite.energy_problems,
        within_s=_within_s(suite, len(implementations)),
    )


def _within_s(suite: Suite, implementations: int) -> float | None:
    """The suite's time limit, more in proportion where a set adds implementations."""
    if suite.within_s is None:
        return None
    return suite.within_s * max(1.0, implementations / len(suite.implementations))


def stratified(problems: Iterable[Problem], seed: int = 0) -> tuple[Problem, ...]:
    """The problems in an order in which every prefix holds each stratum in proportion.

    A stratum is a family, batch, precision and layout. Inside a stratum the order is random; its members
    are then spread at equal distances, from a random start, over the whole length. The seed alone decides.
    """
    strata: dict[tuple[str, int, str, str], list[Problem]] = defaultdict(list)
    for problem in sorted(set(problems)):
        strata[stratum(problem)].append(problem)
    randomness = random.Random(seed)
    placed: list[tuple[float, Problem]] = []
    for members in strata.values():
        randomness.shuffle(members)
        start = randomness.random()
        placed += [((start + index) / len(members), problem) for index, problem in enumerate(members)]
    return tuple(problem for _, problem in sorted(placed))


def stratum(problem: Problem) -> tuple[str, int, str, str]:
    """The problem's stratum: its family, batch, precision and layout."""
    return (problem.pattern.family, problem.batch, problem.precision, problem.layout)


def _ad_hoc(patterns: Sequence[Pattern]) -> Suite:
    if not patterns:
        raise UsageError("an ad-hoc run needs a pattern; name a suite, or give --pattern a,b,c,d")
    return Suite(AD_HOC, "given patterns", lambda: suites.cross(patterns, precisions=("fp32",)))


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


def _choose_implementations(suite: Suite, filters: Filters) -> tuple[str, ...]:
    """The implementations of the named set, or the named ones, rivals included, or else the suite's."""
    chosen, sets = filters.implementation, filters.baselines
    if sets:
        return _implementations_of(suite, sets, chosen)
    every = suite.implementations
    known = KNOWN_IMPLEMENTATIONS if chosen and every == IMPLEMENTATIONS else every
    for name in chosen:
        if name not in known:
            raise UsageError(f"unknown implementation {name!r}; choose from {', '.join(known)}")
    return tuple(name for name in known if not chosen or name in chosen)


def _implementations_of(suite: Suite, sets: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...]:
    name = sets[0]
    if name not in BASELINE_SETS:
        raise UsageError(f"unknown set of baselines {name!r}; choose from {', '.join(BASELINE_SETS)}")
    if len(sets) > 1 or chosen:
        raise UsageError("--baselines names one set, --implementation single ones; give only one of the two")
    if suite.implementations != IMPLEMENTATIONS:
        raise UsageError(f"suite {suite.name} has implementations of its own; omit --baselines")
    return (FUSED, *BASELINE_SETS[name])
