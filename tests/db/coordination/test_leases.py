from __future__ import annotations

import pytest

from kswatch.db.coordination.leases import acquire, fenced, heartbeat, release
from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from kswatch.errors import MeasurementError
from tests.db.sample_records import GPU, measured, problem, run_record

DEVICE = "GPU-11112222"


def test_a_lease_has_one_holder_at_a_time(store):
    acquire(store, DEVICE, "first")
    with pytest.raises(MeasurementError, match="is being measured by first"):
        acquire(store, DEVICE, "second")
    acquire(store, "cpu", "second")


def test_a_released_lease_is_acquired_with_a_higher_number(store):
    first = acquire(store, DEVICE, "first")
    release(store, first)
    assert acquire(store, DEVICE, "second").fencing == first.fencing + 1


def test_a_holder_without_heartbeat_loses_the_lease_permanently(store):
    silent = acquire(store, DEVICE, "first", seconds=0)
    second = acquire(store, DEVICE, "second")
    with pytest.raises(MeasurementError, match="was lost .no heartbeat in time.; this run stops here"):
        heartbeat(store, silent)
    release(store, silent)
    heartbeat(store, second)


def test_a_stale_holder_is_refused_in_the_transaction_that_writes(store):
    run_id = store.begin_run(run_record(device=GPU))
    silent = acquire(store, GPU.uuid, "first", seconds=0)
    with fenced(store, silent, seconds=0):
        store.record_problem(run_id, [measured(problem(), "fused", 1.0)])
        newer = acquire(Store(store.engine), GPU.uuid, "second")
        with pytest.raises(MeasurementError, match="was lost"):
            store.record_problem(run_id, [measured(problem(), "bmm", 1.0)])
        with pytest.raises(MeasurementError, match="was lost"):
            store.finish_run(run_id)
    assert [row.implementation for row in queries.measurements(store, run_id)] == ["fused"]
    with fenced(store, newer):
        store.record_problem(run_id, [measured(problem(), "bmm", 1.0)])
    assert len(queries.measurements(store, run_id)) == 2


def test_a_killed_run_is_interrupted_once_its_lease_expired(store):
    run_id = store.begin_run(run_record(device=GPU))
    held = acquire(store, GPU.uuid, "killed soon")
    assert queries.run(store, run_id).state == "running"
    heartbeat(store, held, seconds=-1)
    assert queries.run(store, run_id).state == "interrupted"
    assert queries.runs(store, states=("running",)) == []
    assert [run.id for run in queries.runs(store, states=("interrupted",))] == [run_id]
