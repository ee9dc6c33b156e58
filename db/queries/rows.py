"""Rows that the reads of runs and their results return: frozen values, one field per column."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from kswatch.db.records import DeviceRecord, EnvironmentRecord, MeasurementRecord, ProblemKey, RevisionRecord
from kswatch.db.writes.measurements import PLAIN_COLUMNS


@dataclass(frozen=True, kw_only=True)
class DeviceRow(DeviceRecord):
    """One device, with the number of its runs and the newest one."""

    id: int
    runs: int
    newest_run_id: int | None
    newest_started_at: datetime | None


@dataclass(frozen=True)
class RunRow:
    """One run, with its device, environment and revision."""

    id: int
    suite: str
    kind: str
    origin: str
    state: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    harness_seconds: float | None
    budget_s: float | None
    planned_cells: int | None
    seed: int
    arguments: dict[str, Any]
    request_id: int | None
    identity: str
    excluded: bool
    device_id: int
    device_uuid: str
    device_model: str
    environment_id: int
    environment: EnvironmentRecord
    revision: RevisionRecord | None
    by_status: dict[str, int]
    by_event: dict[str, int] | None

    @property
    def cells(self) -> int:
        """Number of the run's cells, whatever their status."""
        return sum(self.by_status.values())


@dataclass(frozen=True)
class EventRecord:
    """An event of a run: an exclusion, an inclusion or a note."""

    at: datetime
    who: str
    action: str
    text: str


@dataclass(frozen=True)
class RunEventRow(EventRecord):
    """An event with its run."""

    run_id: int


@dataclass(frozen=True)
class EnvironmentChange:
    """One difference between the environments of two runs."""

    name: str
    before: object
    after: object


if TYPE_CHECKING:
    MeasurementRow: TypeAlias = Any
else:
    _types = {**MeasurementRecord.__annotations__, "flags": "str | None"}
    _fields = dict.fromkeys(("run_id", "cell_id", "problem_id"), int) | ProblemKey.__annotations__
    _fields |= {name: _types[name] for name in ("implementation", *PLAIN_COLUMNS, "flags")}
    MeasurementRow = NamedTuple("MeasurementRow", list(_fields.items()))
    MeasurementRow.__doc__ = "A measurement with its problem; the fields are those of `MeasurementRecord`."


class ComparisonRow(NamedTuple):
    """Fused against the best baseline on one problem in one run."""

    run_id: int
    device_id: int
    started_at: datetime
    problem_id: int
    a: int
    b: int
    c: int
    d: int
    batch: int
    precision: str
    layout: str
    metric: str
    baselines: str
    best_baseline: str | None
    winner: str | None
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    left_out: str | None


class SummaryRow(NamedTuple):
    """A run's headline for one metric, precision, layout and set of baselines."""

    run_id: int
    device_id: int
    started_at: datetime
    environment_id: int
    revision_id: int | None
    metric: str
    precision: str
    layout: str
    baselines: str
    problems: int
    fused_wins: int
    left_out: int
    median_ratio: float | None
    median_speedup: float | None
    geomean_speedup: float | None
    speedup_p25: float | None
    speedup_p75: float | None


class CanaryRow(NamedTuple):
    """One reading of a canary."""

    run_id: int
    device_id: int
    started_at: datetime
    position: str
    name: str
    precision: str
    latency_ms: float
    rate: float
    sm_clock_mhz: float | None
    temperature_c: float | None
    other_cpu_share: float | None


class PredictionOutcome(NamedTuple):
    """A heuristic's prediction for a problem, beside the measured speedup."""

    run_id: int
    device_id: int
    started_at: datetime
    problem_id: int
    a: int
    b: int
    c: int
    d: int
    batch: int
    precision: str
    layout: str
    heuristic: str
    version: int
    predicts_fused: bool
    predicted_speedup: float | None
    speedup: float
    best_baseline: str


class VerdictRow(NamedTuple):
    """A verdict with its cell."""

    run_id: int
    device_id: int
    cell_id: int
    problem_id: int
    a: int
    b: int
    c: int
    d: int
    batch: int
    precision: str
    layout: str
    subject: str
    implementation: str
    metric: str
    verdict: str
    cause: str | None
    value: float
    level: float | None
    change: float | None
    change_low: float | None
    change_high: float | None
    comparable_runs: int
    p_value: float | None
    smallest_detectable_change: float | None
    drift: float | None
    reason: str | None
    alert_id: int | None
