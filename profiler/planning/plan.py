"""A plan: the problems of one run in the order in which they are measured."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import Any

from kswatch.db.records import (
    AD_HOC,
    BASELINE_SETS,
    FUSED,
    IMPLEMENTATIONS,
    KNOWN_IMPLEMENTATIONS,
    ProblemKey,
    is_foreign,
    is_structured,
)
from kswatch.db.request_queue.confirmation import parse_problem
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.empty_records import problem_key, problem_of
from kswatch.profiler.foreign.sources import Foreign, is_file
from kswatch.profiler.planning import suites
from kswatch.profiler.planning.dimensions import Dimensions, check_models, choose, choose_cells, parse_layer
from kswatch.profiler.planning.foreign_suites import foreign_suite, is_foreign_suite
from kswatch.profiler.planning.structured_suites import layer_problems
from kswatch.profiler.planning.suites import Suite
from kswatch.profiler.subjects.problems import AnyProblem

_GOLDEN = 0.618034

CELLS_NAMED = 20
"""In a refusal of a name that no problem has a cell of."""


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
    layer: tuple[str, ...] = ()
    """Layers as `IN,OUT`."""
    model: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    """One set of baselines, which names the implementations: `paper`, `all` or `expert`."""
    foreign: tuple[str, ...] = ()
    """Foreign implementations that the configuration adds to a night; they are judged as well."""

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
    problems: tuple[AnyProblem, ...]
    implementations: tuple[str, ...]
    """Those of each product."""
    energy_problems: int
    """Number of problems with an energy pass: in proportion in each stratum and in every prefix."""
    within_s: float | None = None
    """Time limit of the whole plan on a small CPU; None for no limit."""
    structured: Mapping[AnyProblem, tuple[str, ...]] = field(default_factory=dict)
    """The cells of each layer and model."""
    budget_s: float | None = None
    """Time budget unless another one is given; None for none."""

    @property
    def cells(self) -> int:
        """Number of cells of all problems."""
        return sum(len(self.names_of(problem)) for problem in self.problems)

    def names_of(self, problem: AnyProblem) -> tuple[str, ...]:
        """The names of a problem's cells."""
        return self.implementations if isinstance(problem, Problem) else self.structured[problem]

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


def plan_suite(
    suite_name: str,
    filters: Filters = Filters(),  # noqa: B008 (frozen)
    seed: int = 0,
    device_kind: str = "cuda",
    foreign: Foreign = Foreign(),  # noqa: B008 (frozen)
) -> Plan:
    """The plan of a suite narrowed by filters, or of given patterns or layers alone where it is `ad_hoc`.

    Chosen values narrow the suite; where the suite does not hold one of them together with the
    others, the chosen values are crossed with the suite's other dimensions instead. A suite or an
    implementation of another project must be one of `foreign`.

    Raises:
        UsageError: unknown suite, implementation, model or facet, or a malformed pattern or layer.
    """
    exact = [problem_of(parse_problem(text)) for text in filters.problem]
    chosen = _dimensions(filters)
    suite = _ad_hoc(chosen, exact) if suite_name == AD_HOC else _suite(suite_name, foreign)
    problems = stratified(exact or choose(suite.problems_on(device_kind), chosen), seed)
    implementations = _choose_implementations(suite, filters, foreign)
    cells = {
        problem: implementations if isinstance(problem, Problem) else suite.cells_on(device_kind, problem)
        for problem in problems
    }
    if problems:
        known = (*KNOWN_IMPLEMENTATIONS, *suite.implementations)
        named = [name for name in filters.implementation if is_structured(name) or name in known]
        _require_cells(suite, named, cells)
    structured: dict[AnyProblem, tuple[str, ...]] = {
        problem: choose_cells(problem, names, filters.implementation)
        for problem, names in cells.items()
        if not isinstance(problem, Problem)
    }
    kept = tuple(problem for problem in problems if structured.get(problem, implementations))
    return Plan(
        suite=suite.name,
        problems=kept,
        implementations=implementations,
        energy_problems=len(kept) if suite.energy_problems is None else suite.energy_problems,
        within_s=_within_s(suite, len(implementations)),
        structured=structured,
        budget_s=suite.cpu_budget_s if device_kind == "cpu" else None,
    )


def _require_cells(suite: Suite, chosen: Sequence[str], cells: Mapping[AnyProblem, Sequence[str]]) -> None:
    """Refuse one of our names that no problem has a cell of."""
    without = [name for name in chosen if not any(choose_cells(one, cells[one], (name,)) for one in cells)]
    if without:
        known = list(dict.fromkeys(name for names in cells.values() for name in names))
        more = f" and {len(known) - CELLS_NAMED} more" if len(known) > CELLS_NAMED else ""
        raise UsageError(
            f"no problem of suite {suite.name} has a cell of {', '.join(without)}; "
            f"choose from {', '.join(known[:CELLS_NAMED])}{more}"
        )


