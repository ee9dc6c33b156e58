"""Series against the expert set and those of rivals begin anew where the baselines change."""

from __future__ import annotations

import pytest

from kswatch.ci.check import judge_run
from kswatch.ci.config import CiConfig
from kswatch.ci.regression.series_levels import rebuild_levels
from kswatch.db.levels.lasting_changes import lasting_changes
from kswatch.db.queries import basic as queries
from kswatch.db.queries.baseline_sets import RunSets, basis_of, change_between
from tests.ci.nights import DEVICE, START, Nights

WITH_RIVAL = ("fused", "bmm", "dense", "compiled")
OLD, NEW = {"compiled": {"torch": "2.13.0"}}, {"compiled": {"torch": "2.14.0"}}


def judged(store, run_id):
    found = judge_run(store, queries.run(store, run_id), CiConfig(), is_newest=True)
    return found, {
        metric: [one for one in found.verdicts if one.metric == metric]
        for metric in ("speedup", "speedup_expert", "latency_ms")
    }


@pytest.fixture
def nights(store):
    made = Nights(store)
    for run_id in made.quiet(8, implementations=WITH_RIVAL, libraries=OLD):
        judged(store, run_id)
    return made


def of_rival(verdicts):
    return [one for one in verdicts["latency_ms"] if one.implementation == "compiled"]


def test_the_expert_series_is_judged_like_that_of_all(store, nights):
    slower = nights.night({"fused": 1.3}, implementations=WITH_RIVAL, libraries=OLD)
    found, verdicts = judged(store, slower)
    assert {one.verdict for one in verdicts["speedup_expert"]} == {"slower"}
    assert {one.cause for one in verdicts["speedup_expert"]} == {"code"}
    (alert,) = {change.alert.id for change in found.alerts}
    assert {one.alert_id for one in verdicts["speedup_expert"]} == {alert}, "one cause is one alert"


def test_a_member_that_is_lost_breaks_the_expert_series_and_is_no_alert(store, nights):
    without = nights.night(implementations=WITH_RIVAL[:-1] + ("triton",), libraries=OLD)
    found, verdicts = judged(store, without)
    assert not found.alerts
    moved = verdicts["speedup_expert"]
    assert {(one.verdict, one.cause) for one in moved} == {("faster", "baseline_set")}, "bmm is the best now"
    assert {one.reason for one in moved} == {"baseline set changed: now with triton, without compiled"}
    assert all(one.change is not None and abs(one.change - 0.25) < 0.02 for one in moved)
    assert {one.verdict for one in verdicts["speedup"]} == {"same"}, "the series against all goes on"
    assert {one.comparable_runs for one in verdicts["speedup"]} == {6}, "8 less those held out"


def test_after_the_break_the_series_has_its_own_history(store, nights):
    other = WITH_RIVAL[:-1] + ("triton",)
    first = nights.night(implementations=other)
    second, third, fourth, fifth = nights.quiet(4, implementations=other)
    for run_id in (first, second, third, fourth):
        judged(store, run_id)
    found, verdicts = judged(store, fifth)
    assert not found.alerts
    assert {one.comparable_runs for one in verdicts["speedup_expert"]} == {4}
    assert {(one.verdict, one.reason) for one in verdicts["speedup_expert"]} == {("same", None)}


def test_a_new_version_breaks_the_rivals_own_series_and_that_of_expert(store, nights):
    updated = nights.night({"compiled": 0.5}, implementations=WITH_RIVAL, libraries=NEW)
    found, verdicts = judged(store, updated)
    assert not found.alerts, "the baseline got faster, and that is known"
    words = "library version changed: torch 2.13.0 -> torch 2.14.0"
    assert {(one.verdict, one.cause, one.reason) for one in of_rival(verdicts)} == {
        ("faster", "library", words)
    }
    expert = {(one.verdict, one.cause, one.reason) for one in verdicts["speedup_expert"]}
    assert expert == {("slower", "library", words)}
    others = [one for one in verdicts["latency_ms"] if one.implementation != "compiled"]
    assert {one.verdict for one in (*verdicts["speedup"], *others)} == {"same"}


def test_the_same_version_that_is_faster_is_a_change_of_the_baseline(store, nights):
    found, verdicts = judged(
        store, nights.night({"compiled": 0.5}, implementations=WITH_RIVAL, libraries=OLD)
    )
    assert {(one.verdict, one.cause) for one in of_rival(verdicts)} == {("faster", "baseline")}
    assert {one.cause for one in verdicts["speedup_expert"]} == {"baseline"}
    assert [change.alert.implementation for change in found.alerts] == ["compiled"]


def test_a_night_without_rivals_between_two_is_no_break(store, nights):
    judged(store, nights.night())
    _, verdicts = judged(store, nights.night(implementations=WITH_RIVAL, libraries=OLD))
    assert {(one.verdict, one.comparable_runs) for one in verdicts["speedup_expert"]} == {("same", 6)}


def test_lasting_changes_name_the_change_of_the_baselines(store, nights):
    for run_id in nights.quiet(8, factors={"compiled": 0.5}, implementations=WITH_RIVAL, libraries=NEW):
        judged(store, run_id)
    device = queries.find_device(store, DEVICE.uuid)
    rebuild_levels(store, device, CiConfig())
    found = lasting_changes(store, device, START, CiConfig().floor)
    causes = {(one.implementation, one.metric): one.cause for one in found}
    assert causes == {("compiled", "latency_ms"): "library", ("fused", "speedup_expert"): "library"}


def test_only_series_that_depend_on_rivals_have_a_basis():
    sets = RunSets({"all": ("bmm",), "expert": ("bmm", "triton")}, libraries={"triton": "triton 3.4"})
    assert basis_of(sets, "fused", "speedup") is None and basis_of(sets, "bmm", "latency_ms") is None
    assert basis_of(sets, "fused", "speedup_expert").libraries == (("triton", "triton 3.4"),)
    own = basis_of(sets, "triton", "energy_mj")
    assert own.members == ("triton",) and change_between(own, own) is None
