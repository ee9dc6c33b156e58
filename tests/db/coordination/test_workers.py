from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kswatch.db.coordination.workers import HEARTBEAT_TIMEOUT, Heartbeat, mark_stopped, record_heartbeat
from kswatch.db.queries import basic as queries
from tests.db.sample_records import CPU, run_record

COORDINATOR = Heartbeat("host-a process 7", "coordinator", "local", "host-a")


def test_repeated_heartbeats_are_one_row(store):
    record_heartbeat(store, COORDINATOR)
    [first] = queries.workers(store)
    record_heartbeat(store, COORDINATOR)
    [second] = queries.workers(store)
    assert (second.started_at, second.stopped_at) == (first.started_at, None)
    assert second.heartbeat_at >= first.heartbeat_at


def test_a_worker_has_its_device_and_its_current_run(store):
    run_id = store.begin_run(run_record())
    record_heartbeat(store, COORDINATOR, Heartbeat("worker-1", "worker", "local", "host-a", CPU.uuid, run_id))
    coordinator, worker = queries.workers(store)
    assert coordinator.role == "coordinator"
    assert (worker.device_uuid, worker.device_model, worker.run_id) == (CPU.uuid, CPU.model, run_id)


def test_a_stale_worker_differs_from_a_stopped_one(store):
    record_heartbeat(store, COORDINATOR, Heartbeat("worker-1", "worker", "local", "host-a"))
    mark_stopped(store, COORDINATOR.name)
    coordinator, worker = queries.workers(store)
    now = datetime.now(UTC)
    assert (coordinator.state(now), worker.state(now)) == ("stopped", "alive")
    assert worker.state(now + HEARTBEAT_TIMEOUT + timedelta(seconds=1)) == "stale"


def test_a_stopped_worker_that_returns_starts_anew(store):
    record_heartbeat(store, COORDINATOR)
    [first] = queries.workers(store)
    mark_stopped(store, COORDINATOR.name)
    record_heartbeat(store, COORDINATOR)
    [again] = queries.workers(store)
    assert again.stopped_at is None
    assert again.started_at > first.started_at


def test_workers_without_a_recent_heartbeat_can_be_left_out(store):
    record_heartbeat(store, COORDINATOR)
    assert queries.workers(store, seen_since=datetime.now(UTC) + timedelta(seconds=1)) == []
