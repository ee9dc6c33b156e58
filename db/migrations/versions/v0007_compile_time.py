"""The time that compiling a product took, as a series of its own.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("measurement", sa.Column("compile_ms", sa.Double(), nullable=True))


def downgrade() -> None:
    for table in ("series_tail", "series_level", "verdict"):
        op.execute(f"DELETE FROM {table} WHERE metric = 'compile_ms'")
    op.drop_column("measurement", "compile_ms")
