"""The server runs what is asked for, and the nightly when it is due; the engine is scripted."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from kswatch.db.config import RequestLimits
from kswatch.db.coordination import leases, run_events
from kswatch.db.coordination import schedule as schedule_marks
from kswatch.db.coordination.workers import Heartbeat, record_heartbeat
from kswatch.db.queries import basic as queries
from kswatch.db.records import EnvironmentRecord
from kswatch.db.request_queue import requests
from kswatch.db.schema.tables import Request
from kswatch.errors import ConfigurationError
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.executors.base import WorkerLostError
from kswatch.profiler.service.server import NIGHTLY, Server
from kswatch.profiler.signals import Stopped
from tests.profiler.conftest import run_next

FILTERS = {"pattern": ["2,8,8,2"], "batch": [16], "implementation": ["fused", "bmm"]}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """Holds still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def judged():
    return []


@pytest.fixture
def server(store, scripted, clock, judged):
    config = ProfilerConfig(devices=("cpu",), poll_s=0.01)
    return Server(store, scripted.context(config=config), judged.append, clock)


def mark_night(store, due):
    with store.writing() as session:
        schedule_marks.mark_due(session, NIGHTLY, due)


def ask(store, **options):
    return requests.submit(store, "ad_hoc", "cpu", asked_by="a tester", arguments=FILTERS | options)


def test_a_request_is_run_judged_and_done(store, server, judged):
    request_id = ask(store)
    assert run_next(server)
    request = queries.request(store, request_id)
    assert (request.state, request.cells_done, request.cells_planned) == ("done", 4, 4)
    assert request.message == "run 1: 4 ok"
    assert judged == [request.run_id] == [1]
    assert not run_next(server)


def test_a_failed_request_has_a_reason_and_the_next_one_runs(store, server, scripted):
    unknown = requests.submit(store, "nightli", "cpu", asked_by="a tester")
    absent = requests.submit(store, "smoke", "GPU-elsewhere", asked_by="a tester")
    good = ask(store)
    assert run_next(server)
    assert queries.request(store, unknown).state == queries.request(store, absent).state == "failed"
    assert "no suite 'nightli'" in queries.request(store, unknown).message
    assert "GPU-elsewhere" in queries.request(store, absent).message
    assert queries.request(store, good).state == "done"


def test_a_defect_in_one_run_fails_its_request_alone(store, server, scripted, caplog):
    def defect(task):
        raise ZeroDivisionError("a defect")

    scripted.script = defect
    request_id = ask(store)
    assert run_next(server)
    assert queries.request(store, request_id).state == "failed"
    assert "ZeroDivisionError" in queries.request(store, request_id).message
    assert "Traceback" in caplog.text


def test_a_judgement_that_fails_is_the_request_s_message(store, scripted, clock):
    def judge(run_id):
        raise ConfigurationError("channel 1 is no URL")

    request_id = ask(store)
    run_next(Server(store, scripted.context(), judge, clock))
    assert queries.request(store, request_id).state == "failed"
    assert queries.run(store, 1).state == "finished"


def test_a_cancelled_request_stops_after_the_problem_in_progress(store, server, scripted, judged):
    request_id = ask(store, pattern=["2,8,8,2", "4,8,8,1", "1,8,8,4"])
    stops_seen = []

    def cancel_once(task):
        if not scripted.tasks:
            requests.cancel(store, request_id, "a tester")
        stops_seen.append(task)

    scripted.script = cancel_once
    run_next(server)
    request = queries.request(store, request_id)
    assert request.state == "cancelled"
    assert queries.run(store, 1).state == "interrupted"
    assert len(stops_seen) == 1
    assert judged == []


def test_a_stopped_server_requeues_its_request_and_the_next_one_resumes_its_run(
    store, server, scripted, clock, judged
):
    stop = threading.Event()
    stopping = Server(store, scripted.context(stop=stop), judged.append, clock)
    request_id = ask(store, pattern=["2,8,8,2", "4,8,8,1"])
    scripted.script = lambda task: stop.set()
    stopping.serve()
    assert queries.request(store, request_id).state == "queued"
    scripted.script = lambda task: None
    run_next(server)
    assert queries.request(store, request_id).state == "done"
    assert queries.run(store, 1).state == "finished"
    assert len(scripted.tasks) == len({task.problem for task in scripted.tasks}) == 4


