"""What the server does when its queue is empty after a night: it bisects, until somebody waits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kswatch.db.request_queue import requests
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.service.server import NIGHTLY, Server
from tests.profiler.conftest import run_next
from tests.profiler.service.test_server import FILTERS, NOON, Clock, ask


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def calls():
    return []


@pytest.fixture
def server(store, scripted, clock, calls):
    def bisect(devices, stop, must_stop):
        calls.append((sorted(devices), must_stop))

    config = ProfilerConfig(devices=("cpu",), poll_s=0.01)
    context = scripted.context(config=config)
    return Server(store, context, lambda run: None, clock, bisect=bisect)


def measure_night(store, server):
    requests.submit(store, "ad_hoc", "cpu", asked_by="schedule", arguments=FILTERS, kind=NIGHTLY)
    assert run_next(server)


def test_a_night_is_followed_by_one_bisection_of_its_device(store, server, calls):
    server.bisect_if_idle()
    assert calls == []
    measure_night(store, server)
    server.bisect_if_idle()
    server.bisect_if_idle()
    ((devices, _),) = calls
    assert len(devices) == 1 and devices[0].startswith("cpu")


def test_requests_come_first_and_stop_it(store, server, calls, clock):
    measure_night(store, server)
    waiting = ask(store)
    server.bisect_if_idle()
    assert calls == []
    requests.cancel(store, waiting, user="ann")
    server.bisect_if_idle()
    ((_, must_stop),) = calls
    assert not must_stop()
    ask(store)
    assert must_stop()


def test_the_next_night_stops_it(store, server, calls, clock):
    measure_night(store, server)
    server.bisect_if_idle()
    ((_, must_stop),) = calls
    assert not must_stop()
    clock.now = NOON + timedelta(days=1)
    assert must_stop()


def test_an_ad_hoc_run_starts_none(store, server, calls):
    ask(store)
    assert run_next(server)
    server.bisect_if_idle()
    assert calls == []
