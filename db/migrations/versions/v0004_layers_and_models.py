"""Problems of layers and models beside those of factors, and cells with longer names.

SQLite changes neither constraints nor types in place, so three small tables are copied there; foreign keys
must be off meanwhile (`kswatch.db.backend.engine`), since dropping the old copy would search every
measurement.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kswatch.db.schema.base import BigInt

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FORMER_COLUMNS = ["a", "b", "c", "d", "batch", "precision", "layout"]
COLUMNS = [*FORMER_COLUMNS, "subject"]
KEY = "problem_key"
IN_SQLITE = {"uq": KEY}
"""SQLite gives a constraint without a name none; here it gets one, so that it can be dropped."""
FORMER_KEY = f"problem_{'_'.join(FORMER_COLUMNS)}_key"
SHORT, LONG = sa.String(32), sa.String(200)


def upgrade() -> None:
    op.add_column("measurement", sa.Column("parameters", BigInt, nullable=True))
    op.add_column("problem", sa.Column("subject", sa.String(80), nullable=False, server_default=""))
    unnamed = KEY if op.get_bind().dialect.name == "sqlite" else FORMER_KEY
    with op.batch_alter_table("problem", naming_convention=IN_SQLITE) as table:
        table.drop_constraint(unnamed, type_="unique")
        table.create_unique_constraint(KEY, COLUMNS)
    _widen(SHORT, LONG)


def downgrade() -> None:
    """Measurements of layers and models are lost: no older table can name their problems."""
    others = "SELECT cell.id FROM cell JOIN problem ON problem.id = problem_id WHERE subject <> ''"
    for of_cells in ("paired_ratio", "counter", "sample", "series_tail", "verdict", "measurement"):
        op.execute(f"DELETE FROM {of_cells} WHERE cell_id IN ({others})")
    problems = "SELECT id FROM problem WHERE subject <> ''"
    op.execute(f"DELETE FROM cell WHERE problem_id IN ({problems})")
    op.execute("DELETE FROM problem WHERE subject <> ''")
    _widen(LONG, SHORT)
    with op.batch_alter_table("problem") as table:
        table.drop_constraint(KEY, type_="unique")
        table.create_unique_constraint(FORMER_KEY, FORMER_COLUMNS)
    op.drop_column("problem", "subject")
    op.drop_column("measurement", "parameters")


def _widen(old: sa.String, new: sa.String) -> None:
    for name in ("cell", "alert"):
        with op.batch_alter_table(name) as table:
            table.alter_column("implementation", existing_type=old, type_=new, existing_nullable=False)
