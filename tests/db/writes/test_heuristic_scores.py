from __future__ import annotations

import pytest

from kswatch.db.queries.heuristics import heuristic_scores
from kswatch.db.records import PredictionRecord
from tests.db.sample_records import measured, problem, run_record


@pytest.mark.parametrize("predictions_first", [True, False])
def test_a_run_is_scored_when_both_its_end_and_its_predictions_are_recorded(store, predictions_first):
    run_id = store.begin_run(run_record())
    for d, fused_ms in ((1, 3.0), (2, 1.0)):
        cells = [measured(problem(d), "fused", fused_ms), measured(problem(d), "bmm", 2.0)]
        store.record_problem(run_id, cells)
    predictions = [PredictionRecord(problem(d), "rule", 2, True) for d in (1, 2)]
    if predictions_first:
        store.record_predictions(run_id, predictions)
    store.finish_run(run_id)
    if not predictions_first:
        store.record_predictions(run_id, predictions)
    (found,) = heuristic_scores(store, run_id)
    assert (found.heuristic, found.version, found.metric, found.precision) == ("rule", 2, "latency", "fp32")
    assert (found.accuracy, found.regret) == (0.5, pytest.approx(0.25))
    store.finish_run(run_id)
    assert heuristic_scores(store, run_id) == [found]
