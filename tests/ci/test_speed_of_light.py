"""The median and the worst of floor over latency are judged by night, precision and layout."""

from __future__ import annotations

import pytest

from kswatch.ci.check import CheckResult, judge_run
from kswatch.ci.check_report import check_rows, text_report
from kswatch.ci.config import CiConfig
from kswatch.db.queries import basic as queries
from kswatch.db.queries.speed_of_light import speed_of_light
from tests.ci.nights import PROBLEMS, Nights


def judged(store, run_id):
    return judge_run(store, queries.run(store, run_id), CiConfig(), is_newest=True)


@pytest.fixture
def nights(store):
    made = Nights(store)
    for run_id in made.quiet(8, floor_ms=0.5):
        judged(store, run_id)
    return made


def test_a_quiet_night_is_the_same_in_both_statistics(store, nights):
    run_id = nights.night(floor_ms=0.5)
    judged(store, run_id)
    stored = speed_of_light(store, run_id)
    assert {(row.statistic, row.verdict, row.cause) for row in stored} == {
        ("median", "same", None),
        ("worst", "same", None),
    }
    assert {row.comparable_runs for row in stored} == {8}


def test_a_kernel_that_became_slower_is_further_from_the_speed_of_light(store, nights):
    found = judged(store, nights.night({"fused": 1.25}, floor_ms=0.5))
    rows = {row.statistic: row for row in found.speed_of_light}
    assert {(row.verdict, row.cause) for row in rows.values()} == {("slower", "code")}
    assert rows["median"].level == pytest.approx(0.5, rel=0.01)
    assert rows["median"].change == pytest.approx(-0.2, abs=0.01)
    result = CheckResult([found])
    assert "speed of light, median in fp32 batch_last: 40." in text_report(result, 5)
    printed = [row for row in check_rows(result) if row["metric"] == "speed_of_light"]
    assert [(row["statistic"], row["verdict"], row["alert"]) for row in printed] == [
        ("median", "slower", None),
        ("worst", "slower", None),
    ]


def test_one_problem_that_lost_most_moves_the_worst_alone(store, nights):
    found = judged(store, nights.night({("fused", PROBLEMS[0]): 2.0}, floor_ms=0.5))
    assert {row.statistic: row.verdict for row in found.speed_of_light} == {
        "median": "same",
        "worst": "slower",
    }


def test_a_changed_machine_is_the_cause(store, nights):
    found = judged(store, nights.night({"fused": 1.25}, floor_ms=0.5, canary=1.25))
    assert {(row.verdict, row.cause) for row in found.speed_of_light} == {("slower", "canary")}


def test_a_night_of_fewer_problems_is_compared_with_none(store, nights):
    found = judged(store, nights.night({"fused": 1.25}, floor_ms=0.5, problems=PROBLEMS[:3]))
    assert {(row.verdict, row.reason) for row in found.speed_of_light} == {
        ("same", "too little history: 0 comparable runs")
    }


def test_a_run_without_a_floor_has_none(store, nights):
    assert judged(store, nights.night()).speed_of_light == []
