"""Chosen values of the dimensions of a suite: which problems and cells remain, or are added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from kswatch.db.records import STRUCTURED, is_structured
from kswatch.errors import UsageError
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.models.catalogue import find_model
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.subjects.layer_cells import LayerCell
from kswatch.profiler.subjects.problems import AnyProblem, ModelForward

FACETS = ("batch", "precision", "layout")


@dataclass(frozen=True)
class Dimensions:
    """The chosen values; of a dimension without any, all values of the suite."""

    pattern: tuple[Pattern, ...] = ()
    layer: tuple[tuple[int, int], ...] = ()
    model: tuple[str, ...] = ()
    batch: tuple[int, ...] = ()
    precision: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()

    def has_subject(self, problem: AnyProblem) -> bool:
        """Whether the problem's pattern, layer or model is among the chosen ones, or none is chosen."""
        if isinstance(problem, Problem):
            chosen: Sequence[object] = self.pattern
            subject: object = problem.pattern
        elif isinstance(problem, ModelForward):
            chosen, subject = self.model, problem.model
        else:
            chosen, subject = self.layer, (problem.in_features, problem.out_features)
        return subject in chosen or not (self.pattern or self.layer or self.model)

    def values(self, facet: str, problem: AnyProblem) -> tuple[object, ...]:
        """The chosen values of a facet, or the problem's own."""
        chosen: tuple[object, ...] = getattr(self, facet)
        return chosen or (getattr(problem, facet),)


def parse_layer(text: str) -> tuple[int, int]:
    """Inputs and outputs of a layer written as `IN,OUT`.

    Raises:
        UsageError: the text is no such layer.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(
            f"layer {text[:60]!r} is not of the form IN,OUT; write two integers, as in 1024,4096"
        )
    return int(parts[0]), int(parts[1])


def check_models(names: Iterable[str]) -> tuple[str, ...]:
    """The names, if they are those of models.

    Raises:
        UsageError: one is not.
    """
    return tuple(find_model(name).name for name in names)


def choose(problems: Sequence[AnyProblem], chosen: Dimensions) -> list[AnyProblem]:
    """The problems with the chosen values; where some value is not among them, all crossed with them.

    Raises:
        UsageError: no problem has a chosen pattern, layer or model, or a value makes no sense.
    """
    subjects = [one for one in problems if chosen.has_subject(one)] + list(_added(problems, chosen))
    if problems and not subjects:
        raise UsageError(
            "no problem has these patterns, layers or models; `kswatch profile --help` lists suites"
        )
    kept = [one for one in subjects if all(getattr(one, name) in chosen.values(name, one) for name in FACETS)]
    held = {name: {getattr(one, name) for one in kept} for name in FACETS}
    if all(set(getattr(chosen, name)) <= held[name] for name in FACETS):
        return kept
    return list(dict.fromkeys(crossed for one in subjects for crossed in _crossed(one, chosen)))


def _added(problems: Sequence[AnyProblem], chosen: Dimensions) -> Iterator[AnyProblem]:
    """The chosen patterns and layers that the suite lacks, with the facets of one that it has."""
    for pattern in chosen.pattern:
        if not any(isinstance(one, Problem) and one.pattern == pattern for one in problems):
            products = [one for one in problems if isinstance(one, Problem)]
            yield from dict.fromkeys(replace(one, pattern=pattern) for one in products)
    for shape in chosen.layer:
        layers = [one for one in problems if isinstance(one, LayerShape)]
        if not any((one.in_features, one.out_features) == shape for one in layers):
            yield from dict.fromkeys(
                replace(one, in_features=shape[0], out_features=shape[1]) for one in layers
            )


def _crossed(problem: AnyProblem, chosen: Dimensions) -> Iterator[AnyProblem]:
    for facets in product(*(chosen.values(name, problem) for name in FACETS)):
        changes: dict[str, Any] = dict(zip(FACETS, facets, strict=True))
        yield replace(problem, **changes)


def choose_cells(problem: AnyProblem, cells: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...]:
    """Of a layer's or a model's cells those named, wholly or by their implementation; all without names.

    A layer takes any cell that is named wholly, whatever its suite has.

    Raises:
        UsageError: a name is malformed.
    """
    if not chosen:
        return tuple(cells)
    named = [one for one in cells if one in chosen or one.rpartition(STRUCTURED)[2] in chosen]
    if isinstance(problem, LayerShape):
        named += [LayerCell.parse(name).name for name in chosen if is_structured(name)]
    return tuple(dict.fromkeys(named))
