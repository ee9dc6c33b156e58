"""The members of a run's sets of baselines: those that could be had.

A rival is measured only where a run's set asks for it, so a run with a row of one was compared with `expert`.
A rival of which every row is `unsupported`, such as one that is not installed, is no member; a cell that the
budget left out shows nothing of either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.records import BASELINE_SETS, EXPERT, RIVALS, MeasurementRecord
from kswatch.db.schema.tables import BaselineSet, Cell, Measurement

NOT_MEASURED = "not measured"
SKIPPED = "skipped: the budget left it out"


@dataclass
class RunBaselines:
    """The baselines that a run has measured so far."""

    held: set[str]
    """Implementations of stock torch that were ever measured on the device: each needs a row."""
    rivals: dict[str, str | None] = field(default_factory=dict)
    """Of the rivals with a row in the run: why it could not be had, or None where it could."""

    def add(self, records: Iterable[MeasurementRecord]) -> None:
        """Add what these measurements of the run show."""
        for record in records:
            if record.implementation in RIVALS:
                add_rival(self.rivals, record.implementation, record.status, record.reason)
            else:
                self.held.add(record.implementation)

    def sets(self) -> dict[str, list[str]]:
        """The members of each set, in the order of the catalogue; `expert` only where a rival has a row."""
        had = self.held | {name for name, reason in self.rivals.items() if reason is None}
        return {
            name: [one for one in members if one in had]
            for name, members in BASELINE_SETS.items()
            if name != EXPERT or self.rivals
        }

    def absent(self) -> dict[str, str]:
        """Why each rival that could not be had is no member of `expert`."""
        reasons = {name: self.rivals.get(name, NOT_MEASURED) for name in RIVALS}
        return {name: reason for name, reason in reasons.items() if reason is not None}


def rivals_of_run(connection: Connection, run_id: int) -> dict[str, str | None]:
    """The rivals with a row in the run: why each could not be had, or None where it could."""
    found: dict[str, str | None] = {}
    for row in connection.execute(_RIVALS, {"run_id": run_id}):
        add_rival(found, *row)
    return found


def add_rival(found: dict[str, str | None], name: str, status: str, reason: str | None) -> None:
    """Add what a rival's row shows: that it could be had, or why not, or with `skipped` nothing new."""
    if status == "skipped":
        found.setdefault(name, SKIPPED)
    elif status != "unsupported":
        found[name] = None
    elif found.get(name, SKIPPED) == SKIPPED:
        found[name] = reason or status


_RIVALS = (
    select(Cell.implementation, Measurement.status, Measurement.reason)
    .join(Cell, Cell.id == Measurement.cell_id)
    .where(Measurement.run_id == bindparam("run_id"), Cell.implementation.in_(RIVALS))
    .distinct()
    .order_by(Cell.implementation, Measurement.status, Measurement.reason)
)


def write_baseline_sets(connection: Connection, run_id: int, baselines: RunBaselines) -> None:
    """Write the members of each set that the run was compared with."""
    rows = [
        {
            "run_id": run_id,
            "name": name,
            "members": joined(members),
            "absent": baselines.absent() if name == EXPERT else {},
        }
        for name, members in baselines.sets().items()
    ]
    insert_rows(connection, BaselineSet, rows, replace=True)


def joined(members: Collection[str]) -> str:
    """The members as a set's identity has them: sorted, separated by commas."""
    return ",".join(sorted(members))
