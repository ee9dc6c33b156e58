from __future__ import annotations

import pytest

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.db.alerts.lifecycle import act
from kswatch.db.queries.basic import alert_events, alerts, verdicts
from kswatch.errors import UsageError
from tests.ci.nights import PROBLEMS, START

SLOWER = {"fused": 1.1}
SMALL = {"fused": 1.025}


def news(judgement) -> list[tuple[str, str, str | None]]:
    return [(change.alert.verdict, change.alert.cause, change.transition) for change in judgement.alerts]


def of(judgement, implementation, metric):
    return [one for one in judgement.verdicts if (one.implementation, one.metric) == (implementation, metric)]


def test_a_slower_fused_kernel_is_one_confirmed_alert_with_time_and_speedup(nights, judge_newest):
    nights.quiet(8)
    nights.night(SLOWER)
    found = judge_newest()
    assert found.regressed
    assert news(found) == [("slower", "code", "opened")]
    assert {one.verdict for one in of(found, "fused", "latency_ms")} == {"slower"}
    assert {one.verdict for one in of(found, "fused", "speedup")} == {"slower"}
    assert {one.verdict for one in of(found, "bmm", "latency_ms")} == {"same"}
    assert len({one.alert_id for one in found.verdicts} - {None}) == 1


def test_quiet_nights_raise_nothing(nights, judge_newest, store):
    for _ in range(12):
        nights.night()
        assert not judge_newest().regressed
    assert alerts(store) == []


def test_checking_the_same_run_again_opens_and_sends_nothing(nights, judge_newest, store):
    nights.quiet(8)
    nights.night(SLOWER)
    judge_newest()
    before = alerts(store), alert_events(store), verdicts(store)
    again = judge_newest()
    assert again.regressed
    assert news(again) == [("slower", "code", None)]
    assert (alerts(store), alert_events(store), verdicts(store)) == before


def test_two_comparable_runs_are_the_same_with_a_reason_and_no_alert(nights, judge_newest, store):
    nights.quiet(2)
    nights.night({"fused": 3.0})
    found = judge_newest()
    assert {one.verdict for one in found.verdicts} == {"same"}
    assert all("too little history" in one.reason for one in found.verdicts)
    assert alerts(store) == [] and not found.regressed


def test_a_small_slowdown_is_provisional_until_the_next_night_shows_it_too(nights, judge_newest, store):
    nights.noise = 0.01
    nights.quiet(15)
    nights.noise = 0.0
    nights.night(SMALL)
    first = judge_newest()
    assert news(first) == [("slower", "code", "opened")]
    assert not first.regressed and not first.alerts[0].alert.confirmed
    nights.night(SMALL)
    second = judge_newest()
    assert news(second) == [("slower", "code", "confirmed")]
    assert second.regressed


def test_a_provisional_alert_that_is_not_seen_again_is_dismissed(nights, judge_newest, store):
    nights.noise = 0.01
    nights.quiet(15)
    nights.noise = 0.0
    nights.night(SMALL)
    judge_newest()
    nights.night()
    assert news(judge_newest()) == [("slower", "code", "resolved")]
    assert [one.state for one in alerts(store)] == ["resolved"]


def test_a_regression_stays_open_until_three_clean_nights_resolve_it(nights, judge_newest, store):
    nights.quiet(8)
    for _ in range(15):  # longer than the ten runs of the level: the bad nights never become it
        nights.night(SLOWER)
        assert judge_newest().regressed
    assert len(alerts(store)) == 1
    states = []
    for _ in range(3):
        nights.night()
        assert not judge_newest().regressed
        states.append(alerts(store)[0].state)
    assert states == ["recovering", "recovering", "resolved"]


