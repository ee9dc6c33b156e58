"""Longer names of precisions: `complex64` has nine characters.

SQLite changes no type in place, so these small tables are copied there (`v0004_layers_and_models`).

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SHORT, LONG = sa.String(8), sa.String(12)
TABLES = ("problem", "canary", "run_summary")
WITHIN_KEY = ("speed_of_light", "heuristic_score", "heuristic_verdict")
"""Their rows are stored in the order of their key, and stay so."""
OF_CELLS = (
    *("paired_ratio", "counter", "sample", "series_tail", "series_level", "verdict", "gate_cell"),
    "measurement",
)
OF_PROBLEMS = ("comparison", "prediction", "tuned_tile", "cell")
NEW = "('fp64', 'complex64')"


def upgrade() -> None:
    _widen(SHORT, LONG)


def downgrade() -> None:
    """Results in the new precisions are lost: no older version knows them."""
    problems = f"SELECT id FROM problem WHERE precision IN {NEW}"
    for table in OF_CELLS:
        cells = f"SELECT id FROM cell WHERE problem_id IN ({problems})"
        op.execute(f"DELETE FROM {table} WHERE cell_id IN ({cells})")
    for table in OF_PROBLEMS:
        op.execute(f"DELETE FROM {table} WHERE problem_id IN ({problems})")
    for table in (*TABLES, *WITHIN_KEY):
        op.execute(f"DELETE FROM {table} WHERE precision IN {NEW}")
    _widen(LONG, SHORT)


def _widen(old: sa.String, new: sa.String) -> None:
    for name in (*TABLES, *WITHIN_KEY):
        options: dict[str, Any] = {"sqlite_with_rowid": False} if name in WITHIN_KEY else {}
        with op.batch_alter_table(name, table_kwargs=options) as table:
            table.alter_column("precision", existing_type=old, type_=new, existing_nullable=False)
