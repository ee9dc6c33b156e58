"""The tables, as SQLAlchemy 2 typed models; schema.md describes every column.

Small groups are defined in files of their own and re-exported here. The columns of `measurement` are
the fields of `kswatch.db.records.MeasurementRecord`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kswatch.db.schema.base import Base, BigInt, where_known
from kswatch.db.schema.code_tables import Counter as Counter
from kswatch.db.schema.code_tables import Resource as Resource
from kswatch.db.schema.code_tables import TunedTile as TunedTile
from kswatch.db.schema.exchange_tables import Artifact as Artifact
from kswatch.db.schema.exchange_tables import ArtifactContent as ArtifactContent
from kswatch.db.schema.exchange_tables import ForeignPoint as ForeignPoint
from kswatch.db.schema.exchange_tables import ForeignSeries as ForeignSeries
from kswatch.db.schema.heuristics_tables import HeuristicScore as HeuristicScore
from kswatch.db.schema.heuristics_tables import HeuristicVerdict as HeuristicVerdict
from kswatch.db.schema.level_tables import SeriesLevel as SeriesLevel
from kswatch.db.schema.operations_tables import Message as Message
from kswatch.db.schema.operations_tables import RequestEvent as RequestEvent
from kswatch.db.schema.operations_tables import RunLog as RunLog
from kswatch.db.schema.operations_tables import ScheduleMark as ScheduleMark
from kswatch.db.schema.operations_tables import Worker as Worker
from kswatch.db.schema.review_tables import Bisection as Bisection
from kswatch.db.schema.review_tables import BisectionStep as BisectionStep
from kswatch.db.schema.review_tables import GateCell as GateCell
from kswatch.db.schema.review_tables import GateCode as GateCode
from kswatch.db.schema.review_tables import GateFinding as GateFinding
from kswatch.db.schema.review_tables import GateRun as GateRun
from kswatch.db.schema.run_tables import BaselineSet as BaselineSet
from kswatch.db.schema.run_tables import RunSummary as RunSummary
from kswatch.db.schema.run_tables import SpeedOfLight as SpeedOfLight


class Device(Base):
    """One GPU, known by its UUID, or the host's CPU."""

    __tablename__ = "device"
    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(String(80), unique=True)
    kind: Mapped[str] = mapped_column(String(8))
    model: Mapped[str] = mapped_column(String(120))
    simulated: Mapped[bool] = mapped_column(default=False)
    architecture: Mapped[str | None] = mapped_column(String(16))
    memory_bytes: Mapped[int | None] = mapped_column(BigInt)
    cache_bytes: Mapped[int | None] = mapped_column(BigInt)
    multiprocessors: Mapped[int | None]
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Environment(Base):
    """Everything that must be equal for two nights to be comparable."""

    __tablename__ = "environment"
    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    host: Mapped[str | None] = mapped_column(String(255))
    os: Mapped[str | None] = mapped_column(String(255))
    driver: Mapped[str | None] = mapped_column(String(64))
    cuda: Mapped[str | None] = mapped_column(String(64))
    torch: Mapped[str | None] = mapped_column(String(64))
    power_limit_w: Mapped[float | None]
    clock_lock: Mapped[str | None] = mapped_column(String(64))
    ecc: Mapped[str | None] = mapped_column(String(32))
    mig: Mapped[str | None] = mapped_column(String(32))
    threads: Mapped[int | None]
    extra: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Revision(Base):
    """A git commit that was measured; a dirty work tree is a revision of its own."""

    __tablename__ = "revision"
    __table_args__ = (UniqueConstraint("commit", "dirty"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    commit: Mapped[str] = mapped_column(String(64))
    dirty: Mapped[bool] = mapped_column(default=False)
    committed_at: Mapped[datetime | None]
    subject: Mapped[str | None] = mapped_column(String(500))
    branch: Mapped[str | None] = mapped_column(String(255))


class Run(Base):
    """One suite on one device at one revision in one environment; ids are in the order of time."""

    __tablename__ = "run"
    __table_args__ = (Index("run_by_device", "device_id", "kind", "origin", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    suite: Mapped[str] = mapped_column(String(64))
    device_id: Mapped[int] = mapped_column(ForeignKey("device.id"))
    environment_id: Mapped[int] = mapped_column(ForeignKey("environment.id"))
    revision_id: Mapped[int | None] = mapped_column(ForeignKey("revision.id"))
    request_id: Mapped[int | None] = mapped_column(ForeignKey("request.id"))
    kind: Mapped[str] = mapped_column(String(16))
    origin: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default="running")
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float | None]
    harness_seconds: Mapped[float | None]
    budget_s: Mapped[float | None]
    planned_cells: Mapped[int | None]
    seed: Mapped[int] = mapped_column(BigInt, default=0)
    arguments: Mapped[dict[str, Any]] = mapped_column(default=dict)
    identity: Mapped[str] = mapped_column(String(64), unique=True)
    """Kept by export and import, so that importing a run again records nothing."""
    by_status: Mapped[dict[str, Any] | None]
    """Number of cells by status; written when the run finishes."""
    by_event: Mapped[dict[str, Any] | None]
    """Number of measurements by throttle reason; written when the run finishes."""
    excluded: Mapped[bool] = mapped_column(default=False)
    libraries: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """Versions of the libraries of each rival that was installed."""


class RunEvent(Base):
    """An event of a run: an exclusion, an inclusion or a note. Nothing is deleted."""

    __tablename__ = "run_event"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), index=True)
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(120))
    action: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(String(2000))


