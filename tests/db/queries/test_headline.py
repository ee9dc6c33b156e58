from __future__ import annotations

import os
from pathlib import Path

import pytest

from kswatch.db.coordination.run_events import add_run_event
from kswatch.db.interchange.importing import import_file
from kswatch.db.queries.headline import outcomes, summary
from kswatch.errors import UsageError
from tests.db.sample_records import GPU, measured, night, problem, run_record

REFERENCE = os.environ.get("KSWATCH_REFERENCE")


@pytest.mark.skipif(not REFERENCE, reason="KSWATCH_REFERENCE names no folder of published data")
@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
def test_the_published_energies_give_the_published_headlines(store):
    import_file(store, Path(REFERENCE) / "ksmm_energy_v100.csv")
    found = {
        layout: summary(
            outcomes(store, "Tesla_V100-PCIE-16GB", metric="energy", precision="fp32", layout=layout)
        )
        for layout in ("batch_last", "batch_first")
    }
    headlines = {
        layout: (one.problems, one.fused_wins, round(one.median_ratio, 4)) for layout, one in found.items()
    }
    assert headlines == {"batch_last": (346, 249, 0.8478), "batch_first": (346, 61, 1.2832)}
    assert found["batch_last"].baselines == ("bmm", "einsum", "dense")


def test_each_cell_counts_with_its_newest_good_measurement(store):
    night(store, {"fused": 4.0, "bmm": 2.0})
    night(store, {"fused": 1.0, "bmm": 3.0})
    run_id = store.begin_run(run_record())
    store.record_problem(run_id, [measured(problem(), "bmm", status="crashed")])
    store.finish_run(run_id)
    found = summary(outcomes(store))
    assert (found.problems, found.median_speedup, found.median_ratio) == (1, 3.0, 1 / 3)


def test_a_baseline_that_never_succeeded_leaves_the_problem_out_or_does_not_compete(store):
    run_id = store.begin_run(run_record())
    for d, status in ((1, "out_of_memory"), (2, "crashed")):
        rows = [measured(problem(d), "fused", 1.0), measured(problem(d), "bmm", 2.0)]
        store.record_problem(run_id, [*rows, measured(problem(d), "dense", status=status)])
    found = summary(outcomes(store))
    assert (found.problems, found.left_out) == (1, 1)
    assert found.left_out_reasons == {"dense: crashed": 1}


def test_one_run_can_be_summarised_alone_even_an_excluded_one(store):
    first = night(store, {"fused": 1.0, "bmm": 5.0})
    night(store, {"fused": 1.0, "bmm": 2.0}, device=GPU)
    add_run_event(store, first, "exclude", "me", "bad")
    assert summary(outcomes(store, "cpu")).problems == 0
    assert summary(outcomes(store, run_id=first)).median_speedup == 5.0


def test_runs_of_selected_samples_do_not_count(store):
    night(store, {"fused": 1.0, "bmm": 2.0})
    for kind in ("confirm", "gate", "bisect"):
        night(store, {"fused": 1.0, "bmm": 9.0}, kind=kind)
    assert summary(outcomes(store)).median_speedup == 2.0


def test_hot_latencies_are_not_mixed_with_cold_ones(store):
    run_id = store.begin_run(run_record())
    rows = [("fused", 2.0, "cold"), ("bmm", 4.0, "cold"), ("fused", 1.0, "hot"), ("bmm", 1.5, "hot")]
    store.record_problem(run_id, [measured(problem(), name, time, mode=mode) for name, time, mode in rows])
    assert summary(outcomes(store)).median_speedup == 2.0


def test_measurements_that_did_not_converge_count_and_are_flagged(store):
    run_id = store.begin_run(run_record())
    rows = [measured(problem(), "fused", 1.0, status="not_converged"), measured(problem(), "bmm", 2.0)]
    store.record_problem(run_id, rows)
    found = summary(outcomes(store))
    assert (found.problems, found.not_converged) == (1, 1)


def test_baselines_can_be_chosen(store):
    night(store, {"fused": 1.0, "bmm": 2.0, "dense": 0.5})
    assert summary(outcomes(store)).fused_wins == 0
    assert summary(outcomes(store, baselines=["bmm"])).fused_wins == 1
    with pytest.raises(UsageError, match="unknown baseline 'magic'; choose from bmm, "):
        summary(outcomes(store, baselines=["magic"]))


def test_problems_can_be_filtered_by_precision_and_layout(store):
    for precision, time in (("fp32", 2.0), ("bf16", 3.0)):
        night(store, {"fused": 1.0, "bmm": time}, key=problem(precision=precision))
    assert summary(outcomes(store, precision="bf16")).median_speedup == 3.0
    assert summary(outcomes(store, layout="batch_first")).problems == 0


def test_an_unknown_metric_is_named(store):
    with pytest.raises(UsageError, match="unknown metric 'beauty'"):
        summary(outcomes(store, metric="beauty"))
