"""First schema.

Revision ID: 0001
Revises: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kswatch.db.schema.base import BigInt as BIG
from kswatch.db.schema.base import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = UtcDateTime(timezone=True)


def upgrade() -> None:
    _create_machines()
    _create_problems()
    _create_requests()
    _create_runs()
    _create_measurements()
    _create_samples()
    _create_rollups()
    _create_judgements()


def downgrade() -> None:
    op.drop_table("verdict")
    op.drop_table("alert_event")
    op.drop_table("alert")
    op.drop_table("prediction")
    op.drop_table("series_tail")
    op.drop_table("run_summary")
    op.drop_table("comparison")
    op.drop_table("canary")
    op.drop_table("sample")
    op.drop_table("measurement")
    op.drop_table("run_event")
    op.drop_table("run")
    op.drop_table("schedule_mark")
    op.drop_table("lease")
    op.drop_table("request")
    op.drop_table("cell")
    op.drop_table("problem")
    op.drop_table("revision")
    op.drop_table("environment")
    op.drop_table("device")


def _columns(kind: sa.types.TypeEngine, nullable: bool, names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=nullable) for name in names.split()]


def _create_machines() -> None:
    op.create_table(
        "device",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("uuid", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("model", sa.String(120), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("architecture", sa.String(16), nullable=True),
        *_columns(BIG, True, "memory_bytes cache_bytes"),
        sa.Column("multiprocessors", sa.Integer(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.UniqueConstraint("uuid"),
    )
    op.create_table(
        "environment",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        *_columns(sa.String(255), True, "host os"),
        *_columns(sa.String(64), True, "driver cuda torch"),
        sa.Column("power_limit_w", sa.Double(), nullable=True),
        sa.Column("clock_lock", sa.String(64), nullable=True),
        *_columns(sa.String(32), True, "ecc mig"),
        sa.Column("threads", sa.Integer(), nullable=True),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.UniqueConstraint("fingerprint"),
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("commit", sa.String(64), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("committed_at", TIME, nullable=True),
        sa.Column("subject", sa.String(500), nullable=True),
        sa.Column("branch", sa.String(255), nullable=True),
        sa.UniqueConstraint("commit", "dirty"),
    )


def _create_problems() -> None:
    op.create_table(
        "problem",
        sa.Column("id", sa.Integer(), primary_key=True),
        *_columns(sa.Integer(), False, "a b c d batch"),
        sa.Column("precision", sa.String(8), nullable=False),
        sa.Column("layout", sa.String(16), nullable=False),
        sa.UniqueConstraint("a", "b", "c", "d", "batch", "precision", "layout"),
    )
    op.create_table(
        "cell",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("problem_id", sa.Integer(), sa.ForeignKey("problem.id"), nullable=False),
        sa.Column("implementation", sa.String(32), nullable=False),
        sa.UniqueConstraint("problem_id", "implementation"),
    )


def _create_requests() -> None:
    op.create_table(
        "request",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("device", sa.String(80), nullable=False),
        sa.Column("suite", sa.String(64), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("asked_by", sa.String(120), nullable=False),
        sa.Column("why", sa.String(500), nullable=True),
        sa.Column("asked_at", TIME, nullable=False),
        *_columns(TIME, True, "taken_at finished_at"),
        sa.Column("cells_done", sa.Integer(), nullable=False),
        sa.Column("cells_planned", sa.Integer(), nullable=True),
        sa.Column("seconds_left", sa.Double(), nullable=True),
        sa.Column("message", sa.String(2000), nullable=True),
        sa.Column("cancel_asked", sa.Boolean(), nullable=False),
    )
    op.create_index("request_queue", "request", ["state", "priority", "id"])
    op.create_table(
        "lease",
        sa.Column("device_uuid", sa.String(80), primary_key=True),
        sa.Column("fencing", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(255), nullable=False),
        *_columns(TIME, False, "heartbeat_at expires_at"),
    )
    op.create_table(
        "schedule_mark",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("last_due_at", TIME, nullable=False),
    )


def _create_runs() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("suite", sa.String(64), nullable=False),
        sa.Column("device_id", sa.Integer(), sa.ForeignKey("device.id"), nullable=False),
        sa.Column("environment_id", sa.Integer(), sa.ForeignKey("environment.id"), nullable=False),
        sa.Column("revision_id", sa.Integer(), sa.ForeignKey("revision.id"), nullable=True),
        sa.Column("request_id", sa.Integer(), sa.ForeignKey("request.id"), nullable=True),
        *_columns(sa.String(16), False, "kind origin state"),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        *_columns(sa.Double(), True, "seconds harness_seconds budget_s"),
        sa.Column("planned_cells", sa.Integer(), nullable=True),
        sa.Column("seed", BIG, nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("identity", sa.String(64), nullable=False),
        sa.Column("by_status", sa.JSON(), nullable=True),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("identity"),
    )
    op.create_index("run_by_device", "run", ["device_id", "kind", "origin", "id"])
    op.create_table(
        "run_event",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("who", sa.String(120), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("text", sa.String(2000), nullable=False),
    )
    op.create_index("ix_run_event_run_id", "run_event", ["run_id"])


def _create_measurements() -> None:
    op.create_table(
        "measurement",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("cell_id", sa.Integer(), sa.ForeignKey("cell.id"), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("device_id", sa.Integer(), sa.ForeignKey("device.id"), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(2000), nullable=True),
        *_columns(
            sa.Double(),
            True,
            "latency_ms latency_low_ms latency_high_ms "
            "latency_p05_ms latency_p25_ms latency_p75_ms latency_p95_ms",
        ),
        sa.Column("sample_count", sa.Integer(), nullable=True),
        *_columns(
            sa.Double(),
            True,
            "effective_samples cycles ratio_to_fused ratio_to_fused_low ratio_to_fused_high "
            "energy_mj energy_low_mj energy_high_mj energy_net_mj",
        ),
        *_columns(sa.String(32), True, "energy_source energy_scope"),
        sa.Column("energy_reason", sa.String(500), nullable=True),
        sa.Column("energy_products", sa.Integer(), nullable=True),
        *_columns(sa.Double(), True, "power_w sm_clock_mhz memory_clock_mhz temperature_c"),
        sa.Column("event_reasons", sa.String(255), nullable=True),
        *_columns(BIG, True, "bytes_moved flops"),
        *_columns(sa.Double(), True, "floor_ms floor_ratio relative_error max_error"),
        sa.Column("memory_peak_bytes", BIG, nullable=True),
        sa.Column("code_hash", sa.String(64), nullable=True),
        sa.Column("tile", sa.String(120), nullable=True),
        sa.Column("flags", sa.String(255), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "cell_id", "mode"),
    )
    op.create_index("measurement_by_series", "measurement", ["device_id", "cell_id", "run_id"])


def _create_samples() -> None:
    op.create_table(
        "sample",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("cell_id", sa.Integer(), sa.ForeignKey("cell.id"), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("samples_ms", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "cell_id", "mode"),
    )
    op.create_table(
        "canary",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("position", sa.String(8), nullable=False),
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("precision", sa.String(8), nullable=False),
        *_columns(sa.Double(), False, "latency_ms rate"),
        *_columns(sa.Double(), True, "sm_clock_mhz temperature_c"),
        sa.PrimaryKeyConstraint("run_id", "position", "name", "precision"),
    )


def _create_rollups() -> None:
    op.create_table(
        "comparison",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("problem_id", sa.Integer(), sa.ForeignKey("problem.id"), nullable=False),
        sa.Column("metric", sa.String(16), nullable=False),
        sa.Column("baselines", sa.String(8), nullable=False),
        *_columns(sa.String(32), True, "best_baseline winner"),
        *_columns(sa.Double(), True, "speedup speedup_low speedup_high"),
        sa.Column("left_out", sa.String(255), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "problem_id", "metric", "baselines"),
    )
    op.create_table(
        "run_summary",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("metric", sa.String(16), nullable=False),
        sa.Column("precision", sa.String(8), nullable=False),
        sa.Column("layout", sa.String(16), nullable=False),
        sa.Column("baselines", sa.String(8), nullable=False),
        *_columns(sa.Integer(), False, "problems fused_wins left_out"),
        *_columns(sa.Double(), True, "median_ratio median_speedup geomean_speedup speedup_p25 speedup_p75"),
        sa.PrimaryKeyConstraint("run_id", "metric", "precision", "layout", "baselines"),
    )
    op.create_table(
        "series_tail",
        sa.Column("device_id", sa.Integer(), sa.ForeignKey("device.id"), nullable=False),
        sa.Column("cell_id", sa.Integer(), sa.ForeignKey("cell.id"), nullable=False),
        sa.Column("metric", sa.String(24), nullable=False),
        sa.Column("newest_run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("points", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "cell_id", "metric"),
    )
    op.create_index("ix_series_tail_newest_run_id", "series_tail", ["newest_run_id"])
    op.create_table(
        "prediction",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("problem_id", sa.Integer(), sa.ForeignKey("problem.id"), nullable=False),
        sa.Column("heuristic", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("predicts_fused", sa.Boolean(), nullable=False),
        sa.Column("predicted_speedup", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "problem_id", "heuristic", "version"),
    )


def _create_judgements() -> None:
    op.create_table(
        "alert",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("device_id", sa.Integer(), sa.ForeignKey("device.id"), nullable=False),
        sa.Column("opened_run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("newest_run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        *_columns(sa.String(24), False, "cause metric"),
        sa.Column("implementation", sa.String(32), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("worst_change", sa.Double(), nullable=True),
        sa.Column("explanation", sa.JSON(), nullable=False),
        sa.Column("assigned_to", sa.String(120), nullable=True),
        sa.Column("muted_until", TIME, nullable=True),
        *_columns(sa.Integer(), False, "good_nights version"),
    )
    op.create_index("ix_alert_device_id", "alert", ["device_id"])
    op.create_index("ix_alert_state", "alert", ["state"])
    op.create_table(
        "alert_event",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("alert_id", sa.Integer(), sa.ForeignKey("alert.id"), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("who", sa.String(120), nullable=False),
        sa.Column("action", sa.String(24), nullable=False),
        sa.Column("reason", sa.String(2000), nullable=True),
        sa.Column("from_state", sa.String(16), nullable=True),
        sa.Column("to_state", sa.String(16), nullable=False),
    )
    op.create_index("ix_alert_event_alert_id", "alert_event", ["alert_id"])
    op.create_table(
        "verdict",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("cell_id", sa.Integer(), sa.ForeignKey("cell.id"), nullable=False),
        sa.Column("metric", sa.String(24), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("cause", sa.String(24), nullable=True),
        sa.Column("value", sa.Double(), nullable=False),
        *_columns(sa.Double(), True, "level change change_low change_high"),
        sa.Column("comparable_runs", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(500), nullable=True),
        sa.Column("alert_id", sa.Integer(), sa.ForeignKey("alert.id"), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "cell_id", "metric"),
    )
    op.create_index("ix_verdict_alert_id", "verdict", ["alert_id"])