class Problem(Base):
    """What is computed: a product, a layer or a model, at one batch, precision and layout."""

    __tablename__ = "problem"
    __table_args__ = (
        UniqueConstraint("a", "b", "c", "d", "batch", "precision", "layout", "subject", name="problem_key"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[int]
    b: Mapped[int]
    c: Mapped[int]
    d: Mapped[int]
    batch: Mapped[int]
    precision: Mapped[str] = mapped_column(String(12))
    layout: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(80), default="", server_default="")
    """Empty for a factor; `layer`, or a model and how it is executed."""


class Cell(Base):
    """One problem by one implementation."""

    __tablename__ = "cell"
    __table_args__ = (UniqueConstraint("problem_id", "implementation"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    problem_id: Mapped[int] = mapped_column(ForeignKey("problem.id"))
    implementation: Mapped[str] = mapped_column(String(200))


class Measurement(Base):
    """One cell's result in one run."""

    __tablename__ = "measurement"
    __table_args__ = (
        Index("measurement_by_series", "device_id", "cell_id", "run_id"),
        where_known("measurement_flagged", "run_id", "cell_id", "flags"),
        where_known("measurement_code", "run_id", "cell_id", "mode", "code_hash"),
    )
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"), primary_key=True)
    mode: Mapped[str] = mapped_column(String(8), primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("device.id"))
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(2000))
    latency_ms: Mapped[float | None]
    latency_low_ms: Mapped[float | None]
    latency_high_ms: Mapped[float | None]
    latency_p05_ms: Mapped[float | None]
    latency_p25_ms: Mapped[float | None]
    latency_p75_ms: Mapped[float | None]
    latency_p95_ms: Mapped[float | None]
    sample_count: Mapped[int | None]
    effective_samples: Mapped[float | None]
    cycles: Mapped[float | None]
    ratio_to_fused: Mapped[float | None]
    ratio_to_fused_low: Mapped[float | None]
    ratio_to_fused_high: Mapped[float | None]
    energy_mj: Mapped[float | None]
    energy_low_mj: Mapped[float | None]
    energy_high_mj: Mapped[float | None]
    energy_net_mj: Mapped[float | None]
    energy_source: Mapped[str | None] = mapped_column(String(32))
    energy_scope: Mapped[str | None] = mapped_column(String(32))
    energy_reason: Mapped[str | None] = mapped_column(String(500))
    energy_products: Mapped[int | None]
    power_w: Mapped[float | None]
    second_power_w: Mapped[float | None]
    energy_tick_ms: Mapped[float | None]
    sm_clock_mhz: Mapped[float | None]
    memory_clock_mhz: Mapped[float | None]
    temperature_c: Mapped[float | None]
    event_reasons: Mapped[str | None] = mapped_column(String(255))
    bytes_moved: Mapped[int | None] = mapped_column(BigInt)
    flops: Mapped[int | None] = mapped_column(BigInt)
    parameters: Mapped[int | None] = mapped_column(BigInt)
    floor_ms: Mapped[float | None]
    floor_ratio: Mapped[float | None]
    relative_error: Mapped[float | None]
    max_error: Mapped[float | None]
    memory_peak_bytes: Mapped[int | None] = mapped_column(BigInt)
    code_hash: Mapped[str | None] = mapped_column(String(64))
    tile: Mapped[str | None] = mapped_column(String(120))
    compile_ms: Mapped[float | None]
    flags: Mapped[str | None] = mapped_column(String(255))
    """Comma-separated labels such as bimodal or power_capped."""


class Sample(Base):
    """The raw samples of a measurement in ms, zlib over little-endian float32; prunable by age."""

    __tablename__ = "sample"
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"), primary_key=True)
    mode: Mapped[str] = mapped_column(String(8), primary_key=True)
    samples_ms: Mapped[bytes]


class Canary(Base):
    """A kernel that never changes, read at the start, middle and end of a run."""

    __tablename__ = "canary"
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    position: Mapped[str] = mapped_column(String(8), primary_key=True)
    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    precision: Mapped[str] = mapped_column(String(12), primary_key=True)
    latency_ms: Mapped[float]
    rate: Mapped[float]
    sm_clock_mhz: Mapped[float | None]
    temperature_c: Mapped[float | None]
    other_cpu_share: Mapped[float | None]


class Comparison(Base):
    """A problem's roll-up within a run: fused against the best of a baseline set.

    `speedup` is best baseline over fused (latency or energy), > 1 means fused is better; None with
    the reason in `left_out` where a baseline is missing.
    """

    __tablename__ = "comparison"
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    problem_id: Mapped[int] = mapped_column(ForeignKey("problem.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(16), primary_key=True)
    baselines: Mapped[str] = mapped_column(String(8), primary_key=True)
    best_baseline: Mapped[str | None] = mapped_column(String(32))
    winner: Mapped[str | None] = mapped_column(String(32))
    speedup: Mapped[float | None]
    speedup_low: Mapped[float | None]
    speedup_high: Mapped[float | None]
    left_out: Mapped[str | None] = mapped_column(String(255))


class SeriesTail(Base):
    """The last 400 points of one series, packed, so that judging never scans history."""

    __tablename__ = "series_tail"
    device_id: Mapped[int] = mapped_column(ForeignKey("device.id"), primary_key=True)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(24), primary_key=True)
    newest_run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    points: Mapped[bytes]
    """Little-endian rows of (run_id uint32, value, low, high float32), oldest first; nightly runs only."""
    older: Mapped[bytes | None]
    """The points before the newest 100: apart, since checks rarely read them."""


class Prediction(Base):
    """A heuristic's prediction for a problem in a run; `comparison` has the measured speedup."""

    __tablename__ = "prediction"
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    problem_id: Mapped[int] = mapped_column(ForeignKey("problem.id"), primary_key=True)
    heuristic: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    predicts_fused: Mapped[bool]
    predicted_speedup: Mapped[float | None]


class Verdict(Base):
    """The verdict on a series' newest point: faster, slower, same or ambiguous."""

    __tablename__ = "verdict"
    __table_args__ = (
        Index("verdict_by_kind", "run_id", "verdict"),
        where_known("verdict_of_alert", "alert_id"),
    )
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(24), primary_key=True)
    verdict: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str | None] = mapped_column(String(24))
    """The likely cause (db/alerts/causes.py); None when same."""
    value: Mapped[float]
    level: Mapped[float | None]
    """The median of the comparable runs."""
    change: Mapped[float | None]
    """value / level - 1."""
    change_low: Mapped[float | None]
    change_high: Mapped[float | None]
    comparable_runs: Mapped[int] = mapped_column(default=0)
    p_value: Mapped[float | None]
    smallest_detectable_change: Mapped[float | None]
    drift: Mapped[float | None]
    """value / best level of 90 nights - 1."""
    reason: Mapped[str | None] = mapped_column(String(500))
    alert_id: Mapped[int | None] = mapped_column(ForeignKey("alert.id"))


class Alert(Base):
    """Verdicts with one likely cause, reported once (db/alerts/lifecycle.py)."""

    __tablename__ = "alert"
    id: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("device.id"), index=True)
    opened_run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    newest_run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    state: Mapped[str] = mapped_column(String(16), index=True)
    confirmed: Mapped[bool] = mapped_column(default=False)
    verdict: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str] = mapped_column(String(24))
    metric: Mapped[str] = mapped_column(String(24))
    implementation: Mapped[str] = mapped_column(String(200))
    title: Mapped[str] = mapped_column(String(500))
    worst_change: Mapped[float | None]
    explanation: Mapped[dict[str, Any]] = mapped_column(default=dict)
    assigned_to: Mapped[str | None] = mapped_column(String(120))
    muted_until: Mapped[datetime | None]
    good_nights: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(default=1)


