"""What measuring a problem costs on a device: from its newest finished run, and from the problem's size.

A cell of that run costs what it cost there. Of any other one the latency follows from its bytes and
operations at the rates of the canaries, and from how far its implementation was from them. Limits of the
measuring loop bound the time of launches, but not that of the float64 reference and of the checks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from kswatch.db.backend.mapping import PROBLEM_COLUMNS, key_first
from kswatch.db.queries.runs import matching_devices
from kswatch.db.records import FACTOR, ProblemKey, best_rates
from kswatch.db.schema.tables import Canary, Cell, Measurement, Problem, Run
from kswatch.db.store import Store
from kswatch.declared.implementations import BY_NAME
from kswatch.services import TimingLimits

FULLY_MEASURED = 3
"""Implementations close enough to the fastest to be measured until their intervals are narrow."""
SAMPLES, SLOW_SAMPLES = 30, 6
"""Launches of these, and of an implementation that is clearly slower."""
LEAST_TIMED_MS = 30.0
MOST_MEMORY = 0.9
"""Share of the memory that a cell may need."""
REFERENCE = 2.0
"""Time of the float64 reference over that of the operations at the rate of fp32."""
CHECKED_BYTES = 96
"""Bytes moved for each element of the input and the output to draw, copy, compare and check it."""
UNKNOWN = 4.0
"""Latency over the least time of an implementation that the run does not have."""


class ProblemCost(NamedTuple):
    """The time to measure one problem."""

    seconds: float
    refused: int
    """Cells that are recorded without a time, since they are too slow or need too much memory."""


class _Measured(NamedTuple):
    """One measurement of the run."""

    problem: ProblemKey
    implementation: str
    latency_ms: float | None
    sample_count: int | None
    energy_products: int | None

    @property
    def seconds(self) -> float:
        """The time of its launches."""
        return 1e-3 * (self.latency_ms or 0.0) * ((self.sample_count or 0) + (self.energy_products or 0))


@dataclass(frozen=True)
class Rates:
    """Rates of a device."""

    bytes_per_s: float
    flops_per_s: Mapping[str, float]
    """By precision; of another precision the lowest counts."""

    def least_ms(self, problem: ProblemKey, implementation: str) -> float:
        """The time of an implementation's operations, or of the compulsory bytes where that is longer."""
        flops_ms = self.flops_ms(problem, _extra_work(problem, implementation))
        return max(1e3 * problem.compulsory_bytes / self.bytes_per_s, flops_ms)

    def flops_ms(self, problem: ProblemKey, extra: float = 1.0) -> float:
        """The time of the necessary operations, times a factor."""
        rate = self.flops_per_s.get(problem.precision) or min(self.flops_per_s.values())
        return 1e3 * extra * problem.flops / rate


@dataclass(frozen=True)
class MeasuringCost:
    """What measuring costs on one device."""

    rates: Rates
    launch_ms: float
    """The shortest latency of the run."""
    over_least: Mapping[str, float]
    """Median latency over least time by implementation, of the larger half of its problems."""
    launches_s: Mapping[tuple[ProblemKey, str], float]
    """Time of the launches of each cell of the run."""
    overhead_s: float
    """Time of each cell besides launches and what grows with its problem."""
    energy_s: float
    """Time of an energy pass; 0 where the run has none."""
    mean_s: float
    """Mean time of a cell of the run."""
    memory_bytes: int | None
    limits: TimingLimits

    def of_problem(self, problem: ProblemKey, names: Collection[str], energy: bool = True) -> ProblemCost:
        """The time to measure a problem by these implementations."""
        fixed_s = self.overhead_s * len(names)
        if problem.subject != FACTOR or all((problem, name) in self.launches_s for name in names):
            known_s = sum(self.launches_s.get((problem, name), 0.0) for name in names)
            return ProblemCost(fixed_s + known_s + _checks_s(self.rates, problem, len(names)), 0)
        if self._needs_too_much(problem, 1.0):  # its operands do not fit either
            return ProblemCost(fixed_s, len(names))
        predicted = {name: self._latency_ms(problem, name) for name in names}
        limit_ms = self.limits.too_slow_ms
        kept = sorted(
            time_ms for name, time_ms in predicted.items() if self._is_timed(problem, name, time_ms)
        )
        tried = [
            time_ms
            for name, time_ms in predicted.items()
            if time_ms > limit_ms and not self._is_refused_at_once(problem, name)
        ]
        timed_ms = sum(self._timed_ms(time_ms, place, kept[0]) for place, time_ms in enumerate(kept))
        launched_ms = timed_ms + 2 * sum(kept) + 2 * sum(tried)  # each is checked, and called once before
        passes_s = self.energy_s * min(2, len(kept)) if energy else 0.0
        checks_s = _checks_s(self.rates, problem, len(kept) + len(tried) / 2)
        return ProblemCost(fixed_s + 1e-3 * launched_ms + passes_s + checks_s, len(names) - len(kept))

    def _latency_ms(self, problem: ProblemKey, name: str) -> float:
        least_ms = self.rates.least_ms(problem, name)
        return max(self.launch_ms, self.over_least.get(name, UNKNOWN) * least_ms)

    def _is_timed(self, problem: ProblemKey, name: str, time_ms: float) -> bool:
        return time_ms <= self.limits.too_slow_ms and not self._is_refused_at_once(problem, name)

    def _is_refused_at_once(self, problem: ProblemKey, name: str) -> bool:
        """Whether its operations alone take too long, or its weights need too much memory."""
        extra = _extra_work(problem, name)
        too_slow = self.rates.flops_ms(problem, extra) > self.limits.too_slow_ms
        return too_slow or self._needs_too_much(problem, extra)

    def _needs_too_much(self, problem: ProblemKey, extra: float) -> bool:
        needed = 2 * problem.compulsory_bytes + (extra - 1) * problem.weight_bytes
        return self.memory_bytes is not None and needed > MOST_MEMORY * self.memory_bytes

    def _timed_ms(self, time_ms: float, place: int, best_ms: float) -> float:
        """Time of the launches that are timed, of the implementation at this place from the fastest on."""
        is_near = place < FULLY_MEASURED or time_ms <= 2 * best_ms
        wanted = max(SAMPLES * time_ms, LEAST_TIMED_MS) if is_near else SLOW_SAMPLES * time_ms
        return min(wanted, self.limits.cell_cap_ms + time_ms)


