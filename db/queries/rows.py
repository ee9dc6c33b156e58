"""What reads give: frozen values, one field per column that a page or a judgement needs.

Rows of alerts and of the queue live in a file of their own and are named here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from kswatch.db.backend.codecs import Point
from kswatch.db.queries.alert_rows import AlertEventRow as AlertEventRow
from kswatch.db.queries.alert_rows import AlertRow as AlertRow
from kswatch.db.queries.alert_rows import RequestRow as RequestRow
from kswatch.db.records import EnvironmentRecord, ProblemKey, RevisionRecord


@dataclass(frozen=True)
class DeviceRow:
    """One device, with how much it was measured."""

    id: int
    uuid: str
    kind: str
    model: str
    simulated: bool
    architecture: str | None
    memory_bytes: int | None
    cache_bytes: int | None
    multiprocessors: int | None
    facts: dict[str, Any]
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
        """Measurements that the run holds, whatever their status."""
        return sum(self.by_status.values())


@dataclass(frozen=True)
class RunEventRow:
    """What a person said of a run."""

    run_id: int
    at: datetime
    who: str
    action: str
    text: str


@dataclass(frozen=True)
class EnvironmentChange:
    """One thing that differs between the environments of two runs."""

    name: str
    before: object
    after: object


class MeasurementRow(NamedTuple):
    """A measurement with its problem; the fields are those of `kswatch.db.records.MeasurementRecord`."""

    run_id: int
    cell_id: int
    problem_id: int
    a: int
    b: int
    c: int
    d: int
    batch: int
    precision: str
    layout: str
    implementation: str
    status: str
    mode: str
    reason: str | None
    latency_ms: float | None
    latency_low_ms: float | None
    latency_high_ms: float | None
    latency_p05_ms: float | None
    latency_p25_ms: float | None
    latency_p75_ms: float | None
    latency_p95_ms: float | None
    sample_count: int | None
    effective_samples: float | None
    cycles: float | None
    ratio_to_fused: float | None
    ratio_to_fused_low: float | None
    ratio_to_fused_high: float | None
    energy_mj: float | None
    energy_low_mj: float | None
    energy_high_mj: float | None
    energy_net_mj: float | None
    energy_source: str | None
    energy_scope: str | None
    energy_reason: str | None
    energy_products: int | None
    power_w: float | None
    second_power_w: float | None
    energy_tick_ms: float | None
    sm_clock_mhz: float | None
    memory_clock_mhz: float | None
    temperature_c: float | None
    event_reasons: str | None
    bytes_moved: int | None
    flops: int | None
    floor_ms: float | None
    floor_ratio: float | None
    relative_error: float | None
    max_error: float | None
    memory_peak_bytes: int | None
    code_hash: str | None
    tile: str | None
    flags: str | None


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


class SeriesPoint(NamedTuple):
    """One run's value in a series."""

    run_id: int
    started_at: datetime
    environment_id: int
    revision_id: int | None
    value: float
    low: float | None
    high: float | None


class Series(NamedTuple):
    """One metric of one cell on one device over its nights, the oldest first."""

    cell_id: int
    problem: ProblemKey
    implementation: str
    metric: str
    points: list[Point]


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


class ProblemRow(NamedTuple):
    """A problem that a device was measured on."""

    problem_id: int
    a: int
    b: int
    c: int
    d: int
    batch: int
    precision: str
    layout: str


class PredictionOutcome(NamedTuple):
    """What a heuristic said for a problem, beside what happened."""

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


class HeuristicNight(NamedTuple):
    """How a heuristic did in one run: the confusion matrix, fused being the positive."""

    run_id: int
    device_id: int
    started_at: datetime
    heuristic: str
    version: int
    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def problems(self) -> int:
        """Problems with a prediction and an outcome."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return (self.tp + self.tn) / self.problems

    @property
    def majority(self) -> float:
        """Accuracy of always saying what happened more often."""
        wins = self.tp + self.fn
        return max(wins, self.problems - wins) / self.problems

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean of the accuracies on wins and on losses; None where one of them is absent."""
        wins, losses = self.tp + self.fn, self.fp + self.tn
        return (self.tp / wins + self.tn / losses) / 2 if wins and losses else None


class VerdictRow(NamedTuple):
    """A judgement with its cell."""

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


class CellDifference(NamedTuple):
    """One cell in both runs; `change` is after over before - 1, its interval NaN where one is not known."""

    a: int
    b: int
    c: int
    d: int
    batch: int
    precision: str
    layout: str
    implementation: str
    mode: str
    before: float
    after: float
    change: float
    change_low: float
    change_high: float
    p_value: float
    clear: bool


class SilentCells(NamedTuple):
    """Cells that gave a time in one run and none in the next, by what they say instead."""

    implementation: str
    status: str
    reason: str | None
    cells: int
