"""The members of each run's sets of baselines, the versions of its rivals, and its speed of light.

Earlier runs keep their comparisons with `paper` and `all`; whose members they were is not known.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("libraries", sa.JSON(), nullable=False, server_default="{}"))
    op.create_table(
        "baseline_set",
        _run(),
        sa.Column("name", sa.String(8), primary_key=True),
        sa.Column("members", sa.String(500), nullable=False),
        sa.Column("absent", sa.JSON(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "speed_of_light",
        _run(),
        sa.Column("precision", sa.String(8), primary_key=True),
        sa.Column("layout", sa.String(16), primary_key=True),
        sa.Column("statistic", sa.String(8), primary_key=True),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("problems", sa.Integer(), nullable=False),
        sa.Column("over_one", sa.JSON(), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=True),
        sa.Column("cause", sa.String(24), nullable=True),
        sa.Column("level", sa.Double(), nullable=True),
        sa.Column("change", sa.Double(), nullable=True),
        sa.Column("comparable_runs", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(500), nullable=True),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Comparisons with `expert` are lost: without their members two such sets look alike."""
    for table in ("comparison", "run_summary"):
        op.execute(f"DELETE FROM {table} WHERE baselines = 'expert'")
    for table in ("series_tail", "verdict"):
        op.execute(f"DELETE FROM {table} WHERE metric IN ('speedup_expert', 'energy_ratio_expert')")
    op.drop_table("speed_of_light")
    op.drop_table("baseline_set")
    op.drop_column("run", "libraries")


def _run() -> sa.Column:
    return sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id"), primary_key=True, autoincrement=False)
