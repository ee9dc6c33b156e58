import pandas as pd
import pytest

from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.device_runs import SOURCES
from kswatch.dashboard.views.heuristics import backfill
from kswatch.dashboard.views.heuristics.threshold_sweep import swept
from kswatch.db.queries import basic as queries
from kswatch.db.statistics import PredictionResult, score_predictions
from kswatch.db.store import Store
from kswatch.kernels.heuristics.rules import RANKINGS
from kswatch.kernels.pattern import Pattern
from tests.dashboard.simulated_store import Plan, fill

ABOUT = {"metric": "latency", "baselines": "all", "precision": "fp32", "layout": "batch_first"}


@pytest.fixture
def scope(own_url: str, monkeypatch: pytest.MonkeyPatch) -> Scope:
    store = Store.open(own_url)
    fill(store, Plan(nights=2, patterns=6, devices=("sim-a100",), regression_night=1))
    monkeypatch.setenv("KSWATCH_DATABASE_URL", own_url)
    device = queries.devices(store)[0]
    runs = tuple(reversed(queries.runs(store)))
    return Scope(device, device.model, SOURCES[-1], runs, "nightly", "fp32", "batch_first", "all")


def test_two_runs_differ_by_the_planted_regression_of_fused(scope: Scope) -> None:
    both = cached_queries.cell_differences(1, 2, "latency_ms")
    fused = both[both["implementation"] == "fused"]
    assert fused["clear"].all()
    assert fused["change"].median() == pytest.approx(0.12, abs=0.02)
    assert set(both.head(len(fused))["implementation"]) == {"fused"}


def test_backfilled_predictions_agree_with_stored_ones(scope: Scope) -> None:
    newest = scope.newest.id
    predictions = backfill.outcomes(scope, "latency")
    stored = cached_queries.outcomes(newest, **ABOUT)
    key = ["heuristic", "problem_id"]
    both = predictions.merge(stored, on=key, suffixes=("_backfilled", "_stored"))
    assert len(both) == len(stored) == len(predictions)
    assert (both["predicts_fused_backfilled"] == both["predicts_fused_stored"]).all()
    nights = cached_queries.heuristic_nights([newest], **ABOUT).set_index("heuristic")
    figures = backfill.scores(predictions, scope).set_index("heuristic")
    columns = ["tp", "fp", "fn", "tn", "accuracy", "majority", "balanced_accuracy", "regret"]
    pd.testing.assert_frame_equal(
        figures[columns].sort_index(), nights[columns].sort_index(), check_dtype=False
    )


def test_a_sweep_scores_each_threshold_as_a_rule_with_that_threshold(scope: Scope) -> None:
    problems = cached_queries.outcomes(scope.newest.id, **ABOUT).drop_duplicates("problem_id")
    ranking = RANKINGS["h_threshold"]
    found = swept(problems, ranking)
    assert len(found) > 1
    for row in found.itertuples():
        results = [
            PredictionResult(float(ranking(Pattern(one.a, one.b, one.c, one.d))) >= row.limit, one.speedup)
            for one in problems.itertuples()
        ]
        truth = score_predictions(results)
        assert row.accuracy == pytest.approx(truth.accuracy)
        assert row.balanced_accuracy == pytest.approx(truth.balanced_accuracy)
        assert row.majority == pytest.approx(truth.majority)
