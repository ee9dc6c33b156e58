"""The levels of each series.

Those of earlier nights are found by the judging of the next ones, or at once by `kswatch history --rebuild`.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "series_level",
        _key("device_id", "device.id"),
        _key("cell_id", "cell.id"),
        sa.Column("metric", sa.String(24), primary_key=True),
        _key("first_run_id", "run.id"),
        sa.Column("last_good_run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=True),
        sa.Column("found_run_id", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in FIGURES),
        sqlite_with_rowid=False,
    )
    op.create_index("series_level_by_change", "series_level", ["device_id", "last_good_run_id"])


def downgrade() -> None:
    op.drop_table("series_level")


FIGURES = ("median", "median_low", "median_high", "noise")


def _key(name: str, of: str) -> sa.Column:
    return sa.Column(name, sa.Integer(), sa.ForeignKey(of), primary_key=True, autoincrement=False)
