import pytest
from simulated_store import Plan, fill
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from dashboard import cached_queries, connection
from db import page_queries, queries, queries_of_runs
from db.store import Store
from kernels.heuristics import HEURISTICS
from kernels.heuristics.score import Outcome, score


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


def test_a_mean_regret_is_that_of_the_score(filled_url: str) -> None:
    store = Store.open(filled_url)
    regrets = page_queries.heuristic_regrets(store, [2], precision="fp32", layout="batch_first")
    for row in regrets:
        outcomes = queries.prediction_outcomes(
            store, 2, heuristic=row.heuristic, precision="fp32", layout="batch_first"
        )
        truth = score([Outcome(one.predicts_fused, one.speedup) for one in outcomes])
        assert row.regret == pytest.approx(truth.regret)
    assert len(regrets) == len(HEURISTICS)


def test_groups_of_runs_leave_out_what_is_under_way(filled_url: str) -> None:
    store = Store.open(filled_url)
    store.reopen_run(3)
    (group,) = page_queries.run_groups(store)
    assert (group.runs, group.newest_run_id, group.origin) == (2, 2, "simulated")


def test_comparisons_of_runs_are_those_of_each_run(filled_url: str) -> None:
    store = Store.open(filled_url)
    both = queries_of_runs.comparisons_of_runs(store, [1, 3], "latency", "all", "bf16", "batch_last")
    each = [
        row
        for run_id in (1, 3)
        for row in queries.comparisons(store, run_id, precision="bf16", layout="batch_last")
    ]
    assert both == each


def test_outcomes_of_a_problem_are_those_of_its_runs(filled_url: str) -> None:
    store = Store.open(filled_url)
    problem = Plan(patterns=3).problems()[0]
    found = queries_of_runs.outcomes_of_problem(store, [1, 2, 3], problem)
    assert {row.run_id for row in found} == {1, 2, 3}
    assert {(row.a, row.b, row.c, row.d) for row in found} == {(problem.a, problem.b, problem.c, problem.d)}


def test_a_number_that_is_never_known_is_a_column_of_nan(filled_url: str) -> None:
    cells = cached_queries.run_measurements(1)
    assert cells["cycles"].dtype == float
    assert cells["cycles"].isna().all()
