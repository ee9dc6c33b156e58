"""A night on a Dask cluster whose parts are killed: a real scheduler, three workers, simulated devices.

No measurement is lost, none is there twice, and who lost its lease writes nothing more.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kswatch.db.coordination import leases
from kswatch.db.coordination.run_log import run_log
from kswatch.db.coordination.workers import WorkerRow
from kswatch.db.queries import basic as queries
from kswatch.profiler.executors.dask_tasks import ANSWER_S
from tests.db.conftest import *  # noqa: F403  (both databases)
from tests.profiler.executors.dask_night import DEVICES, KSWATCH, PATTERNS, Night, the_dask_worker, wait_until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def night(tmp_path: Path, url: str) -> Iterator[Night]:
    made = Night(tmp_path, url)
    yield made
    made.close()


def sign_of(one: WorkerRow) -> tuple[str, str, str | None]:
    return (one.role, one.engine, one.device_uuid)


@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
def test_a_run_on_a_cluster_is_complete_and_names_its_workers(night):
    night.worker(DEVICES[0])
    asked = night.ask(DEVICES[0], PATTERNS[:1])
    night.coordinator()
    night.wait_for_end(asked)
    night.assert_whole(asked)
    everyone = {("coordinator", "dask", None), ("worker", "dask", "sim-h200")}
    wait_until(lambda: {sign_of(one) for one in queries.workers(night.store)} == everyone)
    [run] = queries.runs(night.store)
    assert run.origin == "simulated"
    assert "finished" in run_log(night.store, run.id)[-1].text


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_one_night_of_all_devices_of_a_cluster(night):
    for device in DEVICES[:2]:
        night.worker(device)
    scheduler = ("--engine", "dask", "--scheduler", night.scheduler)
    command = ("nightly", *scheduler, "--suite", "small_batch", "--budget", "5s", "--json")

    def both_were_measured():
        night.start(str(KSWATCH), *command).wait()
        return {run.device_uuid for run in queries.runs(night.store)} == {"sim-h200", "sim-h200-2"}

    wait_until(both_were_measured)  # a night begins with the workers that are there
    for run in queries.runs(night.store):
        assert (run.kind, run.state, run.origin) == ("nightly", "finished", "simulated")
        cells = night.cells(run.id)
        assert len(cells) == len(set(cells)) == run.planned_cells, "what the budget left out is there too"


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_its_run_continues_when_it_returns(night):
    workers = [night.worker(device) for device in DEVICES]
    asked = [night.ask(device) for device in DEVICES]
    night.coordinator()
    night.wait_for_cells(1, 4)
    the_dask_worker(workers[0]).kill()  # `kswatch worker` starts another
    night.wait_for_end(*asked)
    night.assert_whole(*asked)


@pytest.mark.slow
def test_a_lost_worker_is_reported_and_its_run_is_resumed_when_it_returns(night):
    worker = night.worker(DEVICES[0])
    asked = night.ask(DEVICES[0])
    night.coordinator()
    night.wait_for_cells(1, 4)
    worker.kill()  # and what it started ends with it
    wait_until(lambda: queries.run(night.store, 1).state == "interrupted")
    wait_until(lambda: queries.request(night.store, asked).state == "queued")
    [event] = queries.run_events(night.store, 1)
    assert "worker of device sim-h200 was gone for 4 s" in event.text
    assert "waits for its device" in queries.request(night.store, asked).message
    night.worker(DEVICES[0])
    night.wait_for_end(asked)
    night.assert_whole(asked)


@pytest.mark.slow
def test_the_runs_of_a_coordinator_that_is_killed_are_resumed_by_the_next_one(night):
    for device in DEVICES:
        night.worker(device)
    asked = [night.ask(device) for device in DEVICES]
    first = night.coordinator()
    night.wait_for_cells(1, 4)
    first.kill()
    first.wait()
    night.coordinator()
    night.wait_for_end(*asked)
    night.assert_whole(*asked)


@pytest.mark.slow
def test_a_coordinator_cut_off_for_longer_than_its_lease_writes_nothing_more(night):
    night.worker(DEVICES[0])
    asked = night.ask(DEVICES[0], PATTERNS + ("1,192,48,2", "2,48,192,1"))
    first = night.coordinator()
    night.wait_for_cells(1, 4)
    night.cut_off(first)
    stale = leases.holder_of(night.store, "sim-h200")
    second = night.coordinator()
    wait_until(lambda: leases.holder_of(night.store, "sim-h200") not in (None, stale))
    before = len(night.cells(1))
    first.send_signal(signal.SIGCONT)  # it has a problem in hand that it would record now
    night.wait_for_end(asked)
    night.assert_whole(asked)
    assert len(night.cells(1)) > before
    wait_until(lambda: b"was lost" in (night.folder / "said.txt").read_bytes())
    assert second.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_scheduler_that_is_away_until_its_clients_give_up_loses_no_run(night):
    night.worker(DEVICES[0])
    asked = night.ask(DEVICES[0])
    server = night.coordinator()
    night.wait_for_cells(1, 4)
    night.scheduler_process.kill()
    night.scheduler_process.wait()
    time.sleep(ANSWER_S + 5)  # a client closes itself after that
    night.start_scheduler(night.scheduler.rpartition(":")[2])
    night.wait_for_end(asked)
    night.assert_whole(asked)
    server.send_signal(signal.SIGTERM)
    assert server.wait(60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_night_whose_scheduler_never_returns_ends_resumable(night):
    night.worker(DEVICES[0])
    wait_until(lambda: b"serves" in (night.folder / "said.txt").read_bytes())
    scheduler = ("--engine", "dask", "--scheduler", night.scheduler)
    command = night.start(str(KSWATCH), "nightly", *scheduler, "--suite", "small_batch")
    night.wait_for_cells(1, 4)
    night.scheduler_process.kill()
    assert command.wait(120) == 3
    assert queries.run(night.store, 1).state == "interrupted"
    assert night.store.resumable_run() == 1
