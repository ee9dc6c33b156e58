"""Requests in every state, and the workers that do them, for pages."""

from __future__ import annotations

from kswatch.db.coordination import workers
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from tests.dashboard.simulated_store import NASTY


def fill_queue(store: Store) -> None:
    """One request in progress, one queued, one cancelled."""
    for suite, device in (("vit_s16", "cuda:0"), ("smoke", "cpu"), ("paper", "cuda:1")):
        requests.submit(store, suite, device, asked_by="a user", why=f"to see whether it helps {NASTY}")
    taken = requests.take(store, requests.queued(store)[0].id)
    assert taken is not None
    requests.record_progress(store, taken.id, 120, 384, 540.0, "measuring 6,64,64,1 fp32 batch_first")
    requests.cancel(store, taken.id + 2, "a user", "asked twice")
    workers.record_heartbeat(
        store,
        workers.Heartbeat("simulated-host:1", "coordinator", "dask", f"simulated-host {NASTY}"),
        workers.Heartbeat("simulated-host:2", "worker", "dask", "simulated-host", "sim-h200-0000"),
    )
    workers.mark_stopped(store, "simulated-host:2")
