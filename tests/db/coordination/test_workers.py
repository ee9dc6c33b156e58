from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kswatch.db.coordination.workers import SILENT_AFTER, Sign, say_alive, say_goodbye
from kswatch.db.queries import basic as queries
from tests.db.sample_records import CPU, run_record

COORDINATOR = Sign("host-a process 7", "coordinator", "local", "host-a")


def test_a_sign_of_life_is_one_row_however_often_it_comes(store):
    say_alive(store, COORDINATOR)
    [first] = queries.workers(store)
    say_alive(store, COORDINATOR)
    [second] = queries.workers(store)
    assert (second.started_at, second.stopped_at) == (first.started_at, None)
    assert second.heartbeat_at >= first.heartbeat_at


def test_a_worker_tells_its_device_and_what_it_does(store):
    run_id = store.begin_run(run_record())
    say_alive(store, COORDINATOR, Sign("worker-1", "worker", "local", "host-a", CPU.uuid, run_id))
    coordinator, worker = queries.workers(store)
    assert coordinator.role == "coordinator"
    assert (worker.device_uuid, worker.device_model, worker.run_id) == (CPU.uuid, CPU.model, run_id)


def test_who_falls_silent_is_told_from_who_said_goodbye(store):
    say_alive(store, COORDINATOR, Sign("worker-1", "worker", "local", "host-a"))
    say_goodbye(store, COORDINATOR.name)
    coordinator, worker = queries.workers(store)
    now = datetime.now(UTC)
    assert (coordinator.state(now), worker.state(now)) == ("stopped", "alive")
    assert worker.state(now + SILENT_AFTER + timedelta(seconds=1)) == "silent"


def test_who_comes_back_after_a_goodbye_begins_anew(store):
    say_alive(store, COORDINATOR)
    [first] = queries.workers(store)
    say_goodbye(store, COORDINATOR.name)
    say_alive(store, COORDINATOR)
    [again] = queries.workers(store)
    assert again.stopped_at is None
    assert again.started_at > first.started_at


def test_those_not_seen_for_long_can_be_left_out(store):
    say_alive(store, COORDINATOR)
    assert queries.workers(store, seen_since=datetime.now(UTC) + timedelta(seconds=1)) == []
