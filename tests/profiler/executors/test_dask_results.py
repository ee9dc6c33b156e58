"""Results of tasks whose fetch is cancelled, as where the worker dies meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster

from kswatch.db.records import DeviceRecord
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.executors.dask_cluster import DaskCluster, DaskEngine

DEVICE = Target(DeviceRecord("GPU-made-up", "cuda", "Made-up GPU"), "cuda:0")


@pytest.fixture
def cluster() -> Iterator[DaskCluster]:
    """A cluster with one worker, in threads of this process."""
    settings = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "resources": {DEVICE.record.uuid: 1}}
    with LocalCluster(1, threads_per_worker=1, processes=False, protocol="tcp", **settings) as local:
        opened = DaskCluster(local.scheduler_address, absent_s=5.0)
        yield opened
        opened.close()


@pytest.fixture
def engine(cluster: DaskCluster) -> DaskEngine:
    return cluster.engine(DEVICE, 60.0, threading.Event())


def interrupted() -> None:
    raise UnboundLocalError("planted")


def test_a_result_whose_fetch_is_cancelled_is_fetched_again(
    cluster: DaskCluster, engine: DaskEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(*arguments: object, **options: object) -> None:
        raise asyncio.CancelledError

    future = cluster.submit(DEVICE.record.uuid, int, "5")
    with monkeypatch.context() as planted:
        planted.setattr(Client, "_gather", cancelled)
        assert engine._result(future) is None
    assert engine._result(future) == 5


def test_an_error_of_the_task_itself_is_raised(cluster: DaskCluster, engine: DaskEngine) -> None:
    future = cluster.submit(DEVICE.record.uuid, interrupted)
    with pytest.raises(UnboundLocalError, match="planted"):
        while engine._result(future) is None:
            pass
