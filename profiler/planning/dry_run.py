"""Dry runs: the cells that a run would measure within its budget, and those that it would leave out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from kswatch.db.store import Store
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.planning.cost_estimate import estimate_cost
from kswatch.profiler.planning.plan import Plan, stratum
from kswatch.profiler.planning.priority_order import WorkUnit, last_best, work_units
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.subjects.cells import memory_bytes


@dataclass(frozen=True)
class StratumShare:
    """The part of one stratum that fits the budget."""

    family: str
    batch: int
    precision: str
    layout: str
    problems: int
    whole_problems: int
    """Measured by every implementation."""
    cells: int
    cells_left_out: int


@dataclass(frozen=True)
class DryRun:
    """A run as planned."""

    suite: str
    device: str
    problems: int
    cells: int
    """Cells that fit the budget."""
    cells_left_out: int
    energy_problems: int
    """Problems with an energy pass."""
    minutes: float | None
    """Estimated duration of the cells that fit; None for an unknown device."""
    minutes_of_all: float | None
    budget_minutes: float | None
    estimated_from: str | None
    memory_bytes: int
    """Estimated memory of the largest cell that fits."""
    strata: tuple[StratumShare, ...]


def dry_run(
    store: Store, plan: Plan, target: Target, settings: MeasureSettings, budget_s: float | None
) -> DryRun:
    """The plan of a run: the same work units in the same order, until the budget is spent."""
    estimate = estimate_cost(store, target.record, plan, settings)
    planned = work_units(plan, estimate, last_best(store, target.record.uuid), budget_s)
    limit_s = budget_s if estimate and budget_s is not None else math.inf
    spent_s = accumulate(unit.seconds for unit in planned)
    fitting = [unit for unit, until_s in zip(planned, spent_s, strict=True) if until_s <= limit_s]
    seconds = sum(unit.seconds for unit in fitting)
    whole = work_units(plan, estimate, {}, None)
    all_s = sum(unit.seconds for unit in whole) if estimate else None
    cells = sum(len(unit.implementations) for unit in fitting)
    return DryRun(
        suite=plan.suite,
        device=target.record.uuid,
        problems=len(plan.problems),
        cells=cells,
        cells_left_out=plan.cells - cells,
        energy_problems=len({unit.plan_index for unit in fitting if unit.energy}),
        minutes=round(seconds / 60, 2) if estimate else None,
        minutes_of_all=round(all_s / 60, 2) if all_s is not None else None,
        budget_minutes=round(budget_s / 60, 2) if budget_s else None,
        estimated_from=estimate.source if estimate else None,
        memory_bytes=max(
            (memory_bytes(unit.problem, name) for unit in fitting for name in unit.implementations), default=0
        ),
        strata=tuple(_strata(plan, fitting)),
    )


def _strata(plan: Plan, fitting: Iterable[WorkUnit]) -> Iterable[StratumShare]:
    problems = defaultdict(list)
    for problem in plan.problems:
        problems[stratum(problem)].append(problem)
    cells: dict[object, int] = defaultdict(int)
    for unit in fitting:
        cells[unit.problem] += len(unit.implementations)
    for (family, batch, precision, layout), members in sorted(problems.items()):
        measured = [cells[problem] for problem in members]
        yield StratumShare(
            family=family,
            batch=batch,
            precision=precision,
            layout=layout,
            problems=len(members),
            whole_problems=sum(cells[one] == len(plan.names_of(one)) for one in members),
            cells=sum(measured),
            cells_left_out=sum(len(plan.names_of(one)) for one in members) - sum(measured),
        )