def test_an_accepted_level_is_the_level_from_then_on(nights, judge_newest, store):
    nights.quiet(8)
    nights.night(SLOWER)
    (change,) = judge_newest().alerts
    act(store, change.alert.id, "accept", "ann", "the price of the fix", change.alert.version)
    assert not judge_newest().regressed
    for _ in range(5):
        nights.night(SLOWER)
        assert not judge_newest().regressed
    nights.night({"fused": 1.3})
    assert judge_newest().regressed
    assert len(alerts(store)) == 2


def test_a_muted_alert_does_not_fail_the_check(nights, judge_newest, store):
    from datetime import UTC, datetime, timedelta

    nights.quiet(8)
    nights.night(SLOWER)
    (change,) = judge_newest().alerts
    until = datetime.now(UTC) + timedelta(days=7)
    act(store, change.alert.id, "mute", "ann", "known", change.alert.version, muted_until=until)
    nights.night(SLOWER)
    assert not judge_newest().regressed


def test_a_faster_kernel_is_reported_once_and_is_the_new_level(nights, judge_newest, store):
    nights.quiet(8)
    nights.night({"fused": 0.8})
    assert news(judge_newest()) == [("faster", "code", "opened")]
    for _ in range(5):
        nights.night({"fused": 0.8})
        assert news(judge_newest()) == []
    nights.night()
    assert judge_newest().regressed  # back to what it was is slower than what it had become


def test_a_faster_baseline_is_attributed_to_the_baseline_not_a_regression(nights, judge_newest):
    nights.quiet(8)
    nights.night({"bmm": 0.8})
    found = judge_newest()
    assert news(found) == [("faster", "baseline", "opened")]
    assert {(one.verdict, one.cause) for one in of(found, "fused", "speedup")} == {("slower", "baseline")}
    assert not found.regressed


def test_a_new_driver_is_attributed_to_the_environment_and_starts_a_new_segment(nights, judge_newest):
    nights.quiet(8)
    nights.night({"fused": 1.2, "bmm": 1.2}, driver="560.2")
    found = judge_newest()
    assert news(found) == [("slower", "environment", "opened")]
    assert [(one.name, one.before, one.after) for one in found.environment_changes] == [
        ("driver", "550.1", "560.2")
    ]
    assert not found.regressed
    nights.quiet(3, factors={"fused": 1.2, "bmm": 1.2}, driver="560.2")
    assert {one.verdict for one in judge_newest().verdicts} == {"same"}
    nights.night({"fused": 1.4, "bmm": 1.2}, driver="560.2")
    assert judge_newest().regressed


def test_a_moved_canary_is_the_machine_and_not_the_code(nights, judge_newest):
    nights.quiet(8)
    nights.night({"fused": 1.15, "bmm": 1.15, "dense": 1.15}, canary=1.15)
    found = judge_newest()
    assert {one.cause for one in found.verdicts if one.moved} == {"canary"}
    assert found.canary_change == pytest.approx(0.15, abs=0.02)
    assert not found.regressed


def test_nights_of_a_moved_machine_are_no_history(nights, judge_newest):
    nights.quiet(6)
    for _ in range(5):
        nights.night({"fused": 1.3, "bmm": 1.3, "dense": 1.3}, canary=1.3)
    nights.night()
    found = judge_newest()
    assert {one.verdict for one in found.verdicts} == {"same"}
    assert {one.comparable_runs for one in found.verdicts} == {4}  # and two witnesses


def test_throttled_points_are_neither_evidence_nor_history(nights, judge_newest, store):
    hot = {("fused", problem): ("thermal_slowdown",) for problem in PROBLEMS}
    nights.quiet(4)
    nights.quiet(8, factors={"fused": 1.5}, flags=hot)
    found = judge_newest()
    assert {one.cause for one in of(found, "fused", "latency_ms")} == {"throttled"}
    assert not found.regressed and alerts(store) == []
    nights.night()
    assert {one.verdict for one in judge_newest().verdicts} == {"same"}


