"""The server runs what is asked for, and the nightly when it is due; the engine is scripted."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from kswatch.db.coordination import leases, lost_workers
from kswatch.db.coordination import schedule as schedule_marks
from kswatch.db.coordination.workers import Sign, say_alive
from kswatch.db.queries import basic as queries
from kswatch.db.records import EnvironmentRecord
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.requests import Limits
from kswatch.db.schema.tables import Request
from kswatch.errors import ConfigurationError
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.executors.base import WorkerLostError
from kswatch.profiler.service.server import NIGHTLY, Server
from kswatch.profiler.signals import Stopped

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
    return Server(store, scripted.surroundings(config=config), judged.append, clock)


def ask(store, **options):
    return requests.ask(store, "ad_hoc", "cpu", asked_by="a tester", arguments=FILTERS | options)


def test_a_request_is_run_judged_and_done(store, server, judged):
    request_id = ask(store)
    assert server.run_next()
    request = queries.request(store, request_id)
    assert (request.state, request.cells_done, request.cells_planned) == ("done", 4, 4)
    assert request.message == "run 1: 4 ok"
    assert judged == [request.run_id] == [1]
    assert not server.run_next()


def test_a_request_that_fails_says_why_and_the_next_one_runs(store, server, scripted):
    unknown = requests.ask(store, "nightli", "cpu", asked_by="a tester")
    absent = requests.ask(store, "smoke", "GPU-elsewhere", asked_by="a tester")
    good = ask(store)
    assert server.run_next()
    assert queries.request(store, unknown).state == queries.request(store, absent).state == "failed"
    assert "no suite 'nightli'" in queries.request(store, unknown).message
    assert "GPU-elsewhere" in queries.request(store, absent).message
    assert queries.request(store, good).state == "done"


def test_a_defect_in_one_run_fails_its_request_alone(store, server, scripted, capsys):
    def defect(task):
        raise ZeroDivisionError("a defect")

    scripted.script = defect
    request_id = ask(store)
    assert server.run_next()
    assert queries.request(store, request_id).state == "failed"
    assert "ZeroDivisionError" in queries.request(store, request_id).message
    assert "Traceback" in capsys.readouterr().err


def test_a_judgement_that_fails_is_told_by_the_request(store, scripted, clock):
    def judge(run_id):
        raise ConfigurationError("channel 1 is no URL")

    request_id = ask(store)
    Server(store, scripted.surroundings(), judge, clock).run_next()
    assert queries.request(store, request_id).state == "failed"
    assert queries.run(store, 1).state == "finished"


def test_a_cancelled_request_stops_after_the_problem_under_way(store, server, scripted, judged):
    request_id = ask(store, pattern=["2,8,8,2", "4,8,8,1", "1,8,8,4"])
    stops_seen = []

    def cancel_once(task):
        if not scripted.tasks:
            requests.cancel(store, request_id, "a tester")
        stops_seen.append(task)

    scripted.script = cancel_once
    server.run_next()
    request = queries.request(store, request_id)
    assert request.state == "cancelled"
    assert queries.run(store, 1).state == "interrupted"
    assert len(stops_seen) == 1
    assert judged == []


def test_a_stopped_server_gives_its_request_back_and_the_next_one_resumes_its_run(
    store, server, scripted, clock, judged
):
    stop = threading.Event()
    stopping = Server(store, scripted.surroundings(stop=stop), judged.append, clock)
    request_id = ask(store, pattern=["2,8,8,2", "4,8,8,1"])
    scripted.script = lambda task: stop.set()
    stopping.serve()
    assert queries.request(store, request_id).state == "queued"
    scripted.script = lambda task: None
    server.run_next()
    assert queries.request(store, request_id).state == "done"
    assert queries.run(store, 1).state == "finished"
    assert len(scripted.tasks) == len({task.problem for task in scripted.tasks}) == 4


def test_a_run_of_another_environment_is_not_resumed_but_begun_anew(store, server, scripted, clock, judged):
    def stop(task):
        raise Stopped

    scripted.script = stop
    request_id = ask(store)
    server.run_next()
    scripted.script, scripted.environment = lambda task: None, EnvironmentRecord(driver="newer")
    server.run_next()
    assert queries.request(store, request_id).state == "done"
    assert [queries.run(store, run_id).state for run_id in (1, 2)] == ["interrupted", "finished"]


def test_a_run_that_ended_just_before_its_server_was_killed_is_not_repeated(store, server, scripted):
    request_id = ask(store)
    server.run_next()
    requests.give_back(store, request_id, "its server ended")
    server.run_next()
    assert queries.request(store, request_id).state == "done"
    assert len(scripted.tasks) == 2


def test_what_a_killed_server_had_taken_is_queued_again(store, server, scripted, clock):
    request_id = ask(store)
    requests.take_next(store)
    clock.now = datetime.now(UTC)
    server.take_back()
    assert queries.request(store, request_id).state == "running", "its run may be beginning just now"
    clock.now += timedelta(minutes=5)
    server.take_back()
    assert queries.request(store, request_id).state == "queued"


def test_what_another_server_judges_is_left_to_it(store, scripted, server, clock):
    request_id = ask(store)
    seen = []

    def judge(run_id):
        ended = queries.run(store, run_id).finished_at
        with store.writing() as session:
            session.get(Request, request_id).taken_at = ended - timedelta(hours=5)  # it was a long run
        for minutes in (1, 5):
            clock.now = ended + timedelta(minutes=minutes)
            server.take_back()
            seen.append(queries.request(store, request_id).state)

    config = ProfilerConfig(devices=("cpu",), poll_s=0.01)
    Server(store, scripted.surroundings(config=config), judge, clock).run_next()
    assert seen == ["running", "queued"], "left alone while it may be judging, not for ever"


def test_what_another_server_measures_is_left_to_it(store, server, scripted, clock):
    request_id = ask(store)
    seen = []
    clock.now = datetime.now(UTC) + timedelta(minutes=5)

    def look(task):
        server.take_back()
        seen.append(queries.request(store, request_id).state)

    scripted.script = look
    server.run_next()
    assert seen == ["running", "running"]


def test_the_first_start_has_missed_no_night(store, server):
    server.ask_for_due_night()
    assert queries.requests(store) == []


def test_a_due_night_is_asked_for_once_per_device(store, server, clock):
    server.ask_for_due_night()
    clock.now = NOON + timedelta(hours=14, minutes=1)
    server.ask_for_due_night()
    server.ask_for_due_night()
    [night] = queries.requests(store)
    assert (night.kind, night.suite, night.device) == ("nightly", "smoke", "cpu")
    assert night.arguments == {"budget": "3h"}


def test_a_device_that_is_away_at_night_fails_its_request_not_the_server(store, scripted, clock):
    config = ProfilerConfig(devices=("GPU-elsewhere", "cpu"))
    server = Server(store, scripted.surroundings(config=config), lambda run_id: None, clock)
    schedule_marks.mark_due(store, NIGHTLY, NOON - timedelta(days=1))
    server.ask_for_due_night()
    assert server.run_next()
    assert {night.device: night.state for night in queries.requests(store)} == {
        "GPU-elsewhere": "failed",
        "cpu": "done",
    }


def test_nights_missed_while_nobody_served_are_caught_up_once(store, server, clock):
    schedule_marks.mark_due(store, NIGHTLY, NOON - timedelta(days=5))
    server.ask_for_due_night()
    [night] = queries.requests(store)
    assert night.why == "nightly due at 2026-03-01 02:00 UTC"


def test_a_request_waits_for_a_device_in_use_and_names_the_holder(store, server):
    leases.acquire(store, cpu_target().record.uuid, "process 7 of another host since 1")
    request_id = ask(store)
    assert not server.run_next()
    request = queries.request(store, request_id)
    assert request.state == "queued"
    assert "process 7 of another host" in request.message


def test_a_wrong_cron_expression_is_told_before_anything_is_served(store, scripted):
    with pytest.raises(ConfigurationError, match="nightly_cron"):
        Server(store, scripted.surroundings(config=ProfilerConfig(nightly_cron="at night")), print)


def test_runs_on_two_devices_go_on_at_once_and_two_on_one_device_never(store, scripted):
    config = ProfilerConfig(poll_s=0.01)
    server = Server(store, scripted.surroundings(config=config), lambda run_id: None)
    under_way, both, seen = set(), threading.Event(), []

    def script(task):
        lane = threading.current_thread()
        under_way.add(lane)
        seen.append(len(under_way))
        if len(under_way) == 2:
            both.set()
        assert both.wait(30), "the second device was not measured beside the first"
        under_way.discard(lane)

    scripted.script = script
    one_problem = FILTERS | {"layout": ["batch_last"]}
    for device in ("sim:h200", "sim:h200:2", "sim:h200"):
        requests.ask(store, "ad_hoc", device, asked_by="a tester", arguments=one_problem)
    lanes = [server.start_next(), server.start_next(), server.start_next()]
    assert lanes[2] is None, "its device is taken"
    while queries.requests(store, states=("queued", "running")):
        server.end_lanes(1)
        server.start_next()
    assert {request.state for request in queries.requests(store)} == {"done"}
    assert max(seen) == 2


def test_a_request_for_a_device_of_another_server_is_left_to_it(store, server, clock):
    clock.now = datetime.now(UTC)
    say_alive(store, Sign("process 7 of another host", "coordinator", "local", "another"))
    absent = requests.ask(store, "smoke", "GPU-elsewhere", asked_by="a tester")
    good = ask(store)
    assert server.run_next()
    assert queries.request(store, absent).state == "queued"
    assert "GPU-elsewhere" in queries.request(store, absent).message
    assert queries.request(store, good).state == "done"


def test_counters_asked_for_on_the_dashboard_are_read(store, server, scripted):
    ask(store, counters=True)
    server.run_next()
    assert all(task.settings.counters for task in scripted.tasks)
    assert queries.run(store, 1).arguments["counters"] is True


@pytest.mark.parametrize("here", [(), (cpu_target(),)], ids=["still away", "back meanwhile"])
def test_a_lost_worker_is_told_at_once_and_its_run_goes_on_when_it_is_back(store, scripted, here):
    told = []

    def gone(task):
        raise WorkerLostError("its worker was gone for 600 s")

    scripted.script = gone
    around = scripted.surroundings(distant=True, list_devices=lambda: here)
    server = Server(store, around, lambda run_id: None, look_around=lambda: told.append(lost(store)))
    request_id = ask(store)
    server.run_next()
    assert queries.request(store, request_id).state == "queued"
    server.tell_of_lost()
    server.tell_of_lost()
    assert told == [[1]]
    assert queries.request(store, request_id).state == "queued"
    scripted.script = lambda task: None
    server.run_next()
    server.tell_of_lost()
    assert told == [[1], []]
    assert [event.action for event in queries.run_events(store, 1)] == ["worker_lost", "worker_back"]
    assert queries.request(store, request_id).state == "done"


def lost(store):
    return [one.run_id for one in lost_workers.lost_runs(store)]


def test_a_request_that_costs_too_much_is_refused_before_its_device_is_taken(store, scripted):
    server = Server(store, scripted.surroundings(), lambda run_id: None, limits=Limits(cells=3))
    big = ask(store)
    assert not server.run_next()
    request = queries.request(store, big)
    assert (request.state, request.cells_planned) == ("failed", 4)
    assert "4 cells are more than one request may ask for (3)" in request.message