class AlertEvent(Base):
    """An event of an alert: user, time and reason."""

    __tablename__ = "alert_event"
    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"), index=True)
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(120))
    action: Mapped[str] = mapped_column(String(24))
    reason: Mapped[str | None] = mapped_column(String(2000))
    from_state: Mapped[str | None] = mapped_column(String(16))
    to_state: Mapped[str] = mapped_column(String(16))


class Request(Base):
    """A run that a user or the schedule requested; `kswatch serve` executes it."""

    __tablename__ = "request"
    __table_args__ = (Index("request_queue", "state", "priority", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(16), default="queued")
    """queued, running, done, failed or cancelled."""
    priority: Mapped[int] = mapped_column(default=0)
    kind: Mapped[str] = mapped_column(String(16))
    device: Mapped[str] = mapped_column(String(80))
    """As requested: cpu, a UUID, a model name."""
    suite: Mapped[str] = mapped_column(String(64))
    arguments: Mapped[dict[str, Any]] = mapped_column(default=dict)
    asked_by: Mapped[str] = mapped_column(String(120))
    why: Mapped[str | None] = mapped_column(String(500))
    asked_at: Mapped[datetime]
    taken_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cells_done: Mapped[int] = mapped_column(default=0)
    cells_planned: Mapped[int | None]
    seconds_planned: Mapped[float | None]
    seconds_left: Mapped[float | None]
    message: Mapped[str | None] = mapped_column(String(2000))
    cancel_asked: Mapped[bool] = mapped_column(default=False)


class Lease(Base):
    """The exclusive right to record runs of a device; the fencing number rejects a stale holder."""

    __tablename__ = "lease"
    device_uuid: Mapped[str] = mapped_column(String(80), primary_key=True)
    fencing: Mapped[int]
    holder: Mapped[str] = mapped_column(String(255))
    heartbeat_at: Mapped[datetime]
    expires_at: Mapped[datetime]
