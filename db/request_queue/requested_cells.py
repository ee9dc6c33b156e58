"""The cells of a request: what its arguments select of the suite's newest run, without the profiler.

The profiler's own plan is authoritative (`kswatch.profiler.planning.dimensions`); a test holds both together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final

from sqlalchemy import select

from kswatch.db.backend.mapping import PROBLEM_COLUMNS, key_first
from kswatch.db.queries.runs import matching_devices
from kswatch.db.records import (
    AD_HOC,
    BASELINE_SETS,
    FACTOR,
    FUSED,
    IMPLEMENTATIONS,
    LAYOUTS,
    STRUCTURED,
    ProblemKey,
)
from kswatch.db.schema.tables import Cell, Device, Measurement, Problem, Run
from kswatch.db.store import Store

DEFAULT_BATCHES: Final = (25_088,)
DEFAULT_PRECISIONS: Final = ("fp32",)
"""The defaults of the profiler for given patterns; both layouts as well."""
FACETS: Final = ("batch", "precision", "layout")
_CHOICES: Final = {"pattern", "layer", "model", "problem", "implementation", "baselines", *FACETS}
MOST_RUNS: Final = 20
"""The newest runs of a suite among which one that nothing narrowed is looked for."""

Cells = Mapping[ProblemKey, tuple[str, ...]]
"""The implementations of each problem."""


def requested_cells(store: Store, suite: str, device: str, arguments: Mapping[str, Any]) -> Cells | None:
    """The cells that a run of a suite with these arguments measures.

    None where only the profiler knows them: the suite has no finished run on a device of this kind, or the
    arguments name layers, models or foreign implementations.
    """
    if any(arguments.get(name) for name in ("layer", "model", "problem", "foreign")):
        return None
    if suite != AD_HOC:
        held = _newest_cells(store, suite, device)
        return chosen_cells(held, arguments) if held else None
    every: Cells = {
        ProblemKey(*pattern, batch, precision, layout): IMPLEMENTATIONS
        for pattern in _patterns(arguments)
        for batch in DEFAULT_BATCHES
        for precision in DEFAULT_PRECISIONS
        for layout in LAYOUTS
    }
    return chosen_cells(every, arguments)


def chosen_cells(every: Cells, arguments: Mapping[str, Any]) -> Cells:
    """The cells of a suite with the chosen values; where it lacks one, all crossed with its others."""
    chosen = {name: tuple(arguments.get(name) or ()) for name in FACETS}
    patterns = _patterns(arguments)
    subjects = dict(_with_patterns(every, patterns)) if patterns else dict(every)
    kept = [
        one for one in subjects if all(getattr(one, name) in _values(chosen, name, one) for name in FACETS)
    ]
    held = {name: {getattr(one, name) for one in kept} for name in FACETS}
    cells = {one: subjects[one] for one in kept}
    if not all(set(chosen[name]) <= held[name] for name in FACETS):
        cells = {crossed: names for one, names in subjects.items() for crossed in _crossed(one, chosen)}
    named = {one: _chosen_names(one, names, arguments) for one, names in cells.items()}
    return {one: names for one, names in named.items() if names}


def _patterns(arguments: Mapping[str, Any]) -> list[tuple[int, int, int, int]]:
    texts: Iterable[Any] = arguments.get("pattern") or ()
    return [tuple(map(int, str(text).split(","))) for text in texts]  # type: ignore[misc]


def _with_patterns(
    every: Cells, patterns: Sequence[tuple[int, int, int, int]]
) -> Iterable[tuple[ProblemKey, tuple[str, ...]]]:
    """The products with these patterns; of one that the suite lacks, with the facets of those that it has."""
    factors = {one: names for one, names in every.items() if one.subject == FACTOR}
    own = {(one.a, one.b, one.c, one.d) for one in factors}
    yield from ((one, names) for one, names in factors.items() if (one.a, one.b, one.c, one.d) in patterns)
    for a, b, c, d in patterns:
        if (a, b, c, d) not in own:
            yield from ((replace(one, a=a, b=b, c=c, d=d), names) for one, names in factors.items())


def _values(chosen: Mapping[str, tuple[Any, ...]], name: str, problem: ProblemKey) -> tuple[Any, ...]:
    return chosen[name] or (getattr(problem, name),)


def _crossed(problem: ProblemKey, chosen: Mapping[str, tuple[Any, ...]]) -> Iterable[ProblemKey]:
    for facets in product(*(_values(chosen, name, problem) for name in FACETS)):
        yield replace(problem, **dict(zip(FACETS, facets, strict=True)))


def _chosen_names(
    problem: ProblemKey, names: tuple[str, ...], arguments: Mapping[str, Any]
) -> tuple[str, ...]:
    """The chosen implementations, rivals included; of a layer or a model its cells that they compute."""
    chosen: Collection[str] = tuple(arguments.get("implementation") or ())
    if problem.subject == FACTOR:
        sets = arguments.get("baselines") or ()
        return tuple(chosen) or ((FUSED, *BASELINE_SETS[sets[0]]) if sets else names)
    return tuple(one for one in names if not chosen or {one, one.rpartition(STRUCTURED)[2]} & set(chosen))


def _newest_cells(store: Store, suite: str, device: str) -> Cells | None:
    """The cells of the newest finished run of a suite that nothing narrowed, on a device of this kind."""
    kinds = {one.kind for one in matching_devices(store, device)}
    newest = select(Run.id, Run.arguments).join(Device, Device.id == Run.device_id).order_by(Run.id.desc())
    newest = newest.where(Run.suite == suite, Run.state == "finished").limit(MOST_RUNS)
    if kinds:
        newest = newest.where(Device.kind.in_(kinds))
    with store.session() as session:
        runs = session.execute(newest).all()
        whole = next((run.id for run in runs if not _CHOICES & set(run.arguments or {})), None)
        if whole is None:
            return None
        query = (
            select(*PROBLEM_COLUMNS, Cell.implementation)
            .join(Measurement, Measurement.cell_id == Cell.id)
            .join(Problem, Problem.id == Cell.problem_id)
            .where(Measurement.run_id == whole)
            .order_by(Cell.id)
        )
        rows = session.execute(query).all()
    cells: dict[ProblemKey, dict[str, None]] = {}
    for row in rows:
        key, name = key_first(row)
        cells.setdefault(key, {})[name] = None
    return {key: tuple(names) for key, names in cells.items()}
