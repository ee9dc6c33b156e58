from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from kswatch.db.config import RequestLimits
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.events import request_events
from kswatch.db.store import Store
from kswatch.errors import UsageError
from tests.db.sample_records import measured, night, problem, run_record


def submit(store, suite="smoke", **options):
    return requests.submit(store, suite, "cpu", asked_by="me", **options)


def test_the_highest_priority_comes_first_then_the_oldest(store):
    first, urgent, last = submit(store), submit(store, priority=5), submit(store)
    assert [request.id for request in requests.queued(store)] == [urgent, first, last]
    for request in requests.queued(store):
        assert requests.take(store, request.id).id == request.id
    assert requests.queued(store) == []


def test_a_taken_request_is_as_it_was_submitted(store):
    submitted = submit(store, why="new compiler", arguments={"pattern": ["6,64,64,1"]})
    taken = requests.take(store, submitted)
    assert (taken.state, taken.kind, taken.device, taken.why) == ("running", "ad_hoc", "cpu", "new compiler")
    assert taken.arguments == {"pattern": ["6,64,64,1"]}
    assert taken.taken_at >= taken.asked_at


def test_concurrent_servers_never_take_the_same_request(store, url):
    submitted = {submit(store) for _ in range(30)}

    def take_all(_: int) -> list[int]:
        own = Store.open(url)
        taken = []
        while waiting := requests.queued(own):
            taken += [request.id for request in waiting if requests.take(own, request.id)]
        own.close()
        return taken

    with ThreadPoolExecutor(3) as servers:
        taken = [request_id for own in servers.map(take_all, range(3)) for request_id in own]
    assert len(taken) == 30
    assert set(taken) == submitted


def test_recording_progress_returns_whether_the_request_was_cancelled(store):
    submitted = submit(store)
    requests.take(store, submitted)
    assert requests.record_progress(store, submitted, 3, 10, seconds_left=5.0, message="measuring") is False
    requests.cancel(store, submitted, "you", "wrong device")
    assert requests.record_progress(store, submitted, 4) is True
    requests.finish(store, submitted, "cancelled")
    found = queries.request(store, submitted)
    assert (found.state, found.cells_done, found.cells_planned) == ("cancelled", 4, 10)
    assert found.message == "cancelled by you: wrong device"


def test_a_queued_request_is_cancelled_at_once(store):
    submitted = submit(store)
    requests.cancel(store, submitted, "you")
    assert requests.take(store, submitted) is None
    with pytest.raises(UsageError, match="is cancelled already"):
        requests.cancel(store, submitted, "you")


def test_submission_and_cancellation_are_events_with_user_and_reason(store):
    submitted = submit(store, why="a new driver")
    requests.cancel(store, submitted, "you", "wrong device")
    found = request_events(store, [submitted])
    assert [(one.who, one.action, one.reason) for one in found] == [
        ("me", "ask", "a new driver"),
        ("you", "cancel", "wrong device"),
    ]
    with pytest.raises(UsageError, match="cancelled already"):
        requests.cancel(store, submitted, "another")
    assert len(request_events(store, [submitted])) == 2


def test_a_request_refers_to_its_newest_run(store):
    submitted = submit(store)
    assert queries.request(store, submitted).run_id is None
    run_id = store.begin_run(run_record(request_id=submitted))
    assert [one.run_id for one in queries.requests(store)] == [run_id]


def test_a_failed_request_has_the_reason_as_its_message(store):
    submitted = submit(store)
    requests.take(store, submitted)
    requests.finish(store, submitted, "failed", "no such suite")
    (found,) = queries.requests(store, states=["failed"])
    assert (found.message, found.finished_at is not None) == ("no such suite", True)


def test_a_request_above_the_limits_is_refused_with_its_size(store):
    limits = RequestLimits(request_cells=100, request_minutes=10, requests_per_hour=2)
    with pytest.raises(UsageError, match="200 cells are more than one request may have .100."):
        submit(store, cells=200, limits=limits)
    night(store, {"fused": 1.0, "bmm": 2.0})  # two cells in a second
    store.finish_run(1, "finished", seconds=60.0)
    with pytest.raises(UsageError, match="about 25 minutes; one request may take 10"):
        submit(store, cells=50, limits=limits)
    assert queries.requests(store) == []


def test_a_users_requests_per_hour_are_limited(store):
    limits = RequestLimits(requests_per_hour=2)
    submit(store, limits=limits)
    submit(store, limits=limits)
    with pytest.raises(UsageError, match="me requested 2 runs within the last hour"):
        submit(store, limits=limits)
    requests.submit(store, "smoke", "cpu", asked_by="another", limits=limits)


def test_the_duration_is_estimated_from_the_newest_run_on_the_device(store):
    run_id = night(store, {"fused": 1.0, "bmm": 2.0})
    store.record_problem(run_id, [measured(problem(d=2), "fused", status="skipped")])
    store.finish_run(run_id, "finished", seconds=3.0)
    submitted = requests.submit(store, "smoke", "cpu-made-up", asked_by="me", cells=20)
    assert queries.request(store, submitted).seconds_planned == pytest.approx(30.0)
    assert queries.request(store, submit(store)).seconds_planned is None


def test_a_server_that_lost_its_request_to_another_cannot_end_it(store):
    submitted = submit(store)
    first = requests.take(store, submitted)
    requests.requeue(store, submitted, "its server ended", first.taken_at)
    second = requests.take(store, submitted)
    requests.finish(store, submitted, "failed", "woken too late", first.taken_at)
    requests.requeue(store, submitted, "woken too late", first.taken_at)
    assert queries.request(store, submitted).state == "running"
    requests.finish(store, submitted, "done", taken_at=second.taken_at)
    assert queries.request(store, submitted).state == "done"


def test_a_taken_request_cannot_be_taken_again(store):
    submitted = submit(store)
    assert requests.take(store, submitted).id == submitted
    assert requests.take(store, submitted) is None
