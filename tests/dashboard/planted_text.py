"""Markup in every stored text that users, tools or files write freely."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column, String, Table, Text, select, update

from kswatch.db.schema.base import Base
from kswatch.db.store import Store
from tests.dashboard.simulated_store import NASTY

CHOSEN = {
    "device": {"kind"},
    "run": {"kind", "origin", "state", "identity", "suite"},
    "cell": {"implementation"},
    "problem": {"precision", "layout"},
    "measurement": {"mode", "status", "code_hash"},
    "canary": {"position"},
    "resource": {"code_hash"},
    "prediction": {"heuristic"},
    "alert": {"state", "verdict", "metric", "implementation"},
    "verdict": {"metric", "verdict"},
    "comparison": {"metric", "baselines", "best_baseline", "winner"},
    "request": {"state", "kind"},
    "request_event": {"action"},
    "worker": {"role"},
    "artifact": {"kind"},
    "gate_run": {"kind", "outcome", "base_commit", "head_commit"},
    "gate_cell": {"verdict", "base_status"},
    "gate_finding": {"state"},
    "baseline_set": {"name", "members"},
}
"""Columns with words of the program's own choosing; pages could not even find what holds others."""

OWN = {"run_summary", "series_tail", "heuristic_score", "heuristic_verdict", "alembic_version"}
OWN |= {"speed_of_light"}
"""Tables that hold no text but such words."""


def plant(store: Store) -> int:
    """Write markup behind every other text, and give the number of columns."""
    planted = 0
    with store.writing() as session:
        for table in Base.metadata.sorted_tables:
            if table.name in OWN:
                continue
            for column in table.columns:
                if column.name not in CHOSEN.get(table.name, ()) and _is_text(column):
                    _plant(session, table, column)
                    planted += 1
    return planted


def _is_text(column: Column[Any]) -> bool:
    return isinstance(column.type, (String, Text, JSON)) and not column.foreign_keys


def _plant(session: Any, table: Table, column: Column[Any]) -> None:  # noqa: ANN401  (a session of SQLAlchemy's)
    key = list(table.primary_key.columns)
    for row in session.execute(select(*key, column)).all():
        *values, old = row
        if old is None:
            continue
        this = [part == value for part, value in zip(key, values, strict=True)]
        session.execute(update(table).where(*this).values({column.name: _marked(old)}))


def _marked(old: object) -> object:
    if isinstance(old, str):
        return f"{old} {NASTY}"
    if isinstance(old, dict) and old and all(isinstance(value, int) for value in old.values()):
        return {f"{name} {NASTY}": value for name, value in old.items()}  # counts by name
    if isinstance(old, dict):
        return {name: _marked(value) for name, value in old.items()} | {f"name {NASTY}": f"value {NASTY}"}
    return [_marked(one) for one in old] if isinstance(old, list) else old
