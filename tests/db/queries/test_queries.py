from __future__ import annotations

from dataclasses import fields, replace

import pytest

from kswatch.db.coordination.run_events import add_run_event
from kswatch.db.queries import basic as queries
from kswatch.db.records import (
    CanaryRecord,
    EnvironmentRecord,
    MeasurementRecord,
    PredictionRecord,
    ProblemKey,
    VerdictRecord,
)
from kswatch.errors import UsageError
from tests.db.sample_records import CPU, GPU, measured, night, problem, run_record, stored_tails


def test_every_field_of_a_measurement_can_be_read():
    stored = {field.name for field in fields(MeasurementRecord)} - {"problem", "samples_ms", "counters"}
    assert stored <= set(queries.MeasurementRow._fields)


def test_the_device_with_the_newest_run_comes_first(store):
    for device in (CPU, GPU, CPU):
        night(store, {"fused": 1.0}, device=device)
    first, second = queries.devices(store)
    assert (first.uuid, first.runs, first.newest_run_id) == (CPU.uuid, 2, 3)
    assert (second.uuid, second.runs, second.facts) == (GPU.uuid, 1, {})


@pytest.mark.parametrize("spec", ["GPU-11112222", "gpu-1111", "made-up_gpu 80gb", "Made-up GPU 80GB", "cuda"])
def test_a_device_is_found_by_uuid_prefix_model_or_kind(store, spec):
    night(store, {"fused": 1.0}, device=GPU)
    night(store, {"fused": 1.0}, device=CPU)
    assert queries.find_device(store, spec).uuid == GPU.uuid


def test_the_only_device_need_not_be_named(store):
    night(store, {"fused": 1.0})
    assert queries.find_device(store, None).uuid == CPU.uuid


def test_the_error_of_an_ambiguous_or_unknown_device_lists_the_devices(store):
    with pytest.raises(UsageError, match="holds no device yet"):
        queries.find_device(store, None)
    night(store, {"fused": 1.0}, device=GPU)
    night(store, {"fused": 1.0}, device=replace(GPU, uuid="GPU-11113333"))
    with pytest.raises(UsageError, match="several devices.*GPU-11113333.*GPU-11112222"):
        queries.find_device(store, None)
    with pytest.raises(UsageError, match="'gpu-1111' is ambiguous"):
        queries.find_device(store, "gpu-1111")
    with pytest.raises(UsageError, match="no device 'a100'.*there is: GPU"):
        queries.find_device(store, "a100")


def test_summaries_are_of_measured_nights_by_default(store):
    wanted = night(store, {"fused": 1.0, "bmm": 2.0})
    night(store, {"fused": 1.0, "bmm": 3.0}, kind="ad_hoc")
    night(store, {"fused": 1.0, "bmm": 4.0}, origin="simulated")
    excluded = night(store, {"fused": 1.0, "bmm": 5.0})
    add_run_event(store, excluded, "exclude", "me", "fan was broken")
    for read in (queries.summaries, queries.comparisons, queries.measurements):
        assert {row.run_id for row in read(store)} == {wanted}
        assert len({row.run_id for row in read(store, kinds=None, origins=None)}) == 3
    assert [row.median_speedup for row in queries.summaries(store, excluded)] == [5.0]
    assert [event.text for event in queries.run_events(store, excluded)] == ["fan was broken"]
    assert len(queries.runs(store)) == 4


def test_an_excluded_run_can_be_included_again(store):
    run_id = night(store, {"fused": 1.0, "bmm": 2.0})
    add_run_event(store, run_id, "exclude", "me", "looked bad")
    add_run_event(store, run_id, "include", "you", "was good after all")
    assert len(queries.summaries(store)) == 1
    with pytest.raises(UsageError, match="a reason is required"):
        add_run_event(store, run_id, "note", "me", "  ")


def test_comparisons_can_be_filtered_by_problem(store):
    for time in (2.0, 3.0):
        night(store, {"fused": 1.0, "bmm": time})
    night(store, {"fused": 1.0, "bmm": 9.0}, key=problem(4))
    found = queries.comparisons(store, problem=problem())
    assert [row.speedup for row in found] == [2.0, 3.0]
    assert [row.d for row in queries.problems(store)] == [1, 4]