def test_a_run_of_another_environment_is_replaced_by_a_new_one(store, server, scripted, clock, judged):
    def stop(task):
        raise Stopped

    scripted.script = stop
    request_id = ask(store)
    run_next(server)
    scripted.script, scripted.environment = lambda task: None, EnvironmentRecord(driver="newer")
    run_next(server)
    assert queries.request(store, request_id).state == "done"
    assert [queries.run(store, run_id).state for run_id in (1, 2)] == ["interrupted", "finished"]


def test_a_run_that_ended_just_before_its_server_was_killed_is_not_repeated(store, server, scripted):
    request_id = ask(store)
    run_next(server)
    requests.requeue(store, request_id, "its server ended")
    run_next(server)
    assert queries.request(store, request_id).state == "done"
    assert len(scripted.tasks) == 2


def test_the_request_of_a_killed_server_is_queued_again(store, server, scripted, clock):
    request_id = ask(store)
    requests.take(store, request_id)
    clock.now = datetime.now(UTC)
    server.requeue_abandoned()
    assert queries.request(store, request_id).state == "running", "its run may be beginning just now"
    clock.now += timedelta(minutes=5)
    server.requeue_abandoned()
    assert queries.request(store, request_id).state == "queued"


def test_a_request_that_another_server_judges_is_left_to_it(store, scripted, server, clock):
    request_id = ask(store)
    seen = []

    def judge(run_id):
        ended = queries.run(store, run_id).finished_at
        with store.writing() as session:
            session.get(Request, request_id).taken_at = ended - timedelta(hours=5)  # it was a long run
        for minutes in (1, 5):
            clock.now = ended + timedelta(minutes=minutes)
            server.requeue_abandoned()
            seen.append(queries.request(store, request_id).state)

    config = ProfilerConfig(devices=("cpu",), poll_s=0.01)
    run_next(Server(store, scripted.context(config=config), judge, clock))
    assert seen == ["running", "queued"], "left alone while it may be judging, not for ever"


def test_a_request_that_another_server_measures_is_left_to_it(store, server, scripted, clock):
    request_id = ask(store)
    seen = []
    clock.now = datetime.now(UTC) + timedelta(minutes=5)

    def look(task):
        server.requeue_abandoned()
        seen.append(queries.request(store, request_id).state)

    scripted.script = look
    run_next(server)
    assert seen == ["running", "running"]


def test_the_first_start_has_missed_no_night(store, server):
    server.request_due_nightly()
    assert queries.requests(store) == []


def test_a_due_night_is_requested_once_per_device(store, server, clock):
    server.request_due_nightly()
    clock.now = NOON + timedelta(hours=14, minutes=1)
    server.request_due_nightly()
    server.request_due_nightly()
    [night] = queries.requests(store)
    assert (night.kind, night.suite, night.device) == ("nightly", "smoke", "cpu")
    assert night.arguments == {"budget": "3h"}


def test_an_absent_device_fails_its_nightly_request_not_the_server(store, scripted, clock):
    config = ProfilerConfig(devices=("GPU-elsewhere", "cpu"))
    server = Server(store, scripted.context(config=config), lambda run_id: None, clock)
    mark_night(store, NOON - timedelta(days=1))
    server.request_due_nightly()
    assert run_next(server)
    assert {night.device: night.state for night in queries.requests(store)} == {
        "GPU-elsewhere": "failed",
        "cpu": "done",
    }


def test_nights_missed_without_a_server_are_caught_up_once(store, server, clock):
    mark_night(store, NOON - timedelta(days=5))
    server.request_due_nightly()
    [night] = queries.requests(store)
    assert night.why == "nightly due at 2026-03-01 02:00 UTC"


