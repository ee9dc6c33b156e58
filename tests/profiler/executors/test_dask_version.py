"""Workers of another version on a real scheduler: refused in one sentence, before any class is pickled."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from distributed import Client, Scheduler, Worker

from kswatch.errors import MeasurementError
from kswatch.profiler.executors import dask_tasks
from kswatch.profiler.executors.dask_cluster import DaskCluster
from kswatch.profiler.executors.dask_version import (
    KEY,
    filter_version_refusal,
    kswatch_device,
    own_version,
    version_refusal,
)

OWN = own_version()
OTHERS = {
    "GPU-before": None,
    "GPU-release": OWN | {"release": "99.0"},
    "GPU-commit": OWN | {"commit": "0123456789abcdef"},
}


class Loopback:
    """A scheduler and workers in a thread of this process."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.scheduler = self.run(self._start_scheduler())
        self.workers: list[Worker] = []

    async def _start_scheduler(self) -> Scheduler:
        return await Scheduler(host="127.0.0.1", port=0, dashboard=False)

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def add(self, uuid: str, version: dict[str, str] | None, name: str | None = None) -> None:
        """A stand-in for a `kswatch worker`; one of old did not hand its version to the scheduler."""
        information: dict[str, Callable] = {} if version is None else {KEY: lambda worker: version}

        async def start() -> Worker:
            return await Worker(
                self.scheduler.address,
                name=name or f"host {uuid} 1",
                nthreads=1,
                resources={uuid: 1},
                memory_limit=0,
                dashboard=False,
                startup_information=information,
            )

        self.workers.append(self.run(start()))

    def close(self) -> None:
        for worker in self.workers:
            self.run(worker.close())
        self.run(self.scheduler.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture(scope="module")
def loopback() -> Iterator[Loopback]:
    made = Loopback()
    for uuid, version in OTHERS.items():
        made.add(uuid, version)
    yield made
    made.close()


@pytest.fixture
def cluster(loopback) -> Iterator[DaskCluster]:
    made = DaskCluster(loopback.scheduler.address, absent_s=1.0)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("uuid", "reason"),
    [
        ("GPU-before", f"runs a kswatch older than this coordinator's {OWN['release']}: bring both"),
        ("GPU-release", f"runs kswatch 99.0, this coordinator {OWN['release']}: bring both"),
        ("GPU-commit", "runs commit 0123456789, this coordinator"),
    ],
)
def test_a_worker_of_another_version_is_refused_in_one_sentence(cluster, uuid, reason):
    with pytest.raises(MeasurementError) as refused:
        cluster.find(uuid)
    assert reason in str(refused.value) and "\n" not in str(refused.value)


def test_nothing_is_sent_to_a_refused_worker(loopback, cluster):
    cluster.call("GPU-before", dask_tasks.release, "a run")
    cluster.refresh()
    calls = [worker.state.executed_count for worker in loopback.workers]
    assert calls == [0, 0, 0] and not any(cluster.has_worker(uuid) for uuid in OTHERS)
    assert {target.record.uuid for target in cluster.targets()} == set(OTHERS), "a night reports them"
    assert cluster.heartbeats({}) == []


def test_the_refusal_is_logged_once(loopback, caplog):
    cluster = DaskCluster(loopback.scheduler.address, absent_s=1.0)
    for _ in range(3):
        cluster.refresh()
    cluster.close()
    messages = [record.getMessage() for record in caplog.records if "GPU-release" in record.getMessage()]
    assert len(messages) == 1


def test_a_worker_of_this_version_is_used_and_one_of_another_program_is_ignored(loopback):
    dask_tasks.bind_device("sim:h200")
    loopback.add("sim-h200", OWN)
    loopback.add("memory", None, name="another program")
    cluster = DaskCluster(loopback.scheduler.address, absent_s=1.0)
    deadline = time.monotonic() + 20
    while not cluster.has_worker("sim-h200"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert cluster.find("sim:h200").record.simulated
    assert "memory" not in {target.record.uuid for target in cluster.targets()}
    cluster.close()


def test_a_coordinator_from_before_the_package_does_not_disturb_a_worker(loopback):
    former = b"\x80\x04cformer_profiler.dask_tasks\nabout\n."  # a function of a module that is not here

    with Client(loopback.scheduler.address, set_as_default=False) as client:
        address = loopback.workers[0].address
        answer = client.sync(
            client.scheduler.broadcast,
            msg={"op": "run", "function": former, "args": (), "kwargs": {}},
            workers=[address],
            on_error="ignore",
        )
        assert answer.get(address, {}).get("status") != "OK"
        assert client.run(int, workers=[address]) == {address: 0}


@pytest.mark.parametrize(
    ("error", "is_short"),
    [
        (ModuleNotFoundError("No module named 'profiler'", name="profiler"), True),
        (ModuleNotFoundError("No module named 'kswatch.later'", name="kswatch.later"), True),
        (ModuleNotFoundError("No module named 'numpy'", name="numpy"), False),
        (ValueError("a defect"), False),
    ],
)
def test_a_call_of_another_version_is_logged_in_one_sentence(error, is_short):
    record = logging.LogRecord("distributed.core", 40, "", 0, "Exception", (), (type(error), error, None))
    assert filter_version_refusal(record)
    assert (record.exc_info is None) is is_short
    assert ("bring both to the same version" in record.getMessage()) is is_short


def test_a_worker_of_another_program_has_no_device_of_this_project():
    assert kswatch_device({"name": "a", "resources": {}}) is None
    assert kswatch_device({"name": "a", "resources": {"GPU": 1}}) is None
    assert kswatch_device({"name": "host GPU-1 7", "resources": {"GPU-1": 1}}) == "GPU-1"
    assert kswatch_device({"name": "a", "resources": {"GPU-1": 1}, KEY: OWN}) == "GPU-1"


def test_the_same_version_is_not_refused():
    assert version_refusal("GPU-1", {KEY: OWN}, OWN) is None
