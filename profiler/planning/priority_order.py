"""In what portions a plan is measured, the most valuable first, so that a short night still says something.

Where everything fits, each problem is one portion: all its implementations race each other. Where it
does not, every stratum gets one whole problem first (an unbiased headline), then every other problem its
`fused` and last night's best baselines (no series of theirs is left without a point), then the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kswatch.db.queries import basic as queries
from kswatch.db.records import COMPARABLE, ProblemKey
from kswatch.db.store import Store
from kswatch.kernels.problem import Problem
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.planning.cost_estimate import Estimate
from kswatch.profiler.planning.plan import Plan, stratum

REFERENCE = "fused"
BEST = 2
"""So many of last night's best baselines are as valuable as `fused`."""

Best = Mapping[ProblemKey, Sequence[str]]


@dataclass(frozen=True)
class Portion:
    """Some implementations of one problem, measured together."""

    problem: Problem
    implementations: tuple[str, ...]
    place: int
    """The problem's in the plan; also the seed of its visits."""
    energy: bool
    seconds: float
    """That it is expected to take; only shares of it count where nothing is known."""
    beside: tuple[str, ...] = ()
    """Measured once more for the paired ratios of the others, and not recorded again."""


def portions(plan: Plan, estimate: Estimate | None, best: Best, budget_s: float | None) -> list[Portion]:
    """The plan's portions in order of value; whole problems where the budget holds them all."""
    energy = plan.energy_places()
    whole = [
        _portion(problem, place, place in energy, plan.implementations, estimate)
        for place, problem in enumerate(plan.problems)
    ]
    if budget_s is None or estimate is None or sum(one.seconds for one in whole) <= budget_s:
        return whole
    return _by_value(plan, whole, estimate, best)


def _by_value(plan: Plan, whole: Sequence[Portion], estimate: Estimate, best: Best) -> list[Portion]:
    first: dict[tuple[object, ...], Portion] = {}
    for one in whole:
        first.setdefault(stratum(one.problem), one)
    chosen = list(first.values())
    core, rest = [], []
    for one in (one for one in whole if one not in chosen):
        valued = (REFERENCE, *best.get(problem_key(one.problem), plan.implementations)[:BEST])
        if problem_key(one.problem) not in best:
            valued = plan.implementations
        mine = tuple(name for name in plan.implementations if name in valued)
        others = tuple(name for name in plan.implementations if name not in valued)
        core.append(_portion(one.problem, one.place, one.energy, mine, estimate))
        if others:
            late = _portion(one.problem, one.place, False, others, estimate)
            rest.append(replace(late, beside=(REFERENCE,) if REFERENCE in mine else ()))
    return [*chosen, *core, *rest]


def _portion(
    problem: Problem, place: int, energy: bool, names: tuple[str, ...], estimate: Estimate | None
) -> Portion:
    seconds = estimate.seconds(problem, len(names), energy) if estimate else float(len(names))
    return Portion(problem, names, place, energy, seconds)


def remaining(planned: Iterable[Portion], done: Iterable[tuple[ProblemKey, str]]) -> list[Portion]:
    """What is left of the portions after an earlier start of the run."""
    known = set(done)
    left = []
    for one in planned:
        key = problem_key(one.problem)
        names = tuple(name for name in one.implementations if (key, name) not in known)
        if not names:
            continue
        beside = (REFERENCE,) if (key, REFERENCE) in known else one.beside
        left.append(replace(one, implementations=names, beside=beside))
    return left


def last_best(store: Store, device_uuid: str) -> Best:
    """The baselines of each problem in the device's newest finished night, the fastest first."""
    nights = queries.runs(store, _device_id(store, device_uuid), ("nightly",), None, ("finished",), limit=1)
    times: dict[ProblemKey, list[tuple[float, str]]] = {}
    for row in queries.measurements(store, nights[0].id) if nights else ():
        if row.status in COMPARABLE and row.latency_ms and row.implementation != REFERENCE:
            key = ProblemKey(*(getattr(row, name) for name in ProblemKey.__dataclass_fields__))
            times.setdefault(key, []).append((row.latency_ms, row.implementation))
    return {key: [name for _, name in sorted(found)] for key, found in times.items()}


def _device_id(store: Store, uuid: str) -> int:
    known = [device.id for device in queries.devices(store) if device.uuid == uuid]
    return known[0] if known else -1
