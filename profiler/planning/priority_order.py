"""Work units of a plan in order of value, so that a night cut short still gives useful results.

Where everything fits the budget, each problem is one work unit: all its implementations are interleaved.
Otherwise every stratum gets one whole problem first (an unbiased headline), then every other problem its
`fused` and last night's best baselines (so that each of their series gets a point), then the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kswatch.db.backend.mapping import record_of
from kswatch.db.queries import basic as queries
from kswatch.db.records import COMPARABLE, FUSED, REFERENCES, RIVALS, STRUCTURED, ProblemKey, is_foreign
from kswatch.db.store import Store
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.planning.cost_estimate import CostEstimate
from kswatch.profiler.planning.plan import Plan, stratum
from kswatch.profiler.subjects.problems import AnyProblem

BEST = 2
"""Number of last night's best baselines that are as valuable as `fused`."""

Best = Mapping[ProblemKey, Sequence[str]]


@dataclass(frozen=True)
class WorkUnit:
    """Implementations of one problem that are measured together."""

    problem: AnyProblem
    implementations: tuple[str, ...]
    plan_index: int
    """Index of the problem in the plan; also the seed of its visits."""
    energy: bool
    seconds: float
    """Expected duration; for an unknown device only the ratio to the whole is meaningful."""
    paired_with: tuple[str, ...] = ()
    """Implementations measured again for the paired ratios of the others, and not recorded again."""


def work_units(
    plan: Plan, estimate: CostEstimate | None, best: Best, budget_s: float | None
) -> list[WorkUnit]:
    """The plan's work units in order of value; whole problems where the budget holds them all."""
    energy = plan.energy_problem_indices()
    whole = [
        _work_unit(problem, plan_index, plan_index in energy, plan.names_of(problem), estimate)
        for plan_index, problem in enumerate(plan.problems)
    ]
    if budget_s is None or estimate is None or sum(unit.seconds for unit in whole) <= budget_s:
        return whole
    return _by_value(plan, whole, estimate, best)


def _by_value(plan: Plan, whole: Sequence[WorkUnit], estimate: CostEstimate, best: Best) -> list[WorkUnit]:
    first: dict[tuple[object, ...], WorkUnit] = {}
    for unit in whole:
        first.setdefault(stratum(unit.problem), unit)
    chosen = list(first.values())
    core, rest = [], []
    for unit in (unit for unit in whole if unit not in chosen):
        every = plan.names_of(unit.problem)
        baselines = best.get(problem_key(unit.problem), every)
        others_judged = (name for name in every if is_judged(name) or is_foreign(name))
        names = every if baselines is every else (*best_of_sets(baselines), *others_judged)
        valuable = tuple(name for name in every if name in names)
        others = tuple(name for name in every if name not in names)
        core.append(_work_unit(unit.problem, unit.plan_index, unit.energy, valuable, estimate))
        if others:
            remainder = _work_unit(unit.problem, unit.plan_index, False, others, estimate)
            rest.append(replace(remainder, paired_with=tuple(REFERENCES.intersection(valuable))))
    return [*chosen, *core, *rest]


def best_of_sets(baselines: Sequence[str]) -> tuple[str, ...]:
    """The best baselines, and the best of stock torch, whose series go on where rivals are faster."""
    stock = [name for name in baselines if name not in RIVALS]
    return (*baselines[:BEST], *stock[:BEST])


def _work_unit(
    problem: AnyProblem, plan_index: int, energy: bool, names: tuple[str, ...], estimate: CostEstimate | None
) -> WorkUnit:
    seconds = estimate.seconds(problem, names, energy) if estimate else float(len(names))
    return WorkUnit(problem, names, plan_index, energy, seconds)


def is_judged(name: str) -> bool:
    """Whether the cell is worth a point in every night: the reference, and what `fused` computes."""
    return name in REFERENCES or name.rpartition(STRUCTURED)[2] == FUSED


def remaining(planned: Iterable[WorkUnit], done: Iterable[tuple[ProblemKey, str]]) -> list[WorkUnit]:
    """The work units without the cells that an earlier part of the run has recorded."""
    known = set(done)
    left = []
    for unit in planned:
        key = problem_key(unit.problem)
        names = tuple(name for name in unit.implementations if (key, name) not in known)
        if not names:
            continue
        paired_with = tuple(name for name in REFERENCES if (key, name) in known) or unit.paired_with
        left.append(replace(unit, implementations=names, paired_with=paired_with))
    return left


def last_best(store: Store, device_uuid: str) -> Best:
    """The baselines of each problem in the device's newest finished nightly run, the fastest first."""
    device = next((device.id for device in queries.devices(store) if device.uuid == device_uuid), -1)
    nights = queries.runs(store, device, ("nightly",), None, ("finished",), limit=1)
    times: dict[ProblemKey, list[tuple[float, str]]] = {}
    for row in queries.measurements(store, nights[0].id) if nights else ():
        of_set = not is_judged(row.implementation) and not is_foreign(row.implementation)
        if row.status in COMPARABLE and row.latency_ms and of_set:
            key = record_of(ProblemKey, row)
            times.setdefault(key, []).append((row.latency_ms, row.implementation))
    return {key: [name for _, name in sorted(found)] for key, found in times.items()}
