"""Runs that wait for a worker: lost until they go on, end, or their device begins a later run."""

from kswatch.db.coordination import lost_workers
from kswatch.db.queries import basic as queries
from tests.db.sample_records import run_record


def lost(store):
    return [(one.run_id, one.text) for one in lost_workers.lost_runs(store)]


def test_a_run_with_a_lost_worker_is_lost_until_it_continues(store):
    run_id = store.begin_run(run_record())
    lost_workers.mark_worker_back(store, run_id)
    assert not queries.run_events(store, run_id), "nothing was lost"
    lost_workers.mark_worker_lost(store, run_id, "gone for 600 s")
    store.finish_run(run_id, "interrupted")
    assert lost(store) == [(run_id, "gone for 600 s")]
    lost_workers.mark_worker_back(store, run_id)
    assert lost(store) == []
    lost_workers.mark_worker_lost(store, run_id, "gone again")
    assert lost(store) == [(run_id, "gone again")]
    actions = [event.action for event in queries.run_events(store, run_id)]
    assert actions == ["worker_lost", "worker_back", "worker_lost"]


def test_a_lost_run_ends_when_it_finishes_or_its_device_begins_another(store):
    finished, passed = store.begin_run(run_record()), store.begin_run(run_record())
    for run_id in (finished, passed):
        lost_workers.mark_worker_lost(store, run_id, "gone")
    assert lost(store) == [(passed, "gone")]
    newest = store.begin_run(run_record())
    assert lost(store) == []
    lost_workers.mark_worker_lost(store, newest, "gone")
    store.finish_run(newest, "finished")
    assert lost(store) == []
