"""Tails in two parts, and an index of known code hashes, for faster judging.

An older tail keeps all its points in one part until its series has a new point.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("series_tail", sa.Column("older", sa.LargeBinary(), nullable=True))
    op.drop_index("ix_series_tail_newest_run_id", "series_tail")
    known = sa.text("code_hash IS NOT NULL")
    columns = ["run_id", "cell_id", "mode", "code_hash"]
    op.create_index("measurement_code", "measurement", columns, sqlite_where=known, postgresql_where=known)


def downgrade() -> None:
    """Older points are lost: a tail in two parts keeps its newest 100."""
    op.drop_index("measurement_code", "measurement")
    op.create_index("ix_series_tail_newest_run_id", "series_tail", ["newest_run_id"])
    op.drop_column("series_tail", "older")
