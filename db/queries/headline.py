"""`kswatch summary`: fused against the best baseline on one device, in a few numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Row, Select, and_, select

from kswatch.db.queries.baseline_sets import runs_with_set_of
from kswatch.db.queries.headline_baselines import (
    SUMMARISED_KINDS,
    choose_baselines,
    require_known,
)
from kswatch.db.queries.measurements import PROBLEM_COLUMNS, problem_filters
from kswatch.db.queries.rows import DeviceRow
from kswatch.db.queries.runs import find_device, run, run_filters
from kswatch.db.queries.speed_of_light import SpeedOfLightSummary, newest_speed_of_light
from kswatch.db.records import COMPARABLE, FACTOR, HEADLINE_MODES, STOCK, ProblemKey
from kswatch.db.schema.tables import Cell, Measurement, Problem, Run
from kswatch.db.store import Store
from kswatch.db.writes.measurements import COMPARED_COLUMNS, held_implementations
from kswatch.db.writes.run_summary import summarise_speedups
from kswatch.db.writes.speedup import COMPARED_METRICS, Measured, SpeedupResult, compare
from kswatch.errors import UsageError


@dataclass(frozen=True)
class Summary:
    """The contract of `kswatch summary --json`; ratios are fused over the best baseline."""

    problems: int
    fused_wins: int
    median_ratio: float | None
    median_speedup: float | None
    geomean_speedup: float | None
    left_out: int
    left_out_reasons: dict[str, int]
    not_converged: int
    """Problems that count although fused or the best baseline did not converge."""
    device: str
    model: str
    run: int | None
    metric: str
    precision: str | None
    layout: str | None
    baselines: tuple[str, ...]
    baseline_set: str | None = None
    """The set that these are the members of; None for single baselines."""
    baseline_set_run: int | None = None
    """The run that the set was taken from."""
    rivals: dict[str, str] = field(default_factory=dict)
    """The libraries of each rival among the baselines."""
    rivals_missing: dict[str, str] = field(default_factory=dict)
    """Why each other rival is none of the baselines."""
    speed_of_light: tuple[SpeedOfLightSummary, ...] = ()
    """Floor over latency of `fused`, by precision and layout, in the newest run that has it."""


@dataclass(frozen=True)
class ProblemComparison:
    """One problem's newest measurements by implementation, and their comparison."""

    problem: ProblemKey
    measured: Mapping[str, Measured]
    outcome: SpeedupResult

    @property
    def is_unconverged(self) -> bool:
        """Whether it counts although fused or the best baseline did not converge."""
        compared = ("fused", self.outcome.best_baseline) if self.outcome.best_baseline else ()
        return any(self.measured[name].status == "not_converged" for name in compared)


@dataclass(frozen=True)
class DeviceComparison:
    """Each problem's comparison on one device."""

    device: DeviceRow
    baselines: tuple[str, ...]
    problems: tuple[ProblemComparison, ...]
    """With those that are left out, whose outcome has the reason."""
    run_id: int | None
    metric: str
    precision: str | None
    layout: str | None


def headline(
    store: Store,
    device: str | None = None,
    *,
    run_id: int | None = None,
    metric: str = "latency",
    precision: str | None = None,
    layout: str | None = None,
    baselines: str | None = None,
) -> Summary:
    """The headline of a device or a run: the contract of `kswatch summary --json`.

    `baselines` is a set, or names with commas between; by default the set of the newest run.

    Raises:
        UsageError: no or several such devices, no such run, metric, set or baseline.
    """
    chosen = choose_baselines(store, device, run_id=run_id, named=baselines)
    about = {"precision": precision, "layout": layout}
    same = chosen.run_id if chosen.is_expert and run_id is None else None
    compared = outcomes(
        store, device, run_id=run_id, metric=metric, baselines=chosen.members, with_set_of=same, **about
    )
    speed = newest_speed_of_light(store, compared.device.id, SUMMARISED_KINDS, run_id=run_id, **about)
    return replace(
        summary(compared),
        baseline_set=chosen.set_name,
        baseline_set_run=chosen.run_id,
        rivals=chosen.rivals,
        rivals_missing=chosen.rivals_missing,
        speed_of_light=tuple(speed),
    )


