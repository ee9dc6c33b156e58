from __future__ import annotations

from dataclasses import replace

import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.queries.cells import samples_of_run
from kswatch.db.records import (
    CanaryRecord,
    EnvironmentRecord,
    PredictionRecord,
    RevisionRecord,
    VerdictRecord,
)
from kswatch.errors import UsageError
from tests.db.sample_records import CPU, GPU, measured, night, problem, run_record


def cells_of(store, run_id):
    return {row.implementation: row.latency_ms for row in queries.measurements(store, run_id)}


def test_the_stored_plan_of_a_run_equals_its_record(store):
    record = run_record(budget_s=12.5)
    assert store.run_plan(store.begin_run(record)) == record


def test_a_run_outside_of_a_checkout_has_no_revision(store):
    assert store.run_plan(store.begin_run(run_record(revision=None))).revision is None


def test_equal_environments_revisions_and_devices_are_one_row(store):
    night(store, {"fused": 1.0, "bmm": 2.0})
    night(store, {"fused": 1.0, "bmm": 2.0})
    night(store, {"fused": 1.0}, environment=EnvironmentRecord(host="made-up", torch="2.14.0"))
    night(store, {"fused": 1.0}, revision=RevisionRecord("abc123", dirty=True))
    runs = queries.runs(store)[::-1]
    first, second, other, dirty = (run.environment_id for run in runs)
    assert first == second == dirty != other
    assert [run.revision.dirty for run in runs] == [False, False, False, True]
    assert len(queries.devices(store)) == 1


def test_a_newer_device_record_replaces_the_older_one(store):
    store.begin_run(run_record())
    store.begin_run(run_record(device=replace(CPU, model="Made-up CPU v2", facts={"sockets": 2})))
    assert [(device.model, device.facts) for device in queries.devices(store)] == [
        ("Made-up CPU v2", {"sockets": 2})
    ]


def test_every_field_of_a_measurement_is_stored_and_read(store):
    run_id = store.begin_run(run_record())
    record = measured(
        problem(),
        "fused",
        1.25,
        reason="as planned",
        sample_count=30,
        energy_mj=3.5,
        bytes_moved=2**40,
        flags=("bimodal", "power_capped"),
        samples_ms=(1.25, 1.5),
    )
    store.record_problem(run_id, [record])
    (row,) = queries.measurements(store, run_id)
    assert (row.latency_ms, row.reason, row.bytes_moved, row.energy_mj) == (1.25, "as planned", 2**40, 3.5)
    assert row.flags == "bimodal,power_capped"
    assert list(samples_of_run(store, run_id, [row.cell_id])[row.cell_id, "cold"]) == [1.25, 1.5]


def test_recording_a_problem_again_changes_nothing(store):
    run_id = store.begin_run(run_record())
    records = [measured(problem(), "fused", 1.0, samples_ms=(1.0,)), measured(problem(), "bmm", 2.0)]
    for _ in range(2):
        store.record_problem(run_id, records)
    assert cells_of(store, run_id) == {"fused": 1.0, "bmm": 2.0}
    assert len(queries.comparisons(store, run_id)) == 1


def test_a_later_measurement_of_a_cell_replaces_the_former(store):
    run_id = store.begin_run(run_record())
    store.record_problem(run_id, [measured(problem(), "fused", status="skipped", reason="budget")])
    store.record_problem(run_id, [measured(problem(), "fused", 1.0), measured(problem(), "bmm", 3.0)])
    assert cells_of(store, run_id) == {"fused": 1.0, "bmm": 3.0}
    assert queries.comparisons(store, run_id)[0].speedup == 3.0


def test_unknown_fields_of_a_later_measurement_become_unknown(store):
    run_id = store.begin_run(run_record())
    store.record_problem(run_id, [measured(problem(), "fused", 1.0, energy_mj=3.0, tile="t", flags=("hot",))])
    store.record_problem(run_id, [measured(problem(), "fused", 2.0)])
    (row,) = queries.measurements(store, run_id)
    assert (row.latency_ms, row.energy_mj, row.tile, row.flags) == (2.0, None, None, None)


def test_a_crash_message_is_stored_whatever_bytes_it_contains(store):
    run_id = store.begin_run(run_record())
    reason = "died\0 of \udcff" + "x" * 3000
    store.record_problem(run_id, [measured(problem(), "fused", status="crashed", reason=reason)])
    assert queries.measurements(store, run_id)[0].reason.startswith("died of ?xxx")


def test_a_run_counts_its_cells_by_status_even_before_it_ends(store):
    run_id = store.begin_run(run_record())
    store.record_problem(run_id, [measured(problem(), "fused", 1.0)])
    store.record_problem(run_id, [measured(problem(2), "fused", status="crashed")])
    assert queries.run(store, run_id).by_status == {"crashed": 1, "ok": 1}
    store.finish_run(run_id, "finished", 9.0, 1.0)
    ended = queries.run(store, run_id)
    assert (ended.by_status, ended.state, ended.seconds) == ({"crashed": 1, "ok": 1}, "finished", 9.0)


def test_a_resumed_run_repeats_only_missing_and_skipped_cells(store):
    run_id = store.begin_run(run_record())
    store.record_problem(
        run_id,
        [
            measured(problem(), "fused", 1.0),
            measured(problem(), "bmm", status="crashed"),
            measured(problem(), "dense", status="skipped"),
        ],
    )
    assert store.done_cells(run_id) == {(problem(), "fused"), (problem(), "bmm")}


def test_the_newest_unfinished_run_is_resumed(store):
    first = store.begin_run(run_record())
    second = store.begin_run(run_record(device=GPU))
    assert store.resumable_run() == second
    assert store.resumable_run(CPU.uuid) == first
    store.finish_run(second, "interrupted")
    assert store.resumable_run(GPU.uuid) == second
    store.reopen_run(second)
    assert queries.run(store, second).state == "running"
    store.finish_run(second, "finished")
    assert store.resumable_run(GPU.uuid) is None


def test_canaries_predictions_and_verdicts_are_replaced_when_recorded_again(store):
    run_id = night(store, {"fused": 1.0, "bmm": 2.0})
    for latency_ms, wins, verdict in ((1.0, False, "same"), (2.0, True, "slower")):
        store.record_canaries(run_id, [CanaryRecord("start", "copy", "fp32", latency_ms, 1e9)])
        store.record_predictions(run_id, [PredictionRecord(problem(), "always", 1, wins)])
        store.record_verdicts(
            run_id, [VerdictRecord(problem(), "fused", "latency_ms", verdict=verdict, value=1.0)]
        )
    assert [canary.latency_ms for canary in queries.canaries(store, run_id)] == [2.0]
    assert [row.predicts_fused for row in queries.prediction_outcomes(store, run_id)] == [True]
    assert [judged.verdict for judged in queries.verdicts(store)] == ["slower"]


def test_a_missing_run_is_named_in_the_error(store):
    with pytest.raises(UsageError, match="there is no run 99"):
        store.run_plan(99)


def test_ids_of_a_failed_transaction_are_dropped(store):
    run_id = store.begin_run(run_record())
    with pytest.raises(ZeroDivisionError), store.writing() as session:
        store.identifiers.cell_ids(session.connection(), [(problem(), "fused")])
        raise ZeroDivisionError
    store.record_problem(run_id, [measured(problem(), "fused", 1.0)])
    assert cells_of(store, run_id) == {"fused": 1.0}
