"""The load by other programs while canaries ran.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("canary", sa.Column("other_cpu_share", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("canary", "other_cpu_share")
