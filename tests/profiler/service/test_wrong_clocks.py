"""Marks and leases left by a clock that was ahead, races for a device, kills between two writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from kswatch.db.coordination import leases
from kswatch.db.coordination import schedule as schedule_marks
from kswatch.db.coordination.leases import DeviceBusyError
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.schema.tables import Lease
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.service import server as server_module
from kswatch.profiler.service.server import NIGHTLY, Server
from tests.profiler.conftest import run_next

EVENING = datetime(2026, 3, 1, 23, tzinfo=UTC)
NIGHT = datetime(2026, 3, 2, 2, tzinfo=UTC)
FILTERS = {"pattern": ["2,8,8,2"], "batch": [16], "implementation": ["fused", "bmm"]}


class Clock:
    """Shows the time that it was set to."""

    def __init__(self) -> None:
        self.now = EVENING

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(store, scripted, clock):
    config = ProfilerConfig(devices=("cpu", "GPU-elsewhere"), nightly_cron="0 2 * * *", timezone="UTC")
    server = Server(store, scripted.context(config=config), lambda run_id: None, clock)
    server.request_due_nightly()
    return server


def due_nights(store):
    return [request.why for request in queries.requests(store) if request.device == "cpu"]


def finish_all(store):
    for request in queries.requests(store, states=("queued",), limit=None):
        requests.finish(store, request.id)


def test_a_mark_far_in_the_future_is_set_to_now_and_the_next_night_is_measured(store, server, clock, caplog):
    clock.now = datetime(2037, 5, 1, 12, tzinfo=UTC)
    server.request_due_nightly()
    finish_all(store)
    clock.now = EVENING + timedelta(minutes=5)
    server.request_due_nightly()
    assert "in the future" in caplog.text
    clock.now = NIGHT + timedelta(seconds=1)
    server.request_due_nightly()
    assert due_nights(store)[0] == "nightly due at 2026-03-02 02:00 UTC"


def test_a_night_that_a_clock_ahead_by_hours_has_begun_is_not_measured_again(store, server, clock):
    clock.now = NIGHT + timedelta(hours=1)
    server.request_due_nightly()
    finish_all(store)
    for minute in range(0, 600, 7):
        clock.now = EVENING + timedelta(minutes=minute)
        server.request_due_nightly()
    assert due_nights(store) == ["nightly due at 2026-03-02 02:00 UTC"]


@pytest.mark.parametrize("step_s", [-3, -1, 1, 3])
def test_a_small_step_of_the_clock_at_the_due_time_makes_no_second_night(store, server, clock, step_s):
    for seconds in (-2, 0, 1, step_s, step_s + 1, 5, 60):
        clock.now = NIGHT + timedelta(seconds=seconds)
        server.request_due_nightly()
        finish_all(store)
    assert len(due_nights(store)) == 1


@pytest.mark.parametrize("at_request", [0, 1])
def test_a_failure_between_the_mark_and_a_device_s_request_loses_no_night(
    store, server, clock, monkeypatch, at_request
):
    add, calls = requests.add, []

    def fail(session, run, estimated_s=None):
        calls.append(run)
        if len(calls) == at_request + 1:
            raise ConnectionError("killed here")
        return add(session, run, estimated_s)

    clock.now = NIGHT + timedelta(minutes=1)
    monkeypatch.setattr(server_module.requests, "add", fail)
    with pytest.raises(ConnectionError):
        server.request_due_nightly()
    assert queries.requests(store) == []
    server.request_due_nightly()
    assert sorted(request.device for request in queries.requests(store)) == ["GPU-elsewhere", "cpu"]
    server.request_due_nightly()
    assert len(queries.requests(store)) == 2


def set_clock_of_lease(store, uuid, ahead):
    at = datetime.now(UTC) + ahead
    with store.writing() as session:
        times = {"heartbeat_at": at, "expires_at": at + timedelta(seconds=120)}
        session.execute(update(Lease).where(Lease.device_uuid == uuid).values(**times))


def test_a_lease_of_the_future_blocks_a_device_no_longer_than_any_other(store, caplog):
    held = leases.acquire(store, "GPU-1", "process 7 of another host")
    set_clock_of_lease(store, "GPU-1", timedelta(days=4000))
    with pytest.raises(DeviceBusyError, match="last heartbeat 0 s ago"):
        leases.acquire(store, "GPU-1", "second")
    assert "in the future" in caplog.text
    with store.session() as session:
        left = session.get_one(Lease, "GPU-1").expires_at - datetime.now(UTC)
    assert timedelta(seconds=100) < left <= timedelta(seconds=120)
    leases.heartbeat(store, held)  # the holder, should it live, keeps it


def test_a_lease_of_a_clock_that_is_ahead_by_seconds_is_left_alone(store):
    leases.acquire(store, "GPU-1", "process 7 of another host")
    set_clock_of_lease(store, "GPU-1", timedelta(seconds=20))
    assert leases.correct_future_leases(store) == []


def test_a_device_that_another_process_takes_meanwhile_makes_the_request_wait(store, server, monkeypatch):
    request_id = requests.submit(store, "ad_hoc", "cpu", asked_by="a tester", arguments=FILTERS)
    uuid = cpu_target().record.uuid
    other = leases.acquire(store, uuid, "process 7 of another host")
    # The race: the server sees the device free, and the other process is faster.
    monkeypatch.setattr(server_module.leases, "holder_of", lambda store, uuid: None)
    run_next(server)
    waiting = queries.request(store, request_id)
    assert waiting.state == "queued" and "process 7 of another host" in waiting.message
    leases.release(store, other)
    assert run_next(server)
    assert queries.request(store, request_id).state == "done"
    assert len(queries.runs(store)) == 1


def test_the_mark_is_corrected_by_one_of_two_servers(store):
    wrong, right = datetime(2037, 1, 1, tzinfo=UTC), EVENING
    with store.writing() as session:
        schedule_marks.mark_due(session, NIGHTLY, wrong)
    assert schedule_marks.correct_mark(store, NIGHTLY, wrong, right)
    assert not schedule_marks.correct_mark(store, NIGHTLY, wrong, right + timedelta(hours=1))
    assert schedule_marks.last_due(store, NIGHTLY) == right
