"""Ratios of two revisions that were measured alternately, stored beside their runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from sqlalchemy import select

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.paired_runs.paired_record import PairedReading
from kswatch.db.schema.code_tables import PairedRatio
from kswatch.db.store import Store


def record(store: Store, run_id: int, against_run_id: int, readings: Iterable[PairedReading]) -> None:
    """Store the ratios of the readings that have any; a cell that is measured again replaces its former one.

    Args:
        store: to write to.
        run_id: the head's run.
        against_run_id: the base's run.
        readings: those of one pair of processes.
    """
    kept = [one for one in readings if one.ratios]
    with store.writing() as session:
        cells = store.identifiers.cell_ids(
            session.connection(), [(one.problem, one.implementation) for one in kept]
        )
        rows = [
            {
                "run_id": run_id,
                "cell_id": cell_id,
                "against_run_id": against_run_id,
                "ratio": statistics.median(one.ratios),
                "rounds": len(one.ratios),
            }
            for cell_id, one in zip(cells, kept, strict=True)
        ]
        insert_rows(session, PairedRatio, rows, replace=True)


def of_run(store: Store, run_id: int) -> dict[int, float]:
    """By cell id, the latency of this run over that of the run that it alternated with."""
    query = select(PairedRatio.cell_id, PairedRatio.ratio).where(PairedRatio.run_id == run_id)
    with store.session() as session:
        return {cell_id: ratio for cell_id, ratio in session.execute(query)}
