from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from kswatch.db.maintenance.backup import backup
from kswatch.db.maintenance.stats_and_prune import faults, prune_samples, stats
from kswatch.db.migrations.revisions import HEAD
from kswatch.db.queries import basic as queries
from kswatch.db.queries.cells import samples_of_run
from kswatch.db.records import IMPLEMENTATIONS
from kswatch.db.store import Store
from kswatch.errors import StoreError, UsageError
from tests.db.sample_records import measured, night, problem, run_record
from tests.db.test_many_processes import start_writer


def test_pruning_deletes_old_samples_and_keeps_their_measurements(store):
    for year in (2025, 2026):
        run_id = store.begin_run(run_record(started_at=datetime(year, 1, 1, tzinfo=UTC)))
        store.record_problem(run_id, [measured(problem(), "fused", 1.0, samples_ms=(1.0,))])
    assert prune_samples(store, datetime(2025, 6, 1, tzinfo=UTC)) == 1
    assert [len(samples_of_run(store, run_id, [1])) for run_id in (1, 2)] == [0, 1]
    assert len(queries.measurements(store)) == 2


def test_an_intact_store_has_no_faults_and_known_row_counts(store):
    store.begin_run(run_record())
    assert faults(store) == []
    found = stats(store)
    assert (found.rows["run"], found.rows["device"], found.schema, found.bytes > 0) == (1, 1, HEAD, True)


def test_a_dangling_reference_is_found(sqlite_store):
    with sqlite_store.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.execute(text("INSERT INTO cell (problem_id, implementation) VALUES (99, 'fused')"))
    assert faults(sqlite_store) == ["row 1 of cell refers to a row of problem that does not exist"]


def test_statistics_have_table_sizes_and_the_newest_nights_growth(store):
    for _ in range(2):
        night(store, {"fused": 1.0, "bmm": 2.0})
    found = stats(store)
    assert found.bytes_by_table["measurement"] > 0
    [growth] = found.growth
    assert (growth.device, growth.run) == ("cpu-made-up", 2)
    assert growth.rows >= 2 and growth.bytes > 0


def test_a_store_is_copied_while_another_process_writes_to_it(sqlite_store, tmp_path):
    writer = start_writer(str(sqlite_store.engine.url))
    for line in writer.stdout:
        if int(line) >= 3:
            break
    copied = tmp_path / "copy.db"
    assert backup(sqlite_store, copied) == copied.stat().st_size
    writer.kill()
    writer.wait()
    writer.stdout.close()
    copy = Store.open(f"sqlite:///{copied}", create=False)
    assert faults(copy) == []
    [run] = queries.runs(copy)
    assert run.cells >= 3 * len(IMPLEMENTATIONS)
    assert run.cells % len(IMPLEMENTATIONS) == 0, "half of a transaction was copied"
    copy.close()
    with pytest.raises(UsageError, match="exists"):
        backup(sqlite_store, copied)


def test_a_backup_that_cannot_be_written_leaves_nothing(sqlite_store, tmp_path):
    with pytest.raises(StoreError, match="name another place"):
        backup(sqlite_store, tmp_path / "nowhere" / "copy.db")
    assert not list(tmp_path.glob("*.part"))


def test_a_server_is_backed_up_by_its_own_tool(postgres, tmp_path):
    store = Store.open(postgres.emptied())
    with pytest.raises(UsageError, match="pg_dump --format=custom"):
        backup(store, tmp_path / "copy.db")
    store.close()
