"""Ratios of two revisions that were measured alternately, stored beside their runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from sqlalchemy import select

from kswatch.db.backend.bulk_insert import insert_tuples
from kswatch.db.paired_runs.paired_record import PairedReading
from kswatch.db.schema.code_tables import PairedRatio
from kswatch.db.store import Store


def record(store: Store, run_id: int, against_run_id: int, readings: Iterable[PairedReading]) -> None:
    """Store the ratios of the readings that have any; a cell that is measured again replaces its former one.

    `run_id` is the head's run, `against_run_id` the base's.
    """
    kept = [one for one in readings if one.ratios]
    with store.writing() as session:
        connection = session.connection()
        cells = store.identifiers.cell_ids(connection, [(one.problem, one.implementation) for one in kept])
        rows = [
            (run_id, cell_id, against_run_id, statistics.median(one.ratios), len(one.ratios))
            for cell_id, one in zip(cells, kept, strict=True)
        ]
        insert_tuples(connection, PairedRatio, _COLUMNS, rows)


_COLUMNS = ("run_id", "cell_id", "against_run_id", "ratio", "rounds")


def of_run(store: Store, run_id: int) -> dict[int, float]:
    """By cell id, the latency of this run over that of the run that it alternated with."""
    query = select(PairedRatio.cell_id, PairedRatio.ratio).where(PairedRatio.run_id == run_id)
    return dict(store.read(query, lambda cell_id, ratio: (cell_id, ratio)))