def measuring_cost(store: Store, device: str, limits: TimingLimits) -> MeasuringCost | None:
    """What measuring costs on a device by its UUID or model name; None where it has no finished run.

    It is made from the newest nightly run, or the newest run where there is none.
    """
    known = matching_devices(store, device)
    if len(known) != 1:
        return None
    finished = select(Run.id, Run.seconds).where(Run.device_id == known[0].id, Run.seconds > 0)
    query = finished.where(Run.state == "finished").order_by((Run.kind == "nightly").desc(), Run.id.desc())
    with store.session() as session:
        newest = session.execute(query.limit(1)).one_or_none()
        if newest is None:
            return None
        measured = _measured(session, newest.id)
        read = session.scalars(select(Canary).where(Canary.run_id == newest.id)).all()
        canaries = best_rates(read)
    return (
        _cost_of_run(newest.seconds, measured, canaries, known[0].memory_bytes, limits) if measured else None
    )


def _measured(session: Session, run_id: int) -> list[_Measured]:
    columns = (getattr(Measurement, name) for name in _Measured._fields[2:])
    query = (
        select(*PROBLEM_COLUMNS, Cell.implementation, *columns)
        .join(Cell, Cell.id == Measurement.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .where(Measurement.run_id == run_id, Measurement.status != "skipped")
    )
    return [_Measured(*key_first(row)) for row in session.execute(query)]


def _cost_of_run(
    seconds: float,
    measured: list[_Measured],
    canaries: tuple[float | None, Mapping[str, float]],
    memory_bytes: int | None,
    limits: TimingLimits,
) -> MeasuringCost:
    launches_s: dict[tuple[ProblemKey, str], float] = {}
    for one in measured:  # cold and hot ones
        key = (one.problem, one.implementation)
        launches_s[key] = launches_s.get(key, 0.0) + one.seconds
    rates = _rates(measured, canaries)
    problems = {problem: 0 for problem, _ in launches_s}
    for problem, _ in launches_s:
        problems[problem] += 1
    checks_s = sum(_checks_s(rates, problem, cells) for problem, cells in problems.items())
    rest_s = seconds - sum(launches_s.values()) - checks_s
    energy = [
        1e-3 * one.latency_ms * one.energy_products
        for one in measured
        if one.latency_ms and one.energy_products
    ]
    return MeasuringCost(
        rates,
        launch_ms=min((one.latency_ms for one in measured if one.latency_ms), default=0.0),
        over_least=_over_least(measured, rates),
        launches_s=launches_s,
        overhead_s=max(rest_s, 0.0) / len(launches_s),
        energy_s=median(energy) if energy else 0.0,
        mean_s=seconds / len(launches_s),
        memory_bytes=memory_bytes,
        limits=limits,
    )


def _rates(measured: Iterable[_Measured], canaries: tuple[float | None, Mapping[str, float]]) -> Rates:
    """The rates of the canaries; where there are none, the best that any product of the run reached."""
    bytes_per_s, flops_per_s = canaries[0] or 0.0, dict(canaries[1])
    for one in measured:
        if one.latency_ms and one.problem.subject == FACTOR:
            if not canaries[0]:
                bytes_per_s = max(bytes_per_s, 1e3 * one.problem.compulsory_bytes / one.latency_ms)
            if one.problem.precision not in canaries[1]:
                reached = 1e3 * one.problem.flops / one.latency_ms
                known = flops_per_s.get(one.problem.precision, 0.0)
                flops_per_s[one.problem.precision] = max(known, reached)
    return Rates(bytes_per_s or 1e10, flops_per_s or {"fp32": 1e10})


def _over_least(measured: Iterable[_Measured], rates: Rates) -> dict[str, float]:
    found: dict[str, list[tuple[float, float]]] = {}
    for one in measured:
        if one.latency_ms and one.problem.subject == FACTOR:
            least_ms = rates.least_ms(one.problem, one.implementation)
            found.setdefault(one.implementation, []).append((least_ms, one.latency_ms / least_ms))
    larger = {name: sorted(pairs)[len(pairs) // 2 :] for name, pairs in found.items()}
    return {name: median(ratio for _, ratio in pairs) for name, pairs in larger.items()}


def _checks_s(rates: Rates, problem: ProblemKey, cells: float) -> float:
    """Time of operands, float64 reference and checks of a problem, without launches."""
    if problem.subject != FACTOR:
        return 0.0
    elements = problem.batch * problem.a * (problem.b + problem.c) * problem.d
    reference_s = 1e-3 * REFERENCE * rates.flops_ms(problem)
    return reference_s + (1 + cells) * CHECKED_BYTES * elements / rates.bytes_per_s


def _extra_work(problem: ProblemKey, implementation: str) -> float:
    """Operations and weights of an implementation over the necessary ones."""
    declared = BY_NAME.get(implementation)
    of_a, of_d = declared.extra_work if declared else (0, 0)
    return float(problem.a**of_a * problem.d**of_d)