def _suite(name: str, foreign: Foreign) -> Suite:
    return foreign_suite(name, foreign) if is_foreign_suite(name, foreign) else suites.find(name)


def _within_s(suite: Suite, implementations: int) -> float | None:
    """The suite's time limit, more in proportion where a set adds implementations."""
    if suite.within_s is None:
        return None
    return suite.within_s * max(1.0, implementations / len(suite.implementations))


def stratified(problems: Iterable[AnyProblem], seed: int = 0) -> tuple[AnyProblem, ...]:
    """The problems in an order in which every prefix holds each stratum in proportion.

    A stratum is a family, batch, precision and layout. Inside a stratum the order is random; its members
    are then spread at equal distances, from a random start, over the whole length. The seed alone decides.
    """
    strata: dict[tuple[str, int, str, str], list[AnyProblem]] = defaultdict(list)
    for problem in sorted(set(problems), key=problem_key):
        strata[stratum(problem)].append(problem)
    randomness = random.Random(seed)
    placed: list[tuple[float, ProblemKey, AnyProblem]] = []
    for members in strata.values():
        randomness.shuffle(members)
        start = randomness.random()
        placed += [
            ((start + index) / len(members), problem_key(problem), problem)
            for index, problem in enumerate(members)
        ]
    return tuple(problem for _, _, problem in sorted(placed, key=itemgetter(0, 1)))


def stratum(problem: AnyProblem) -> tuple[str, int, str, str]:
    """The problem's stratum: a pattern's family, else the subject; batch, precision and layout."""
    family = problem.pattern.family if isinstance(problem, Problem) else problem_key(problem).subject
    return (family, problem.batch, problem.precision, problem.layout)


def _dimensions(filters: Filters) -> Dimensions:
    return Dimensions(
        pattern=tuple(Pattern.parse(text) for text in filters.pattern),
        layer=tuple(parse_layer(text) for text in filters.layer),
        model=check_models(filters.model),
        batch=filters.batch,
        precision=filters.precision,
        layout=filters.layout,
    )


def _ad_hoc(chosen: Dimensions, exact: Sequence[AnyProblem]) -> Suite:
    if exact:
        return Suite(AD_HOC, "given problems", lambda: tuple(exact))
    if chosen.model:
        raise UsageError("a model is measured by its suite, as in `kswatch profile models --model vit_s16`")
    if not chosen.pattern and not chosen.layer:
        raise UsageError(
            "an ad-hoc run needs a pattern; name a suite, or give --pattern a,b,c,d or --layer IN,OUT"
        )

    def problems() -> tuple[AnyProblem, ...]:
        layers = layer_problems(chosen.layer, (suites.SMOKE_BATCH,))
        return (*suites.cross(chosen.pattern, precisions=("fp32",)), *layers)

    return Suite(AD_HOC, "given patterns and layers", problems)


def _choose_implementations(suite: Suite, filters: Filters, foreign: Foreign) -> tuple[str, ...]:
    """The implementations of the named set, or the named ones, rivals included, or else the suite's.

    Foreign ones follow ours: those that the configuration adds, and those named.
    """
    others = [foreign.implementation(name).marked for name in filters.foreign]
    if filters.baselines:
        return (*_implementations_of(suite, filters.baselines, filters.implementation), *others)
    every, chosen = suite.implementations, filters.implementation
    known = KNOWN_IMPLEMENTATIONS if chosen and every == IMPLEMENTATIONS else every
    for name in chosen:
        if is_file(name):
            raise UsageError(f"unknown implementation {name!r}: files are for `kswatch profile` alone")
        if name in known or is_structured(name):
            continue
        if not is_foreign(name) and not foreign.has(name):
            raise UsageError(f"unknown implementation {name!r}; choose from {', '.join(known)}")
        others.append(foreign.implementation(name).marked)
    own = (name for name in known if not chosen or name in chosen)
    return tuple(dict.fromkeys((*own, *others)))


def _implementations_of(suite: Suite, sets: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...]:
    name = sets[0]
    if name not in BASELINE_SETS:
        raise UsageError(f"unknown set of baselines {name!r}; choose from {', '.join(BASELINE_SETS)}")
    if len(sets) > 1 or chosen:
        raise UsageError("--baselines names one set, --implementation single ones; give only one of the two")
    if suite.implementations != IMPLEMENTATIONS:
        raise UsageError(f"suite {suite.name} has implementations of its own; omit --baselines")
    return (FUSED, *BASELINE_SETS[name])
