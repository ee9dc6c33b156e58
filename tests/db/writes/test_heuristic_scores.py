from __future__ import annotations

from math import log

import pytest

from kswatch.db.queries.heuristics import heuristic_scores
from kswatch.db.records import PredictionRecord
from kswatch.db.writes.heuristic_scores import Said, score
from tests.db.sample_records import measured, problem, run_record


def test_the_confusion_matrix_and_the_regret_are_those_of_the_definition():
    found = score([Said(True, 2.0), Said(True, 0.5), Said(False, 1.5), Said(False, 1.0)])
    assert (found.tp, found.fp, found.fn, found.tn) == (1, 1, 1, 1)
    assert (found.majority, found.accuracy, found.balanced_accuracy) == (0.5, 0.5, 0.5)
    assert found.regret == pytest.approx((0 + 1.0 + 0.5 + 0) / 4)  # twice the time once, half more once


def test_only_problems_near_a_tie_make_an_accuracy_doubtful():
    sure = score([Said(True, 2.0, 1.9, 2.1)] * 10)
    assert sure.accuracy_low == pytest.approx(1.0, abs=1e-6)
    tie = score([Said(True, 1.0001, 0.9, 1.1)] * 100)
    assert tie.accuracy_low == pytest.approx(1 - 1.96 * (0.25 * 100) ** 0.5 / 100, abs=0.002)


def test_the_doubt_is_the_chance_that_the_winner_changes():
    sigma = 0.01
    half = 1.96 * sigma
    one = Said(
        True, 2.718281828 ** (2 * sigma), 2.718281828 ** (2 * sigma - half), 2.718281828 ** (2 * sigma + half)
    )
    assert log(one.speedup) == pytest.approx(2 * sigma)
    assert one.doubt == pytest.approx(0.97725 * 0.02275, rel=1e-3)  # two sigma from the tie


def test_nothing_said_is_no_score():
    found = score([])
    assert (found.problems, found.accuracy, found.regret) == (0, None, None)


@pytest.mark.parametrize("said_first", [True, False])
def test_a_run_is_scored_whichever_comes_last_its_end_or_what_was_said(store, said_first):
    run_id = store.begin_run(run_record())
    for d, fused_ms in ((1, 3.0), (2, 1.0)):
        cells = [measured(problem(d), "fused", fused_ms), measured(problem(d), "bmm", 2.0)]
        store.record_problem(run_id, cells)
    said = [PredictionRecord(problem(d), "rule", 2, True) for d in (1, 2)]
    if said_first:
        store.record_predictions(run_id, said)
    store.finish_run(run_id)
    if not said_first:
        store.record_predictions(run_id, said)
    (found,) = heuristic_scores(store, run_id)
    assert (found.heuristic, found.version, found.metric, found.precision) == ("rule", 2, "latency", "fp32")
    assert (found.accuracy, found.regret) == (0.5, pytest.approx(0.25))
    assert heuristic_scores(store, newest_runs=1) == [found]
    store.finish_run(run_id)
    assert heuristic_scores(store, run_id) == [found]