def summary(found: DeviceComparison) -> Summary:
    """Each problem's comparison on a device, in a few numbers."""
    compared = [one.outcome for one in found.problems]
    numbers = summarise_speedups([one.speedup for one in compared if one.speedup is not None])
    reasons = Counter(one.left_out for one in compared if one.left_out is not None)
    return Summary(
        **{name: value for name, value in vars(numbers).items() if name in Summary.__dataclass_fields__},
        left_out=reasons.total(),
        left_out_reasons=dict(sorted(reasons.items())),
        not_converged=sum(one.is_unconverged for one in found.problems),
        device=found.device.uuid,
        model=found.device.model,
        run=found.run_id,
        metric=found.metric,
        precision=found.precision,
        layout=found.layout,
        baselines=found.baselines,
    )


def outcomes(
    store: Store,
    device: str | None = None,
    *,
    run_id: int | None = None,
    metric: str = "latency",
    precision: str | None = None,
    layout: str | None = None,
    baselines: Sequence[str] | None = None,
    with_set_of: int | None = None,
) -> DeviceComparison:
    """Each problem's newest good measurements on a device, fused against the best baseline.

    The device need not be named where there is one, or with `run_id`, which reads that run alone, whatever
    its kind, excluded or not; `with_set_of` reads only runs whose expert set has the members of that run's.
    The baselines to beat are by default those of stock torch that the device's runs have.

    Raises:
        UsageError: no or several such devices, no such run, metric or baseline.
    """
    if metric not in COMPARED_METRICS:
        raise UsageError(f"unknown metric {metric!r}; choose from {', '.join(COMPARED_METRICS)}")
    chosen = find_device(store, device if run_id is None or device else run(store, run_id).device_uuid)
    competitors = _baselines(store, chosen.id, run_id, baselines)
    factors = [Problem.subject == FACTOR, *problem_filters(precision, layout)]
    runs = run_filters(chosen.id, SUMMARISED_KINDS, None) if run_id is None else [Run.id == run_id]
    runs += [Measurement.device_id == chosen.id]
    runs += [] if with_set_of is None else [Run.id.in_(runs_with_set_of(with_set_of))]
    query = select(Problem.id, *PROBLEM_COLUMNS).where(*factors)
    keys = dict(store.read(query, lambda id_, *key: (id_, ProblemKey(*key))))
    problems = (
        ProblemComparison(keys[id_], rows, compare(rows, metric, competitors))
        for id_, rows in _newest(store, factors, runs, metric).items()
    )
    ordered = tuple(sorted(problems, key=lambda one: one.problem))
    return DeviceComparison(chosen, competitors, ordered, run_id, metric, precision, layout)


def _baselines(
    store: Store, device_id: int, run_id: int | None, named: Sequence[str] | None
) -> tuple[str, ...]:
    if named is None:
        with store.session() as session:
            held = held_implementations(session.connection(), device_id, run_id)
        return tuple(name for name in STOCK if name in held)
    require_known(named)
    return tuple(dict.fromkeys(named))


def _newest(
    store: Store, factors: Collection[Any], runs: Collection[Any], metric: str
) -> dict[int, dict[str, Row]]:
    """Each cell's newest measurement with a number, else of any status, by problem and implementation."""
    value = getattr(Measurement, COMPARED_METRICS[metric])
    good = [Measurement.status.in_(COMPARABLE), value.is_not(None)]
    found: dict[int, dict[str, Row]] = defaultdict(dict)
    with store.session() as session:
        for wanted in ([], good):
            for row in session.execute(_newest_query(factors, runs, wanted)):
                found[row.problem_id][row.implementation] = row
    return found


def _newest_query(factors: Collection[Any], runs: Collection[Any], wanted: Collection[Any]) -> Select:
    """Each cell's newest run is looked up in the index of series: grouping would read every night."""
    wanted = [*wanted, Measurement.mode.in_(HEADLINE_MODES)]
    newest_run = (
        select(Measurement.run_id)
        .join(Run, Run.id == Measurement.run_id)
        .where(Measurement.cell_id == Cell.id, *runs, *wanted)
        .order_by(Measurement.run_id.desc())
        .limit(1)
        .correlate(Cell)
        .scalar_subquery()
    )
    newest = (
        select(Cell.id, Cell.problem_id, Cell.implementation, newest_run.label("run_id"))
        .join(Problem, Problem.id == Cell.problem_id)
        .where(*factors)
        .cte("newest")
        .prefix_with("MATERIALIZED")  # else SQLite would look it up for every measurement
    )
    same = and_(newest.c.id == Measurement.cell_id, newest.c.run_id == Measurement.run_id)
    return (
        select(newest.c.problem_id, newest.c.implementation, *COMPARED_COLUMNS)
        .join(newest, same)
        .where(*wanted)
        .order_by(Measurement.mode.desc())  # unknown first, so that cold replaces it
    )
