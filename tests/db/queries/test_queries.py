from __future__ import annotations

from dataclasses import fields, replace

import pytest

from kswatch.db.coordination.run_events import say
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
from tests.db.sample_records import CPU, GPU, measured, night, problem, run_record


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


def test_an_ambiguous_or_unknown_device_is_told_with_what_there_is(store):
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


def test_headlines_are_of_measured_nights_unless_asked(store):
    wanted = night(store, {"fused": 1.0, "bmm": 2.0})
    night(store, {"fused": 1.0, "bmm": 3.0}, kind="ad_hoc")
    night(store, {"fused": 1.0, "bmm": 4.0}, origin="simulated")
    excluded = night(store, {"fused": 1.0, "bmm": 5.0})
    say(store, excluded, "exclude", "me", "fan was broken")
    for read in (queries.summaries, queries.comparisons, queries.measurements):
        assert {row.run_id for row in read(store)} == {wanted}
        assert len({row.run_id for row in read(store, kinds=None, origins=None)}) == 3
    assert [row.median_speedup for row in queries.summaries(store, excluded)] == [5.0]
    assert [event.text for event in queries.run_events(store, excluded)] == ["fan was broken"]
    assert len(queries.runs(store)) == 4


def test_an_excluded_run_can_be_taken_back(store):
    run_id = night(store, {"fused": 1.0, "bmm": 2.0})
    say(store, run_id, "exclude", "me", "looked bad")
    say(store, run_id, "include", "you", "was good after all")
    assert len(queries.summaries(store)) == 1
    with pytest.raises(UsageError, match="say why"):
        say(store, run_id, "note", "me", "  ")


def test_comparisons_are_narrowed_to_a_problem_over_nights(store):
    for time in (2.0, 3.0):
        night(store, {"fused": 1.0, "bmm": time})
    night(store, {"fused": 1.0, "bmm": 9.0}, key=problem(4))
    found = queries.comparisons(store, pattern=(2, 48, 192, 1), precision="fp32", layout="batch_last")
    assert [row.speedup for row in found] == [2.0, 3.0]
    assert [row.d for row in queries.problems(store)] == [1, 4]


def test_a_series_has_a_point_for_each_night_that_succeeded(store):
    night(store, {"fused": 1.0, "bmm": 2.0})
    failed = store.begin_run(run_record())
    store.record_problem(failed, [measured(problem(), "fused", status="crashed")])
    store.finish_run(failed)
    night(store, {"fused": 2.0, "bmm": 3.0})
    device = queries.find_device(store, None).id
    read = [queries.series(store, device, problem(), name) for name in ("fused", "bmm")]
    assert [[point.value for point in points] for points in read] == [[1.0, 2.0], [2.0, 3.0]]
    speedups = queries.series(store, device, problem(), "fused", "speedup")
    assert [point.value for point in speedups] == [2.0, 1.5]
    with pytest.raises(UsageError, match="unknown metric 'beauty'"):
        queries.series(store, device, problem(), "fused", "beauty")


def test_what_differs_between_two_nights_is_named(store):
    before = night(store, {"fused": 1.0}, environment=EnvironmentRecord(driver="1", extra={"bios": "a"}))
    after = night(store, {"fused": 1.0}, environment=EnvironmentRecord(driver="2", extra={"bios": "a"}))
    (change,) = queries.environment_changes(store, before, after)
    assert (change.name, change.before, change.after) == ("driver", "1", "2")


def test_a_heuristic_is_scored_by_what_happened(store):
    run_id = store.begin_run(run_record())
    for d, fused_ms in ((1, 3.0), (2, 1.0), (3, 1.0), (4, 3.0)):
        store.record_problem(
            run_id, [measured(problem(d), "fused", fused_ms), measured(problem(d), "bmm", 2.0)]
        )
    said = {1: True, 2: True, 3: False, 4: False, 5: True}  # of 5 nobody knows the outcome
    store.record_predictions(
        run_id, [PredictionRecord(problem(d), "rule", 2, wins) for d, wins in said.items()]
    )
    (scored,) = queries.heuristic_nights(store)
    assert (scored.tp, scored.fp, scored.fn, scored.tn) == (1, 1, 1, 1)
    assert (scored.problems, scored.accuracy, scored.balanced_accuracy, scored.majority) == (4, 0.5, 0.5, 0.5)
    outcomes = queries.prediction_outcomes(store, run_id)
    assert [(row.d, row.predicts_fused, row.speedup > 1) for row in outcomes] == [
        (1, True, False),
        (2, True, True),
        (3, False, True),
        (4, False, False),
    ]


def test_a_heuristic_that_met_no_loss_has_no_balanced_accuracy():
    scored = queries.HeuristicNight(1, 1, run_record().started_at, "rule", 1, tp=3, fp=0, fn=1, tn=0)
    assert scored.balanced_accuracy is None


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
    assert [row.rate for row in queries.canaries(store)] == [1e9, 2e9]


def test_a_run_or_request_or_alert_that_is_not_there_is_named(store):
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
