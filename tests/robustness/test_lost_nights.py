"""Sequences by which a night could be lost or measured twice: kills of kills, races, sleeps, budgets."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import update

from kswatch.db.coordination import leases
from kswatch.db.coordination import schedule as schedule_marks
from kswatch.db.coordination.workers import Heartbeat, record_heartbeat
from kswatch.db.queries import basic as queries
from kswatch.db.schema.tables import Lease, Request
from kswatch.db.store import Store
from kswatch.errors import MeasurementError
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.service.night_requests import NIGHTLY
from kswatch.profiler.service.nightly import run_night
from tests.robustness.kill_points import contents, differences, is_killed, snapshots, started_child
from tests.robustness.planted_night import DEVICE, SUITE, TARGET, PlantedEngine, PlantedHost
from tests.robustness.test_kill_points import LATER, nightly_later, serve_later


def in_children(*lives: Callable[[], object]) -> list[int]:
    """Exit codes of these lives, each in a process of its own at the same time; 1 for an exception."""
    children = [started_child(live) for live in lives]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def nightly_runs(url: str) -> list[str]:
    """The states of the runs of the night after the quiet ones."""
    with closing(Store.open(url)) as store:
        return [run.state for run in queries.runs(store, limit=None) if run.suite == SUITE.name]


SLOW = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("life", "every"),
    [
        (PlantedHost.nightly, 20),
        pytest.param(PlantedHost.nightly, 3, marks=SLOW),
        pytest.param(PlantedHost.serve, 3, marks=SLOW),
    ],
)
def test_a_start_that_is_killed_while_it_continues_a_killed_one_loses_nothing(planted, tmp_path, life, every):
    path = tmp_path / "kswatch.db"
    afterwards = serve_later if life is PlantedHost.serve else nightly_later
    (tmp_path / "first").mkdir()
    *first, whole = snapshots(lambda: life(planted), path, tmp_path / "first")
    with closing(Store.open(f"sqlite:///{whole}")) as store:
        expected = contents(store)
    for place in range(5, len(first), every):
        second = tmp_path / f"second_{place}"
        second.mkdir()
        again = replace(planted, url=f"sqlite:///{first[place]}")
        *left, _ = snapshots(lambda again=again: afterwards(again), first[place], second)
        for file in left[3::every]:
            host = replace(planted, url=f"sqlite:///{file}")
            host.serve(2 * LATER) if life is PlantedHost.serve else host.nightly(2 * LATER)
            with closing(Store.open(host.url)) as store:
                assert not (found := differences(store, expected)), "\n".join(
                    [f"{place} {file.name}", *found]
                )


def test_a_night_whose_budget_was_spent_when_it_was_killed_measures_no_more(planted, tmp_path):
    path = tmp_path / "kswatch.db"
    host = replace(planted, lasting_by_its_clock_s=120.0, budget="100s")
    (tmp_path / "kept").mkdir()
    *left, whole = snapshots(host.nightly, path, tmp_path / "kept")
    with closing(Store.open(f"sqlite:///{whole}")) as store:
        expected = contents(store)
        [run] = [run for run in queries.runs(store) if run.suite == SUITE.name]
        assert run.by_status == {"ok": 3, "skipped": 3}
    recorded = [file for file in left if has_measured(file)]
    for file in recorded[:: max(1, len(recorded) // 4)]:
        killed = replace(host, url=f"sqlite:///{file}")
        killed.nightly(LATER)
        with closing(Store.open(killed.url)) as store:
            assert not (found := differences(store, expected)), "\n".join([file.name, *found])


def has_measured(file: Path) -> bool:
    with closing(Store.open(f"sqlite:///{file}")) as store:
        return any(
            run.suite == SUITE.name and queries.measurements(store, run.id) for run in queries.runs(store)
        )


def test_the_time_of_a_killed_run_is_part_of_the_time_of_its_run(planted):
    host = replace(planted, lasting_by_its_clock_s=120.0)
    assert is_killed(host.serve, 12, "after")
    host.serve(LATER)
    with closing(Store.open(host.url)) as store:
        [run] = [run for run in queries.runs(store) if run.suite == SUITE.name]
        assert run.seconds == pytest.approx(240, abs=20)


def test_two_starts_of_nightly_at_once_measure_the_night_once(planted, url):
    host = replace(planted, url=url, lasting_s=2.0)
    host.fill()
    assert in_children(host.nightly, host.nightly) == [0, 0]
    assert nightly_runs(url) == ["finished"]


def test_a_server_and_nightly_at_once_lose_no_request(planted, url):
    host = replace(planted, url=url, lasting_s=0.3)
    host.fill()
    assert in_children(host.nightly, host.serve) == [0, 0]
    host.serve(LATER)
    with closing(Store.open(url)) as store:
        asked = queries.requests(store)
        assert {request.state for request in asked} == {"done"}
        assert len({request.run_id for request in asked}) == len(asked)
    assert set(nightly_runs(url)) == {"finished"}


def test_the_night_of_a_server_that_slept_while_another_run_took_its_device_is_queued_again(planted):
    taken = []

    def sleep(problem: object) -> None:
        """The lease ran out, a command by hand took the device and has ended."""
        if not taken:
            with closing(Store.open(planted.url)) as store:
                with store.writing() as session:
                    session.execute(update(Lease).values(expires_at=Lease.heartbeat_at))
                taken.append(leases.acquire(store, DEVICE.uuid, "a command by hand"))
                leases.release(store, taken[0])

    planted.measured = sleep
    with closing(Store.open(planted.url)) as store:
        server = planted.server(store)
        server.request_due_nightly()
        server.start_next()
        server.finish_runs(None)
        [request] = queries.requests(store)
        assert request.state == "queued", request.message
    planted.serve(LATER)
    assert nightly_runs(planted.url) == ["finished"]


def test_a_night_that_is_unfinished_for_long_gives_way_to_a_new_one(planted):
    assert is_killed(planted.nightly, 12, "after")
    with closing(Store.open(planted.url)) as store, store.writing() as session:
        session.execute(update(Request).values(asked_at=datetime.now(UTC) - timedelta(hours=20)))
    planted.nightly(LATER)
    assert sorted(nightly_runs(planted.url)) == ["finished", "interrupted"]
    with closing(Store.open(planted.url)) as store:
        assert [request.state for request in queries.requests(store) if request.kind == NIGHTLY] == [
            "done",
            "cancelled",
        ]


def test_a_cluster_without_workers_at_its_due_time_has_its_night_when_they_return(planted):
    there = []
    context = planted.context(remote=True, engine="dask", list_devices=lambda: tuple(there))
    config = replace(context.config, devices=())
    with closing(Store.open(planted.url)) as store:
        server = planted.server(store, context=replace(context, config=config))
        server.request_due_nightly()
        assert queries.requests(store) == []
        there.append(TARGET)
        server.request_due_nightly()
        assert [request.device for request in queries.requests(store)] == [DEVICE.uuid]


def test_a_worker_that_is_away_at_the_due_time_has_its_night_queued(planted):
    context = planted.context(remote=True, engine="dask", list_devices=lambda: (TARGET,))
    config = replace(context.config, devices=())
    with closing(Store.open(planted.url)) as store:
        record_heartbeat(store, Heartbeat("elsewhere", "worker", "dask", "elsewhere", "cpu-elsewhere"))
        planted.server(store, context=replace(context, config=config)).request_due_nightly()
        asked = {request.device: request.suite for request in queries.requests(store)}
        assert asked == {DEVICE.uuid: SUITE.name, "cpu-elsewhere": SUITE.name}


def test_a_night_is_not_asked_for_again_after_the_schedule_moved_to_an_hour_that_has_passed(planted):
    with closing(Store.open(planted.url)) as store:
        planted.server(store).request_due_nightly()
        earlier = replace(planted, due=planted.due - timedelta(hours=1))
        earlier.server(store).request_due_nightly()
        assert len(queries.requests(store)) == 1
        assert schedule_marks.last_due(store, NIGHTLY) == planted.due.replace(second=0, microsecond=0)


def test_a_defect_in_the_run_of_one_device_leaves_the_nights_of_the_others(planted):
    targets = {name: Target(replace(DEVICE, uuid=name, simulated=True), "cpu") for name in ("sim-a", "sim-b")}

    def make_engine(target: Target, watchdog_s: float, stop: Event) -> PlantedEngine:
        host = replace(planted, lasting_s=0.2, measured=fail if target.record.uuid == "sim-a" else print)
        return PlantedEngine(host, target.record, stop)

    def fail(problem: object) -> None:
        raise ZeroDivisionError(f"a defect at {problem}")

    context = planted.context(make_engine=make_engine, find_device=targets.__getitem__)
    with closing(Store.open(planted.url)) as store:
        nights = []
        with pytest.raises(ZeroDivisionError):
            for night in run_night(store, list(targets), SUITE.name, None, print, context):
                nights.append(night)
        assert [(night.device, night.run.state) for night in nights] == [("sim-b", "finished")]
        states = {request.device: request.state for request in queries.requests(store)}
        assert states == {"sim-a": "failed", "sim-b": "done"}


def test_hosts_of_one_store_take_up_their_own_nights_though_they_name_their_devices_alike(planted):
    elsewhere = Target(replace(DEVICE, uuid="cpu-elsewhere"), "cpu")

    def nightly(own: Target) -> list[str | None]:
        def find(spec: str) -> Target:
            if spec in ("cpu", own.record.uuid):
                return own
            raise MeasurementError(f"no device {spec}")

        with closing(Store.open(planted.url)) as store:
            context, later = planted.context(find_device=find), datetime.now(UTC) + LATER
            nights = run_night(store, ["cpu"], SUITE.name, None, print, context, lambda: later)
            return [night.error for night in nights]

    assert is_killed(lambda: nightly(TARGET), 12, "after")
    assert nightly(elsewhere) == [None]
    assert sorted(nightly_runs(planted.url)) == ["finished", "running"]
    assert nightly(TARGET) == [None]
    assert nightly_runs(planted.url) == ["finished", "finished"]
