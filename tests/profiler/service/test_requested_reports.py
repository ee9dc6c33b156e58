"""Reports of ncu that a request asks for: kept after its run, or one sentence with the request."""

from __future__ import annotations

import pytest

from kswatch.db.artifacts.stored import NCU_REPORT, add_artifact, artifacts
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.errors import MeasurementError
from kswatch.profiler.runs import ncu_reports
from kswatch.profiler.service import requested_reports
from kswatch.profiler.service.server import Server
from tests.profiler.conftest import run_next

FILTERS = {"pattern": ["2,8,8,2"], "batch": [16], "implementation": ["fused", "bmm"]}


@pytest.fixture
def measured(store, scripted):
    """Runs a request with these arguments and returns it as it ended."""

    def run(remote=False, **arguments):
        number = requests.submit(store, "ad_hoc", "cpu", asked_by="ann", arguments=FILTERS | arguments)
        run_next(Server(store, scripted.context(remote=remote), lambda run_id: None))
        return queries.request(store, number)

    return run


@pytest.fixture
def reports(monkeypatch):
    """Keeps one report of each run in ncu's place, and lists the runs."""
    kept = []

    def keep(store, run_id, note, ncu=None, may_continue=lambda: True):
        if not may_continue():
            note("no time was left")
            return 0
        kept.append(run_id)
        add_artifact(store, run_id, "ncu", "report.ncu-rep", b"1")
        return 1

    monkeypatch.setattr(requested_reports, "keep_reports", keep)
    return kept


def test_a_request_keeps_the_reports_of_its_run(store, measured, reports):
    request = measured(**{NCU_REPORT: True})
    assert (request.state, reports) == ("done", [request.run_id])
    assert request.message.endswith("; 1 reports of ncu are kept")
    assert NCU_REPORT not in queries.run(store, request.run_id).arguments, "no run is planned by it"


def test_a_request_that_asks_for_none_keeps_none(store, measured, reports):
    assert measured().message.endswith("ok") and reports == []


def test_without_ncu_the_run_is_done_and_the_reason_is_with_the_request(store, measured, monkeypatch):
    monkeypatch.setattr(ncu_reports, "find_tool", lambda name: None)
    request = measured(**{NCU_REPORT: True})
    assert request.state == "done" and "ncu was not found" in request.message
    assert artifacts(store) == []


def test_a_device_of_another_host_has_none(store, measured, reports):
    request = measured(remote=True, **{NCU_REPORT: True})
    assert request.state == "done" and "of its own host" in request.message and reports == []


def test_the_time_limit_of_the_request_ends_them(measured, reports, monkeypatch):
    monkeypatch.setattr(requested_reports, "parse_seconds", lambda text: 0.0)
    request = measured(budget="9m", **{NCU_REPORT: True})
    assert request.message.endswith("0 reports of ncu are kept; no time was left") and reports == []


def test_a_busy_device_fails_no_run(measured, monkeypatch):
    def busy(*_, **__):
        raise MeasurementError("the device is in use")

    monkeypatch.setattr(requested_reports, "keep_reports", busy)
    request = measured(**{NCU_REPORT: True})
    assert request.state == "done" and request.message.endswith("; the device is in use")
