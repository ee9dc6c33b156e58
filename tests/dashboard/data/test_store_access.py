import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data import store as connection
from kswatch.db.queries import basic as queries
from kswatch.db.queries import cells as queries_cells
from kswatch.db.queries import page_queries
from kswatch.db.records import ProblemKey
from kswatch.db.statistics import PredictionResult, score_predictions
from kswatch.db.store import Store
from kswatch.kernels.heuristics.catalogue import HEURISTICS
from tests.dashboard.simulated_store import Plan, fill


@pytest.fixture
def filled_url(own_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    fill(Store.open(own_url), Plan(nights=3, patterns=3, devices=("sim-a100",)))
    monkeypatch.setenv("KSWATCH_DATABASE_URL", own_url)
    return own_url


def test_pages_cannot_write_to_the_store(filled_url: str) -> None:
    engine = connection.reading_store().engine
    with engine.connect() as reading, pytest.raises(OperationalError, match="readonly"):
        reading.execute(text("DELETE FROM run"))


def test_the_stamp_changes_with_every_new_run_and_not_by_itself(filled_url: str) -> None:
    store = Store.open(filled_url)
    before = page_queries.stamp(store)
    assert page_queries.stamp(store) == before
    fill(store, Plan(nights=1, patterns=1, devices=("sim-h200",)))
    assert page_queries.stamp(store) != before


def test_counted_scores_equal_those_of_the_single_predictions(filled_url: str) -> None:
    store = Store.open(filled_url)
    scores = queries.counted_scores(store, [2], precision="fp32", layout="batch_first")
    outcomes = queries.prediction_outcomes(store, 2, precision="fp32", layout="batch_first")
    for row in scores:
        own = [one for one in outcomes if one.heuristic == row.heuristic]
        truth = score_predictions([PredictionResult(one.predicts_fused, one.speedup) for one in own])
        assert vars(truth) == pytest.approx({name: getattr(row, name) for name in vars(truth)})
    assert len(scores) == len(HEURISTICS)


def test_groups_of_runs_leave_out_runs_in_progress(filled_url: str) -> None:
    store = Store.open(filled_url)
    store.reopen_run(3)
    (group,) = page_queries.run_groups(store)
    assert (group.runs, group.newest_run_id, group.origin) == (2, 2, "simulated")


def test_histories_read_at_once_are_those_read_one_by_one(filled_url: str) -> None:
    store = Store.open(filled_url)
    (group,) = page_queries.run_groups(store)
    own = queries.HistoryFilter(group.device_id, ("nightly",), group.origin, group.suite)
    several = [own, own._replace(suite="another"), own._replace(kinds=None)]
    ended = queries.runs(store, group.device_id, limit=2)[::-1]
    assert queries.ended_runs(store, several, limit=2) == [ended, [], ended]
    assert queries.ended_runs(store, [], limit=2) == []
    ids = [run.id for run in ended]
    assert queries.ended_run_ids(store, several, limit=2) == [ids, [], ids]


def test_ratios_of_runs_are_those_of_each_run(filled_url: str) -> None:
    store = Store.open(filled_url)
    of_each = [row for run_id in (1, 3) for row in queries.comparisons(store, run_id, precision="bf16")]
    asked = {row.problem_id for row in of_each}
    found = queries_cells.ratios_of_runs(store, [1, 3], "latency", "all", asked)
    assert {tuple(row) for row in found} == {
        (row.run_id, row.problem_id, row.speedup, row.best_baseline, row.left_out) for row in of_each
    }


def test_the_predictions_of_a_problem_are_those_that_each_run_stored(filled_url: str) -> None:
    store = Store.open(filled_url)
    problem = Plan(patterns=3).problems()[0]
    found = queries_cells.predictions_of_problem(store, [1, 2, 3], problem)
    stored = {
        (row.run_id, row.heuristic, row.version, row.predicts_fused)
        for run_id in (1, 2, 3)
        for row in queries.prediction_outcomes(store, run_id)
        if ProblemKey(row.a, row.b, row.c, row.d, row.batch, row.precision, row.layout) == problem
    }
    assert {tuple(row) for row in found} == stored


def test_columns_of_cells_are_those_of_whole_measurements(filled_url: str) -> None:
    store = Store.open(filled_url)
    columns = ("mode", "latency_ms", "tile")
    found = queries_cells.cells_of_run(store, 2, columns, "bf16", "batch_last")
    whole = queries.measurements(store, 2, precision="bf16", layout="batch_last")
    names = ("problem_id", *queries_cells.PROBLEM_NAMES, "implementation", *columns)
    assert found == [tuple(getattr(row, name) for name in names) for row in whole]
    key = ProblemKey(*(getattr(whole[0], name) for name in queries_cells.PROBLEM_NAMES))
    of_problem = queries_cells.cells_of_problem(store, [2], key, ("run_id", "latency_ms"))
    assert set(of_problem) == {
        (row.implementation, 2, row.latency_ms) for row in whole if row.problem_id == whole[0].problem_id
    }


def test_a_number_that_is_never_known_is_a_column_of_nan(filled_url: str) -> None:
    cells = cached_queries.run_cells(1, ("cycles",))
    assert cells["cycles"].dtype == float
    assert cells["cycles"].isna().all()
