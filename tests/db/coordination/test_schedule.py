"""A due time is marked once, by whichever process comes first, also on a new store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Barrier

from kswatch.db.coordination import schedule
from kswatch.db.store import Store

DUE = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def mark(store: Store, due: datetime) -> bool:
    with store.writing() as session:
        return schedule.mark_due(session, "nightly", due)


def test_an_earlier_time_than_the_marked_one_is_not_due(store: Store) -> None:
    assert schedule.last_due(store, "nightly") is None
    marks = [mark(store, DUE), mark(store, DUE), mark(store, DUE - timedelta(days=1))]
    assert marks == [True, False, False] and schedule.last_due(store, "nightly") == DUE
    assert mark(store, DUE + timedelta(days=1))


def test_processes_that_start_at_once_on_a_new_store_mark_a_time_once(url: str, backend: str) -> None:
    count = 4
    for night in range(5):
        barrier = Barrier(count)

        def mark_together(name: str, barrier: Barrier = barrier) -> bool:
            with closing(Store.open(url)) as own, own.writing() as session:
                if backend == "postgresql":  # SQLite lets in one writer at a time
                    barrier.wait(timeout=30)
                return schedule.mark_due(session, name, DUE)

        with ThreadPoolExecutor(count) as threads:
            assert sum(threads.map(mark_together, [f"nightly {night}"] * count)) == 1