def test_an_incorrect_result_fails_the_check_with_an_alert_of_its_own(nights, judge_newest, store):
    nights.quiet(4)
    nights.night(statuses={("fused", PROBLEMS[0]): "incorrect"})
    found = judge_newest()
    assert found.regressed and news(found) == [("incorrect", "incorrect", "opened")]
    nights.night(statuses={("fused", PROBLEMS[0]): "incorrect"})
    assert news(judge_newest()) == [("incorrect", "incorrect", None)]
    for _ in range(3):
        nights.night()
        assert not judge_newest().regressed
    assert [one.state for one in alerts(store)] == ["resolved"]


def test_an_incorrect_first_run_fails_without_any_history(nights, judge_newest):
    nights.night(statuses={("fused", PROBLEMS[0]): "incorrect"})
    assert judge_newest().regressed


def test_another_regression_weeks_later_is_another_alert(nights, judge_newest, store):
    nights.quiet(8)
    early = {("fused", PROBLEMS[0]): 1.2}
    nights.night(early)
    judge_newest()
    for _ in range(6):
        nights.night(early)
        judge_newest()
    nights.night(early | {("fused", PROBLEMS[1]): 1.2})
    assert news(judge_newest()) == [("slower", "code", None), ("slower", "code", "opened")]
    assert len(alerts(store)) == 2


def test_an_excluded_run_is_no_history(nights, judge_newest, store):
    from sqlalchemy import update

    from kswatch.db.schema.tables import Run

    nights.quiet(3)
    bad = nights.quiet(5, factors={"fused": 2.0})
    with store.writing() as session:
        session.execute(update(Run).where(Run.id.in_(bad)).values(excluded=True))
    nights.night()
    assert {one.comparable_runs for one in judge_newest().verdicts} == {3}


def test_an_ad_hoc_run_is_judged_when_named_and_raises_no_alert(nights, judge_newest, store):
    nights.quiet(8)
    run_id = nights.night(SLOWER, kind="ad_hoc")
    found = judge_newest(run_id=run_id)
    assert found.regressed and alerts(store) == []
    assert not judge_newest().regressed  # the newest night is another


def test_an_older_run_is_judged_by_earlier_runs_and_changes_no_alert(nights, judge_newest, store):
    nights.quiet(8)
    bad = nights.night(SLOWER)
    nights.quiet(2)
    found = judge_newest(run_id=bad)
    assert found.regressed and alerts(store) == []
    assert {one.comparable_runs for one in found.verdicts} == {6}  # and two witnesses


def test_simulated_nights_are_judged_only_when_their_device_is_named(nights, store):
    nights.quiet(8, origin="simulated")
    nights.night(SLOWER, origin="simulated")
    assert judge(store, None, CiConfig(), now=START).judgements == []
    found = judge(store, None, CiConfig(), now=START, device_id=1)
    assert found.exit_code == 1


def test_a_run_under_way_is_refused(nights, judge_newest):
    run_id = nights.night(state="running")
    with pytest.raises(UsageError, match="still being measured"):
        judge_newest(run_id=run_id)


def test_an_unknown_run_is_refused(store, judge_newest):
    with pytest.raises(UsageError, match="no run 99"):
        judge_newest(run_id=99)


def test_energy_follows_time_into_one_alert(nights, judge_newest):
    nights.quiet(8, energy=True)
    nights.night(SLOWER, energy=True)
    found = judge_newest()
    assert {one.verdict for one in of(found, "fused", "energy_mj")} == {"slower"}
    assert len(found.alerts) == 1


def test_verdicts_are_stored_with_their_alert(nights, judge_newest, store):
    nights.quiet(8)
    run_id = nights.night(SLOWER)
    found = judge_newest()
    stored = verdicts(store, run_id)
    assert len(stored) == len(found.verdicts)
    linked = {(one.implementation, one.metric) for one in stored if one.alert_id}
    assert linked == {("fused", "latency_ms"), ("fused", "speedup")}
