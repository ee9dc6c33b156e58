"""Tables of workers, run logs, the outbox, compiled kernels and heuristics' scores.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kswatch.db.schema.base import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = UtcDateTime(timezone=True)
NEW_TABLES = (
    "message request_event run_log worker heuristic_verdict heuristic_score "
    "counter paired_ratio tuned_tile resource"
)


def upgrade() -> None:
    _create_code()
    _create_heuristics()
    _create_alive()
    for name in ("second_power_w", "energy_tick_ms"):
        op.add_column("measurement", sa.Column(name, sa.Double(), nullable=True))
    op.add_column("run", sa.Column("by_event", sa.JSON(), nullable=True))
    op.add_column("request", sa.Column("seconds_planned", sa.Double(), nullable=True))
    for name in ("p_value", "smallest_detectable_change", "drift"):
        op.add_column("verdict", sa.Column(name, sa.Double(), nullable=True))
    op.drop_index("ix_verdict_alert_id", "verdict")
    op.create_index("verdict_by_kind", "verdict", ["run_id", "verdict"])
    _create_partial_index("verdict_of_alert", "verdict", ["alert_id"])
    _create_partial_index("measurement_flagged", "measurement", ["run_id", "cell_id", "flags"])


def downgrade() -> None:
    op.drop_index("measurement_flagged", "measurement")
    op.drop_index("verdict_of_alert", "verdict")
    op.drop_index("verdict_by_kind", "verdict")
    op.create_index("ix_verdict_alert_id", "verdict", ["alert_id"])
    for name in ("drift", "smallest_detectable_change", "p_value"):
        op.drop_column("verdict", name)
    op.drop_column("request", "seconds_planned")
    op.drop_column("run", "by_event")
    for name in ("energy_tick_ms", "second_power_w"):
        op.drop_column("measurement", name)
    for table in NEW_TABLES.split():
        op.drop_table(table)


def _create_partial_index(name: str, table: str, columns: list[str]) -> None:
    """An index of the few rows whose last column is known."""
    known = sa.text(f"{columns[-1]} IS NOT NULL")
    op.create_index(name, table, columns, sqlite_where=known, postgresql_where=known)


def _key(name: str, kind: sa.types.TypeEngine, points_to: str | None = None) -> sa.Column:
    keys = [sa.ForeignKey(points_to)] if points_to else []
    return sa.Column(name, kind, *keys, primary_key=True, autoincrement=False)


def _columns(kind: sa.types.TypeEngine, nullable: bool, names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=nullable) for name in names.split()]


def _create_code() -> None:
    op.create_table(
        "resource",
        _key("code_hash", sa.String(64)),
        _key("kernel", sa.String(120)),
        _key("architecture", sa.String(16)),
        sa.Column("family", sa.String(32), nullable=False),
        sa.Column("compiler", sa.String(64), nullable=True),
        *_columns(sa.Integer(), True, "registers spill_bytes shared_bytes"),
        sa.Column("instructions", sa.JSON(), nullable=False),
    )
    op.create_table(
        "tuned_tile",
        _key("device_id", sa.Integer(), "device.id"),
        _key("problem_id", sa.Integer(), "problem.id"),
        _key("source_hash", sa.String(64)),
        sa.Column("tile", sa.String(120), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        *_columns(sa.Double(), True, "latency_low_ms latency_high_ms model_latency_ms"),
        *_columns(sa.Integer(), False, "candidates refused"),
        sa.Column("tuned_at", TIME, nullable=False),
    )
    op.create_table(
        "paired_ratio",
        _key("run_id", sa.Integer(), "run.id"),
        _key("cell_id", sa.Integer(), "cell.id"),
        sa.Column("against_run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("ratio", sa.Double(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
    )
    op.create_table(
        "counter",
        _key("run_id", sa.Integer(), "run.id"),
        _key("cell_id", sa.Integer(), "cell.id"),
        _key("name", sa.String(120)),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("unit", sa.String(24), nullable=True),
        sa.Column("reason", sa.String(500), nullable=True),
    )


def _heuristic_key() -> list[sa.Column]:
    return [
        _key("run_id", sa.Integer(), "run.id"),
        _key("metric", sa.String(16)),
        _key("precision", sa.String(8)),
        _key("layout", sa.String(16)),
        _key("heuristic", sa.String(32)),
        _key("version", sa.Integer()),
    ]


def _create_heuristics() -> None:
    op.create_table(
        "heuristic_score",
        *_heuristic_key(),
        sa.Column("problems", sa.Integer(), nullable=False),
        *_columns(sa.Double(), True, "majority accuracy accuracy_low accuracy_high balanced_accuracy"),
        *_columns(sa.Integer(), False, "tp fp fn tn"),
        sa.Column("regret", sa.Double(), nullable=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "heuristic_verdict",
        *_heuristic_key(),
        _key("score", sa.String(16)),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        *_columns(sa.Double(), True, "level change change_low change_high"),
        sa.Column("comparable_runs", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(500), nullable=True),
        sa.Column("alert_id", sa.Integer(), sa.ForeignKey("alert.id"), nullable=True, index=True),
        sqlite_with_rowid=False,
    )


def _create_alive() -> None:
    op.create_table(
        "request_event",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("request_id", sa.Integer(), sa.ForeignKey("request.id"), nullable=False, index=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("who", sa.String(120), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(2000), nullable=True),
    )
    op.create_table(
        "worker",
        _key("name", sa.String(255)),
        *_columns(sa.String(16), False, "role engine"),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("device_uuid", sa.String(80), nullable=True),
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=True),
        *_columns(TIME, False, "started_at heartbeat_at"),
        sa.Column("stopped_at", TIME, nullable=True),
    )
    op.create_table(
        "run_log",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False, index=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("text", sa.String(2000), nullable=False),
    )
    op.create_table(
        "message",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("key", sa.String(120), nullable=False),
        sa.Column("alert_id", sa.Integer(), sa.ForeignKey("alert.id"), nullable=True, index=True),
        sa.Column("channel", sa.String(80), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        *_columns(TIME, False, "queued_at next_try_at"),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("error", sa.String(500), nullable=True),
        sa.UniqueConstraint("key"),
    )
    op.create_index("message_outbox", "message", ["state", "next_try_at"])
