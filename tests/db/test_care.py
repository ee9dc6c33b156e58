from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text

from db import queries
from db.care import faults, prune_samples, stats
from db.migrations import HEAD
from tests.db.made_up import measured, problem, run_record


def test_old_samples_go_and_what_they_said_stays(store):
    for year in (2025, 2026):
        run_id = store.begin_run(run_record(started_at=datetime(year, 1, 1, tzinfo=UTC)))
        store.record_problem(run_id, [measured(problem(), "fused", 1.0, samples_ms=(1.0,))])
    assert prune_samples(store, datetime(2025, 6, 1, tzinfo=UTC)) == 1
    assert [len(queries.samples(store, run_id, 1)) for run_id in (1, 2)] == [0, 1]
    assert len(queries.measurements(store)) == 2


def test_a_sound_store_has_no_faults_and_known_rows(store):
    store.begin_run(run_record())
    assert faults(store) == []
    found = stats(store)
    assert (found.rows["run"], found.rows["device"], found.schema, found.bytes > 0) == (1, 1, HEAD, True)


def test_a_row_that_refers_to_nothing_is_found(sqlite_store):
    with sqlite_store.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.execute(text("INSERT INTO cell (problem_id, implementation) VALUES (99, 'fused')"))
    assert faults(sqlite_store) == ["row 1 of cell refers to a row of problem that is not there"]