def test_a_tail_has_a_point_for_each_night_that_succeeded(store):
    night(store, {"fused": 1.0, "bmm": 2.0})
    failed = store.begin_run(run_record())
    store.record_problem(failed, [measured(problem(), "fused", status="crashed")])
    store.finish_run(failed)
    night(store, {"fused": 2.0, "bmm": 3.0})
    assert stored_tails(store, ["latency_ms", "speedup"]) == {
        (problem(), "fused", "latency_ms"): [(1, 1.0), (3, 2.0)],
        (problem(), "bmm", "latency_ms"): [(1, 2.0), (3, 3.0)],
        (problem(), "fused", "speedup"): [(1, 2.0), (3, 1.5)],
    }


def test_differences_between_two_environments_are_named(store):
    before = night(store, {"fused": 1.0}, environment=EnvironmentRecord(driver="1", extra={"bios": "a"}))
    after = night(store, {"fused": 1.0}, environment=EnvironmentRecord(driver="2", extra={"bios": "a"}))
    (change,) = queries.environment_changes(store, before, after)
    assert (change.name, change.before, change.after) == ("driver", "1", "2")


def test_a_heuristic_is_scored_by_the_measured_speedups(store):
    run_id = store.begin_run(run_record())
    for d, fused_ms in ((1, 3.0), (2, 1.0), (3, 1.0), (4, 3.0)):
        store.record_problem(
            run_id, [measured(problem(d), "fused", fused_ms), measured(problem(d), "bmm", 2.0)]
        )
    predictions = {1: True, 2: True, 3: False, 4: False, 5: True}  # of 5 nobody knows the outcome
    store.record_predictions(
        run_id, [PredictionRecord(problem(d), "rule", 2, wins) for d, wins in predictions.items()]
    )
    (scored,) = queries.counted_scores(store, [run_id])
    assert (scored.tp, scored.fp, scored.fn, scored.tn) == (1, 1, 1, 1)
    assert (scored.problems, scored.accuracy, scored.balanced_accuracy, scored.majority) == (4, 0.5, 0.5, 0.5)
    outcomes = queries.prediction_outcomes(store, run_id)
    assert [(row.d, row.predicts_fused, row.speedup > 1) for row in outcomes] == [
        (1, True, False),
        (2, True, True),
        (3, False, True),
        (4, False, False),
    ]


def test_verdicts_show_the_worst_first(store):
    run_id = night(store, {"fused": 1.0, "bmm": 2.0})
    changes = {"fused": 0.05, "bmm": -0.2}
    store.record_verdicts(
        run_id,
        [
            VerdictRecord(problem(), name, "latency_ms", verdict="slower", value=1.0, change=change)
            for name, change in changes.items()
        ],
    )
    assert [row.implementation for row in queries.verdicts(store, run_id)] == ["bmm", "fused"]


def test_canaries_are_read_over_nights(store):
    for rate in (1e9, 2e9):
        run_id = night(store, {"fused": 1.0})
        store.record_canaries(run_id, [CanaryRecord("end", "gemm", "fp32", 1.0, rate)])
    assert [row.rate for row in queries.canaries(store, [1, 2])] == [1e9, 2e9]


def test_a_missing_run_request_or_alert_is_named_in_the_error(store):
    for read in (queries.run, queries.request, queries.alert):
        with pytest.raises(UsageError, match="there is no .* 77"):
            read(store, 77)


def test_the_store_names_problems_as_the_kernels_do():
    from kswatch.db import records
    from kswatch.kernels.pattern import Pattern
    from kswatch.kernels.problem import ELEMENT_BYTES, LAYOUTS, PRECISIONS, Problem

    assert (records.PRECISIONS, records.LAYOUTS) == (PRECISIONS, LAYOUTS)
    assert records.ELEMENT_BYTES == ELEMENT_BYTES
    for precision in PRECISIONS:
        key = ProblemKey(3, 5, 7, 11, 13, precision, "batch_first")
        same = Problem(Pattern(3, 5, 7, 11), 13, precision, "batch_first")
        assert (key.pattern, key.compulsory_bytes) == (str(same.pattern), same.compulsory_bytes)
