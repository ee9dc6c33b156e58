"""Gates and bisections with their results, series of other tools, and files of runs.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kswatch.db.schema.base import BigInt, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = (
    *("gate_run", "gate_cell", "gate_finding", "gate_code", "bisection", "bisection_step"),
    *("foreign_series", "foreign_point", "artifact", "artifact_content"),
)


def upgrade() -> None:
    _create_gates()
    _create_bisections()
    _create_foreign_series()
    _create_artifacts()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _create_gates() -> None:
    op.create_table(
        "gate_run",
        _id(),
        _text("kind", 16, nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        _number("seconds"),
        _text("base_commit", 64),
        _text("head_commit", 64, nullable=False),
        _text("subject", 500),
        *(_text(name, 255) for name in ("branch", "author", "host")),
        *(_reference(name, to) for name, to in GATE_REFERENCES.items()),
        _text("outcome", 24, nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        _text("reason", 2000),
    )
    op.create_index("ix_gate_run_head_commit", "gate_run", ["head_commit"])
    op.create_table(
        "gate_cell",
        *(_key(f"{of}_id", of) for of in ("gate_run", "cell")),
        _text("verdict", 16),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        *map(_number, ("change", "change_low", "change_high", "p_value", "base_ms", "head_ms")),
        *(_text(name, 16) for name in ("base_status", "head_status")),
        _text("reason", 2000),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("pairs", "rounds")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "gate_finding",
        _key("gate_run_id", "gate_run"),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        _text("state", 16, nullable=False),
        _text("kernel", 120, nullable=False),
        _text("architecture", 16, nullable=False),
        _text("figure", 64, nullable=False),
        *(_text(name, 64) for name in ("before", "after")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "gate_code",
        _key("gate_run_id", "gate_run"),
        sa.Column("kernel", sa.String(120), primary_key=True),
        sa.Column("architecture", sa.String(16), primary_key=True),
        *(sa.Column(name, sa.LargeBinary(), nullable=False) for name in ("base_code", "head_code")),
    )


GATE_REFERENCES = {"device_id": "device", "base_run_id": "run", "head_run_id": "run"}


def _create_bisections() -> None:
    op.create_table(
        "bisection",
        _id(),
        _reference("alert_id", "alert", nullable=False),
        *(_text(name, 64, nullable=False) for name in ("good_commit", "bad_commit")),
        _text("state", 16, nullable=False),
        *(sa.Column(name, UtcDateTime(), nullable=False) for name in ("started_at", "updated_at")),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("cell", sa.JSON(), nullable=True),
        sa.Column("suspects", sa.JSON(), nullable=False),
        _text("message", 2000),
    )
    op.create_index("bisection_of_alert", "bisection", ["alert_id"], unique=True)
    op.create_table(
        "bisection_step",
        _key("bisection_id", "bisection"),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        _text("commit", 64, nullable=False),
        _text("status", 16, nullable=False),
        _number("change"),
        _text("reason", 2000),
        sqlite_with_rowid=False,
    )


def _create_foreign_series() -> None:
    op.create_table(
        "foreign_series",
        _id(),
        sa.Column("identity", sa.String(64), nullable=False, unique=True),
        _text("name", 500, nullable=False),
        _text("unit", 40, nullable=False),
        _text("direction", 8),
        sa.Column("labels", sa.JSON(), nullable=False),
        _text("source", 32, nullable=False),
        _text("origin", 16, nullable=False),
    )
    op.create_index("ix_foreign_series_name", "foreign_series", ["name"])
    op.create_table(
        "foreign_point",
        _id(),
        _reference("series_id", "foreign_series", nullable=False),
        _text("measured_run", 64, nullable=False),
        sa.Column("measured_at", UtcDateTime(), nullable=True),
        _text("commit", 64),
        sa.Column("value", sa.Double(), nullable=False),
        *map(_number, ("low", "high")),
        sa.UniqueConstraint("series_id", "measured_run"),
    )


def _create_artifacts() -> None:
    op.create_table(
        "artifact",
        _id(),
        _reference("run_id", "run", nullable=False),
        _text("kind", 16, nullable=False),
        _text("name", 255, nullable=False),
        sa.Column("size_bytes", BigInt, nullable=False),
        _text("sha256", 64, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_index("ix_artifact_run_id", "artifact", ["run_id"])
    op.create_table(
        "artifact_content",
        sa.Column("artifact_id", sa.Integer(), sa.ForeignKey("artifact.id"), primary_key=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
    )


def _id() -> sa.Column:
    return sa.Column("id", sa.Integer(), primary_key=True)


def _key(name: str, of: str) -> sa.Column:
    return sa.Column(name, sa.Integer(), sa.ForeignKey(f"{of}.id"), primary_key=True, autoincrement=False)


def _reference(name: str, to: str, nullable: bool = True) -> sa.Column:
    return sa.Column(name, sa.Integer(), sa.ForeignKey(f"{to}.id"), nullable=nullable)


def _text(name: str, length: int, nullable: bool = True) -> sa.Column:
    return sa.Column(name, sa.String(length), nullable=nullable)


def _number(name: str) -> sa.Column:
    return sa.Column(name, sa.Double(), nullable=True)
