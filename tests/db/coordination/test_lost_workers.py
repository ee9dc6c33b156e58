"""Runs that wait for a worker: lost until they go on, end, or their device begins a later run."""

from kswatch.db.coordination import run_events
from kswatch.db.queries import basic as queries
from tests.db.sample_records import run_record


def lost(store):
    return [(one.run_id, one.text) for one in run_events.lost_runs(store)]


def test_a_run_with_a_lost_worker_is_lost_until_it_continues(store):
    run_id = store.begin_run(run_record())
    run_events.mark_worker_back(store, run_id)
    assert not queries.run_events(store, run_id), "nothing was lost"
    run_events.mark_worker_lost(store, run_id, "gone for 600 s")
    store.finish_run(run_id, "interrupted")
    assert lost(store) == [(run_id, "gone for 600 s")]
    run_events.mark_worker_back(store, run_id)
    assert lost(store) == []
    run_events.mark_worker_lost(store, run_id, "gone again")
    assert lost(store) == [(run_id, "gone again")]
    actions = [event.action for event in queries.run_events(store, run_id)]
    assert actions == ["worker_lost", "worker_back", "worker_lost"]


def test_a_lost_run_ends_when_it_finishes_or_its_device_begins_another(store):
    finished, passed = store.begin_run(run_record()), store.begin_run(run_record())
    for run_id in (finished, passed):
        run_events.mark_worker_lost(store, run_id, "gone")
    assert lost(store) == [(passed, "gone")]
    newest = store.begin_run(run_record())
    assert lost(store) == []
    run_events.mark_worker_lost(store, newest, "gone")
    store.finish_run(newest, "finished")
    assert lost(store) == []
