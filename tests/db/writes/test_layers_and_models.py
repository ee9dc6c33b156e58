from __future__ import annotations

from dataclasses import replace

import pytest

from kswatch.db.interchange.importing import export_runs, import_file
from kswatch.db.queries import basic as queries
from kswatch.db.queries import page_queries, regression_inputs
from kswatch.db.queries.cells import cells_of_run
from kswatch.db.queries.headline import outcomes, summary
from kswatch.db.records import ProblemKey
from kswatch.db.request_queue.confirmation import parse_problem, problem_text
from kswatch.db.store import Store
from kswatch.errors import UsageError
from tests.db.sample_records import import_run, measured, problem

FACTOR = problem()
LAYER = ProblemKey(1, 1536, 384, 1, 196, "fp32", "batch_first", "layer")
MODEL = ProblemKey(1, 1, 1, 1, 8, "fp32", "batch_first", "vit_s16 eager")
FUSED_LAYER = "ks 2,48,192,1;1,192,48,2/fused"
RECORDS = [
    measured(FACTOR, "fused", 1.0),
    measured(FACTOR, "bmm", 2.0),
    measured(LAYER, "dense/dense", 4.0, parameters=384 * 1536),
    measured(LAYER, FUSED_LAYER, 1.0, parameters=36_864),
    measured(MODEL, "dense/fair", 8.0, parameters=21_958_504),
]


def test_a_problem_names_its_subject():
    assert [key.kind for key in (FACTOR, LAYER, MODEL)] == ["factor", "layer", "model"]
    assert [key.pattern for key in (FACTOR, LAYER, MODEL)] == [
        "2,48,192,1",
        "layer 384,1536",
        "vit_s16 eager",
    ]


@pytest.mark.parametrize("key", [FACTOR, LAYER, MODEL])
def test_every_problem_can_be_written_as_text(key):
    assert parse_problem(problem_text(key)) == key


def test_a_text_with_nine_parts_is_no_problem():
    with pytest.raises(UsageError, match="is not a problem"):
        parse_problem(f"{problem_text(LAYER)},more")


def test_a_dense_factor_and_a_layer_of_its_shape_are_two_problems(store: Store):
    run_id = import_run(store, [*RECORDS, measured(replace(LAYER, subject=""), "dense", 4.0)])
    assert len(store.run_problems(run_id)) == 4


def test_layers_and_models_are_done_and_judged_like_factors(store: Store):
    run_id = import_run(store, RECORDS)
    cells = {(record.problem, record.implementation) for record in RECORDS}
    assert store.done_cells(run_id) == cells
    judged = regression_inputs.newest_points(store, run_id)
    assert {(point.problem, point.implementation) for point in judged} == cells
    assert {row.subject: row.parameters for row in queries.measurements(store, run_id)} == {
        "": None,
        "layer": 36_864,
        "vit_s16 eager": 21_958_504,
    }


def test_headlines_and_pages_of_products_leave_layers_and_models_out(store: Store):
    run_id = import_run(store, RECORDS)
    assert {row.problem_id for row in queries.comparisons(store, run_id)} == {
        row.problem_id for row in queries.measurements(store, run_id) if row.subject == ""
    }
    found = summary(outcomes(store))
    assert (found.problems, found.fused_wins, found.left_out) == (1, 1, 0)
    assert queries.problems(store) == [FACTOR]
    assert page_queries.patterns(store) == [(2, 48, 192, 1)]
    assert {row[8] for row in cells_of_run(store, run_id, ("latency_ms",))} == {""}


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_keeps_layers_and_models(store: Store, new_store, tmp_path, form):
    run_id = import_run(store, RECORDS)
    path = tmp_path / f"run.{form}"
    export_runs(store, path, form)
    other = new_store()
    tally = import_file(other, path)
    assert (tally.recorded, tally.rejected) == (5, 0)
    assert other.done_cells(tally.run_ids[0]) == store.done_cells(run_id)
    assert import_file(other, path).duplicates == 5


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (measured(LAYER, "fused", 1.0), "does not name a structure"),
        (measured(FACTOR, FUSED_LAYER, 1.0), "is not one of fused"),
    ],
)
def test_an_implementation_must_suit_the_subject(store: Store, new_store, tmp_path, record, reason):
    import_run(store, [record])
    path = tmp_path / "run.jsonl"
    export_runs(store, path, "jsonl")
    tally = import_file(new_store(), path)
    assert tally.recorded == 0
    assert reason in tally.rejections[0].reason
