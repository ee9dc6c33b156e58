"""What a run would measure within its budget, and what it would leave out: planned, not measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kswatch.db.store import Store
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.planning.cost_estimate import estimate
from kswatch.profiler.planning.plan import Plan, stratum
from kswatch.profiler.planning.priority_order import Portion, last_best, portions
from kswatch.profiler.settings import MeasureSettings


@dataclass(frozen=True)
class StratumShare:
    """How much of one stratum fits."""

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
    """A run as it is planned."""

    suite: str
    device: str
    problems: int
    cells: int
    """That fit."""
    cells_left_out: int
    energy_problems: int
    """Whose energy is measured too."""
    minutes: float | None
    """That the cells which fit will take; None where nothing is known of the device."""
    minutes_of_all: float | None
    budget_minutes: float | None
    estimated_from: str | None
    strata: tuple[StratumShare, ...]


def dry_run(
    store: Store, plan: Plan, target: Target, settings: MeasureSettings, budget_s: float | None
) -> DryRun:
    """The same portions in the same order as the run would take them, until the budget is spent."""
    known = estimate(store, target.record, plan, settings)
    planned = portions(plan, known, last_best(store, target.record.uuid), budget_s)
    held = _held(planned, budget_s if known else None)
    seconds = sum(one.seconds for one in held)
    whole = portions(plan, known, {}, None)
    all_s = sum(one.seconds for one in whole) if known else None
    cells = sum(len(one.implementations) for one in held)
    return DryRun(
        suite=plan.suite,
        device=target.record.uuid,
        problems=len(plan.problems),
        cells=cells,
        cells_left_out=plan.cells - cells,
        energy_problems=len({one.place for one in held if one.energy}),
        minutes=round(seconds / 60, 2) if known else None,
        minutes_of_all=round(all_s / 60, 2) if all_s is not None else None,
        budget_minutes=round(budget_s / 60, 2) if budget_s else None,
        estimated_from=known.source if known else None,
        strata=tuple(_strata(plan, held)),
    )


def _held(planned: Sequence[Portion], budget_s: float | None) -> list[Portion]:
    if budget_s is None:
        return list(planned)
    held, spent_s = [], 0.0
    for one in planned:
        if spent_s + one.seconds > budget_s:
            break
        spent_s += one.seconds
        held.append(one)
    return held


def _strata(plan: Plan, held: Iterable[Portion]) -> Iterable[StratumShare]:
    problems = defaultdict(list)
    for problem in plan.problems:
        problems[stratum(problem)].append(problem)
    cells: dict[object, int] = defaultdict(int)
    for one in held:
        cells[one.problem] += len(one.implementations)
    of_each = len(plan.implementations)
    for (family, batch, precision, layout), members in sorted(problems.items()):
        measured = [cells[problem] for problem in members]
        yield StratumShare(
            family=family,
            batch=batch,
            precision=precision,
            layout=layout,
            problems=len(members),
            whole_problems=sum(count == of_each for count in measured),
            cells=sum(measured),
            cells_left_out=of_each * len(members) - sum(measured),
        )
