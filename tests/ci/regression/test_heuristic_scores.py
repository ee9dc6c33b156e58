from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from kswatch.ci.alerts.heuristics import judge_heuristics
from kswatch.ci.check import CheckResult
from kswatch.ci.check_report import check_rows
from kswatch.ci.config import CiConfig
from kswatch.ci.regression.history import read_judging_inputs
from kswatch.db.alerts.lifecycle import act
from kswatch.db.queries import basic as queries
from kswatch.db.records import PredictionRecord, ProblemKey
from kswatch.db.store import Store
from tests.ci.nights import Nights

FIFTY = tuple(ProblemKey(a, 48, 48, 1, 1024, "fp32", "batch_last") for a in range(1, 51))


class Scored(Nights):
    """Nights on which a rule always says fused, which loses on some of fifty problems."""

    def night_losing(self, losses: int) -> int:
        slow = {("fused", one): 2.0 for one in FIFTY[:losses]}
        run_id = self.night(slow, problems=FIFTY, implementations=("fused", "bmm"))
        predictions = [PredictionRecord(one, "always", 1, True) for one in FIFTY]
        self.store.record_predictions(run_id, predictions)
        return run_id


@pytest.fixture(scope="module")
def quiet_nights(tmp_path_factory):
    """A store of five judged nights on which the rule was as right as ever, and their verdicts."""
    path = tmp_path_factory.mktemp("scored") / "kswatch.db"
    store = Store.open(f"sqlite:///{path}")
    nights = Scored(store)
    last = [judged(store, nights.night_losing(losses)) for losses in (2, 3, 2, 3, 2)][-1]
    store.close()
    return path, nights, last


@pytest.fixture
def store(quiet_nights, tmp_path):
    opened = Store.open(f"sqlite:///{shutil.copy(quiet_nights[0], tmp_path)}")
    yield opened
    opened.close()


@pytest.fixture
def scored(quiet_nights, store):
    """The nights after those."""
    return replace(quiet_nights[1], store=store, rng=np.random.default_rng(8))


def judged(store, run_id):
    inputs = read_judging_inputs(store, queries.run(store, run_id), CiConfig())
    assert inputs.comparable_run_ids() == list(range(1, run_id))
    verdicts, changes = judge_heuristics(store, inputs, CiConfig(), is_newest=True)
    return {one.score: one.verdict for one in verdicts}, changes


def test_a_heuristic_that_stays_as_it_was_is_the_same(quiet_nights):
    verdicts, changes = quiet_nights[2]
    assert verdicts == {"accuracy": "same", "regret": "same"}
    assert changes == []


def test_a_fall_is_one_alert_confirmed_by_the_next_night_and_resolved_by_three_good_ones(scored, store):
    verdicts, (first,) = judged(store, scored.night_losing(25))
    assert verdicts == {"accuracy": "slower", "regret": "slower"}
    assert (first.transition, first.alert.confirmed, first.alert.cause) == ("opened", False, "heuristic")
    assert "always: " in first.alert.title
    _, (second,) = judged(store, scored.night_losing(25))
    assert (second.alert.id, second.transition) == (first.alert.id, "confirmed")
    for _ in range(3):
        _, (last,) = judged(store, scored.night_losing(2))
    assert (last.alert.id, last.transition) == (first.alert.id, "resolved")
    assert len(queries.alerts(store)) == 1


def test_a_provisional_fall_that_is_not_seen_again_is_dismissed(scored, store):
    judged(store, scored.night_losing(25))
    _, (changes,) = judged(store, scored.night_losing(2))
    assert changes.alert.state == "resolved"
    assert queries.alert_events(store, changes.alert.id)[-1].action == "dismissed"


def test_an_accepted_accuracy_is_the_level_from_then_on(scored, store):
    for _ in range(3):
        _, (changes,) = judged(store, scored.night_losing(25))
    act(store, changes.alert.id, "accept", "a reader", "another shape wins now", changes.alert.version)
    verdicts, changes = judged(store, scored.night_losing(25))
    assert (verdicts["accuracy"], changes) == ("same", [])
    (row,) = [one for one in queries.heuristic_verdicts(store, 9) if one.score == "accuracy"]
    assert (row.level, row.comparable_runs) == (0.5, 3)


def test_judging_the_same_night_again_changes_nothing(scored, store):
    run_id = scored.night_losing(25)
    judged(store, run_id)
    before = (queries.heuristic_verdicts(store, run_id), queries.alerts(store))
    judged(store, run_id)
    assert (queries.heuristic_verdicts(store, run_id), queries.alerts(store)) == before


def test_a_check_reports_heuristics_and_does_not_fail_for_them(scored, store, judge_newest):
    scored.night_losing(2)
    predictions = [
        row for row in check_rows(CheckResult([judge_newest()])) if row.get("heuristic") == "always"
    ]
    assert {row["score"]: row["verdict"] for row in predictions} == {"accuracy": "same", "regret": "same"}