def test_a_request_waits_for_a_device_in_use_and_names_the_holder(store, server):
    leases.acquire(store, cpu_target().record.uuid, "process 7 of another host since 1")
    request_id = ask(store)
    assert not run_next(server)
    request = queries.request(store, request_id)
    assert request.state == "queued"
    assert "process 7 of another host" in request.message


def test_a_wrong_cron_expression_is_refused_before_the_server_starts(store, scripted):
    with pytest.raises(ConfigurationError, match="nightly_cron"):
        Server(store, scripted.context(config=ProfilerConfig(nightly_cron="at night")), print)


def test_two_devices_are_measured_at_once_and_one_device_never_by_two_runs(store, scripted):
    config = ProfilerConfig(poll_s=0.01)
    server = Server(store, scripted.context(config=config), lambda run_id: None)
    in_progress, both, seen = set(), threading.Event(), []

    def script(task):
        thread = threading.current_thread()
        in_progress.add(thread)
        seen.append(len(in_progress))
        if len(in_progress) == 2:
            both.set()
        assert both.wait(30), "the second device was not measured beside the first"
        in_progress.discard(thread)

    scripted.script = script
    one_problem = FILTERS | {"layout": ["batch_last"]}
    for device in ("sim:h200", "sim:h200:2", "sim:h200"):
        requests.submit(store, "ad_hoc", device, asked_by="a tester", arguments=one_problem)
    started = [server.start_next(), server.start_next(), server.start_next()]
    assert started[2] is None, "its device is taken"
    while queries.requests(store, states=("queued", "running")):
        server.finish_runs(1)
        server.start_next()
    assert {request.state for request in queries.requests(store)} == {"done"}
    assert max(seen) == 2


def test_a_request_for_a_device_of_another_server_is_left_to_it(store, server, clock):
    clock.now = datetime.now(UTC)
    record_heartbeat(store, Heartbeat("process 7 of another host", "coordinator", "local", "another"))
    absent = requests.submit(store, "smoke", "GPU-elsewhere", asked_by="a tester")
    good = ask(store)
    assert run_next(server)
    assert queries.request(store, absent).state == "queued"
    assert "GPU-elsewhere" in queries.request(store, absent).message
    assert queries.request(store, good).state == "done"


def test_counters_requested_on_the_dashboard_are_read(store, server, scripted):
    ask(store, counters=True)
    run_next(server)
    assert all(task.settings.counters for task in scripted.tasks)
    assert queries.run(store, 1).arguments["counters"] is True


@pytest.mark.parametrize("here", [(), (cpu_target(),)], ids=["still away", "back meanwhile"])
def test_a_lost_worker_is_reported_at_once_and_its_run_continues_when_it_is_back(store, scripted, here):
    reported = []

    def gone(task):
        raise WorkerLostError("its worker was gone for 600 s")

    scripted.script = gone
    context = scripted.context(remote=True, list_devices=lambda: here)
    report = lambda: reported.append(lost(store))  # noqa: E731
    server = Server(store, context, lambda run_id: None, check_missing_data=report)
    request_id = ask(store)
    run_next(server)
    assert queries.request(store, request_id).state == "queued"
    server.report_lost_workers()
    server.report_lost_workers()
    assert reported == [[1]]
    assert queries.request(store, request_id).state == "queued"
    scripted.script = lambda task: None
    run_next(server)
    server.report_lost_workers()
    assert reported == [[1], []]
    assert [event.action for event in queries.run_events(store, 1)] == ["worker_lost", "worker_back"]
    assert queries.request(store, request_id).state == "done"


def lost(store):
    return [one.run_id for one in run_events.lost_runs(store)]


def test_a_request_that_costs_too_much_is_refused_before_its_device_is_taken(store, scripted):
    server = Server(store, scripted.context(), lambda run_id: None, limits=RequestLimits(request_cells=3))
    big = ask(store)
    assert not run_next(server)
    request = queries.request(store, big)
    assert (request.state, request.cells_planned) == ("failed", 4)
    assert "4 cells are more than one request may have (3)" in request.message
