from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.events import request_events
from kswatch.db.request_queue.requests import Limits
from kswatch.db.store import Store
from kswatch.errors import UsageError
from tests.db.sample_records import measured, night, problem, run_record


def ask(store, suite="smoke", **options):
    return requests.ask(store, suite, "cpu", asked_by="me", **options)


def test_the_highest_priority_is_taken_first_then_the_oldest(store):
    first, urgent, last = ask(store), ask(store, priority=5), ask(store)
    assert [requests.take_next(store).id for _ in range(3)] == [urgent, first, last]
    assert requests.take_next(store) is None


def test_what_was_asked_is_what_is_taken(store):
    ask(store, why="new compiler", arguments={"pattern": ["6,64,64,1"]})
    taken = requests.take_next(store)
    assert (taken.state, taken.kind, taken.device, taken.why) == ("running", "ad_hoc", "cpu", "new compiler")
    assert taken.arguments == {"pattern": ["6,64,64,1"]}
    assert taken.taken_at >= taken.asked_at


def test_two_takers_never_get_the_same_request(store, url):
    asked = {ask(store) for _ in range(30)}

    def take_all(_: int) -> list[int]:
        mine = Store.open(url)
        taken = []
        while (found := requests.take_next(mine)) is not None:
            taken.append(found.id)
        mine.close()
        return taken

    with ThreadPoolExecutor(3) as takers:
        taken = [request_id for mine in takers.map(take_all, range(3)) for request_id in mine]
    assert len(taken) == 30
    assert set(taken) == asked


def test_progress_can_be_seen_and_tells_of_a_cancellation(store):
    asked = ask(store)
    requests.take_next(store)
    assert requests.progress(store, asked, 3, 10, seconds_left=5.0, message="measuring") is False
    requests.cancel(store, asked, "you", "wrong device")
    assert requests.progress(store, asked, 4) is True
    requests.finish(store, asked, "cancelled")
    found = queries.request(store, asked)
    assert (found.state, found.cells_done, found.cells_planned) == ("cancelled", 4, 10)
    assert found.message == "cancelled by you: wrong device"


def test_a_queued_request_is_cancelled_at_once(store):
    asked = ask(store)
    requests.cancel(store, asked, "you")
    assert requests.take_next(store) is None
    with pytest.raises(UsageError, match="is cancelled already"):
        requests.cancel(store, asked, "you")


def test_asking_and_cancelling_leave_who_did_it_and_what_for(store):
    asked = ask(store, why="a new driver")
    requests.cancel(store, asked, "you", "wrong device")
    found = request_events(store, [asked])
    assert [(one.who, one.action, one.reason) for one in found] == [
        ("me", "ask", "a new driver"),
        ("you", "cancel", "wrong device"),
    ]
    with pytest.raises(UsageError, match="cancelled already"):
        requests.cancel(store, asked, "another")
    assert len(request_events(store, [asked])) == 2


def test_a_request_knows_its_run(store):
    asked = ask(store)
    assert queries.request(store, asked).run_id is None
    run_id = store.begin_run(run_record(request_id=asked))
    assert [one.run_id for one in queries.requests(store)] == [run_id]


def test_a_failed_request_says_why(store):
    asked = ask(store)
    requests.take_next(store)
    requests.finish(store, asked, "failed", "no such suite")
    (found,) = queries.requests(store, states=["failed"])
    assert (found.message, found.finished_at is not None) == ("no such suite", True)


def test_what_costs_too_much_is_refused_in_words_for_people(store):
    limits = Limits(cells=100, minutes=10, requests_per_hour=2)
    with pytest.raises(UsageError, match="200 cells are more than one request may ask for .100."):
        ask(store, cells=200, limits=limits)
    night(store, {"fused": 1.0, "bmm": 2.0})  # two cells in a second
    store.finish_run(1, "finished", seconds=60.0)
    with pytest.raises(UsageError, match="about 25 minutes; one request may take 10"):
        ask(store, cells=50, limits=limits)
    assert queries.requests(store) == []


def test_nobody_asks_more_often_than_is_allowed(store):
    limits = Limits(requests_per_hour=2)
    ask(store, limits=limits)
    ask(store, limits=limits)
    with pytest.raises(UsageError, match="me asked for 2 runs within the last hour"):
        ask(store, limits=limits)
    requests.ask(store, "smoke", "cpu", asked_by="another", limits=limits)


def test_a_request_knows_about_how_long_it_takes_from_last_night_on_that_device(store):
    run_id = night(store, {"fused": 1.0, "bmm": 2.0})
    store.record_problem(run_id, [measured(problem(d=2), "fused", status="skipped")])
    store.finish_run(run_id, "finished", seconds=3.0)
    asked = requests.ask(store, "smoke", "cpu-made-up", asked_by="me", cells=20)
    assert queries.request(store, asked).seconds_planned == pytest.approx(30.0)
    assert queries.request(store, ask(store)).seconds_planned is None


def test_who_lost_a_request_to_another_cannot_end_it(store):
    asked = ask(store)
    first = requests.take_next(store)
    requests.give_back(store, asked, "its server ended", first.taken_at)
    second = requests.take(store, asked)
    requests.finish(store, asked, "failed", "woken too late", first.taken_at)
    requests.give_back(store, asked, "woken too late", first.taken_at)
    assert queries.request(store, asked).state == "running"
    requests.finish(store, asked, "done", taken_at=second.taken_at)
    assert queries.request(store, asked).state == "done"


def test_a_request_that_is_taken_cannot_be_taken_again(store):
    asked = ask(store)
    assert requests.take(store, asked).id == asked
    assert requests.take(store, asked) is None
