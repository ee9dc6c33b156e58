from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.decision import decide, decide_in_turns, machine_between
from kswatch.ci.confirmation.request import ask_again
from kswatch.ci.rejudge import rejudge, rejudged_text
from kswatch.db.paired_runs import ratios as paired_ratios
from kswatch.db.paired_runs.paired_record import PairedReading
from kswatch.db.queries.basic import alert_events, alerts, request, run, verdicts
from kswatch.db.queries.regression_inputs import newest_points
from kswatch.db.records import RevisionRecord, RunRecord
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.events import say_alone
from tests.ci.nights import PROBLEMS, START

CONFIG = CiConfig()
SMALL = {"fused": 1.025}


@pytest.fixture
def provisional(nights, judge_newest, store):
    """A night with one provisional alert, and the request to measure its cells again."""
    nights.noise = 0.01
    nights.quiet(15)
    nights.noise = 0.0
    run_id = nights.night(SMALL)
    assert not judge_newest().regressed
    return run_id, ask_again(store, run(store, run_id), CONFIG)


def measured_again(nights, store, asked, factors, **arguments):
    """The judgement of a confirm run that answers the request."""
    return judge(store, answered(nights, store, asked, factors, **arguments), CONFIG, now=START)


def answered(nights, store, asked, factors, **arguments):
    begin = store.begin_run

    def begin_for_request(record: RunRecord, identity=None):
        return begin(replace(record, request_id=asked, arguments=arguments), identity)

    store.begin_run = begin_for_request
    run_id = nights.night(factors, kind="confirm")
    store.begin_run = begin
    return run_id


def measured_in_turns(nights, store, asked, base, head, pairs=4):
    """The judgement of the last of pairs of confirm runs that answer the request."""
    nights.noise = 0.001
    for _ in range(pairs):
        runs = [answered(nights, store, asked, {"fused": base}, side="base")]
        runs.append(answered(nights, store, asked, {"fused": head}, side="head"))
        before, after = (measurements(store, one) for one in runs)
        readings = [
            PairedReading(problem, "fused", None, None, (slower / base_ms,) * 8)
            for (problem, base_ms), (_, slower) in zip(before, after, strict=True)
        ]
        paired_ratios.record(store, runs[1], runs[0], readings)
    return judge(store, runs[1], CONFIG, now=START)


def measurements(store, run_id):
    return [
        (one.problem, one.latency_ms[0])
        for one in newest_points(store, run_id)
        if one.implementation == "fused"
    ]


def test_a_provisional_night_is_asked_for_again_once_with_its_cells(provisional, store):
    run_id, asked = provisional
    wanted = request(store, asked)
    assert (wanted.kind, wanted.arguments["of_run"]) == ("confirm", run_id)
    assert 4 <= len(wanted.arguments["problem"]) <= len(PROBLEMS)  # those that the pool carries
    assert (wanted.arguments["good_revision"], wanted.arguments["bad_revision"]) == (
        f"{15:040x}",
        f"{16:040x}",
    )
    assert wanted.arguments["flagged"] == ["fused"]
    assert ask_again(store, run(store, run_id), CONFIG) is None


def test_what_is_found_again_is_confirmed_and_fails_the_check(provisional, nights, store):
    _, asked = provisional
    nights.noise = 0.001
    judged = measured_again(nights, store, asked, {"fused": 1.08})
    assert judged.exit_code == 1
    assert alerts(store)[0].confirmed
    assert alert_events(store)[-1].action == "confirmed"
    assert verdicts(store, judged.judgements[0].run.id) == []  # it enters no series
    assert judge(store, None, CONFIG, now=START).exit_code == 1


def test_what_is_gone_when_measured_again_is_dismissed(provisional, nights, store):
    _, asked = provisional
    judged = measured_again(nights, store, asked, {})
    assert judged.exit_code == 0
    assert [one.state for one in alerts(store)] == ["resolved"]
    assert [told.news for told in judged.judgements[0].alerts] == ["resolved"]


def test_what_the_last_good_revision_does_as_well_is_dismissed_however_slow_the_night_still_is(
    provisional, nights, store
):
    _, asked = provisional
    judged = measured_in_turns(nights, store, asked, base=1.025, head=1.025)
    assert judged.exit_code == 0
    assert [one.state for one in alerts(store)] == ["resolved"]
    assert "in turns with the last good revision" in alert_events(store)[-1].reason


def test_what_only_the_night_s_revision_does_is_confirmed_though_the_machine_has_changed(
    provisional, nights, store
):
    _, asked = provisional
    judged = measured_in_turns(nights, store, asked, base=0.97, head=0.97 * 1.025)
    assert judged.exit_code == 1 and alerts(store)[0].confirmed
    assert "in turns with the last good revision" in alert_events(store)[-1].reason


def test_too_few_pairs_of_processes_say_nothing(provisional, nights, store):
    _, asked = provisional
    measured_in_turns(nights, store, asked, base=1.0, head=1.0, pairs=2)
    assert [(one.state, one.confirmed) for one in alerts(store)] == [("open", False)]


def test_why_the_last_good_revision_was_not_measured_is_told(provisional, nights, store):
    _, asked = provisional
    say_alone(store, asked, "the base revision 0f does not build")
    measured_again(nights, store, asked, {})
    assert alert_events(store)[-1].reason.endswith(
        "; without the last good revision: the base revision 0f does not build"
    )


@pytest.mark.parametrize(
    ("revisions", "why"),
    [
        ((None, RevisionRecord("b" * 40)), "no revision is known"),
        ((RevisionRecord("a" * 40), RevisionRecord("b" * 40, dirty=True)), "not committed"),
        ((RevisionRecord("a" * 40), RevisionRecord("a" * 40)), "both nights are of revision aaaaaaaaaaaa"),
    ],
)
def test_where_there_are_no_two_revisions_the_request_says_why(nights, judge_newest, store, revisions, why):
    nights.noise = 0.01
    nights.quiet(14)
    nights.noise = 0.0
    begin = store.begin_run
    for revision, factors in zip(revisions, ({}, SMALL), strict=True):
        store.begin_run = lambda record, identity=None, of=revision: begin(
            replace(record, revision=of), identity
        )
        run_id = nights.night(factors)
    store.begin_run = begin
    judge_newest()
    asked = ask_again(store, run(store, run_id), CONFIG)
    assert why in request(store, asked).arguments["why_alone"]
    assert "good_revision" not in request(store, asked).arguments


def test_a_quiet_or_a_confirmed_night_is_not_measured_again(nights, judge_newest, store):
    nights.quiet(8)
    assert ask_again(store, run(store, 8), CONFIG) is None
    nights.night({"fused": 1.2})
    judge_newest()
    assert ask_again(store, run(store, 9), CONFIG) is None
    assert requests.take_next(store) is None


def test_the_share_that_is_found_again_decides():
    first, noise = np.full(8, 0.03), np.full(8, 0.005)
    assert decide(first, first, noise) == ("confirmed", pytest.approx(1.0))
    assert decide(first, 0.3 * first, noise)[0] == "dismissed"
    assert decide(first, 0.6 * first, noise)[0] == "unclear"
    assert decide(first[:1], first[:1], noise[:1])[0] == "unclear"  # one series, not far enough out
    assert decide(first[:1], first[:1], first[:1] / 10)[0] == "unclear"  # a second mode is found again, too
    assert decide(first[:1], first[:1], first[:1] / 13)[0] == "confirmed"
    assert decide(np.array([np.nan]), np.array([0.1]), noise[:1])[0] == "unclear"


def test_pairs_of_processes_that_agree_decide():
    first, scatter = np.full(4, 0.03), np.random.default_rng(1).normal(0, 0.002, (4, 4))
    assert decide_in_turns(first, first + scatter) == ("confirmed", pytest.approx(1.0, abs=0.1))
    assert decide_in_turns(first, scatter)[0] == "dismissed"
    assert decide_in_turns(first, 0.6 * first + scatter)[0] == "unclear"
    assert decide_in_turns(first[:1], np.array([[0.0], [0.09], [0.0], [0.06]]))[0] == "unclear"
    assert decide_in_turns(first, (first + scatter)[:2])[0] == "unclear"
    assert decide_in_turns(first[:1], np.array([[-0.03], [0.06], [-0.06], [0.05]]))[0] == "unclear"
    busy = np.array([[2.3, 0.4, 0.6, 0.4], [0.6, 0.6, 1.2, 1.0], [0.3, 0.6, 0.7, 1.8], [2.6, 0.6, 2.5, 0.7]])
    assert decide_in_turns(np.full(4, 0.6), busy)[0] == "confirmed"  # as a load of 17 on two cores gave it
    lost = np.where(np.arange(16).reshape(4, 4) < 4, np.nan, first + scatter)  # a pair that gave nothing
    assert decide_in_turns(first, lost)[0] == "confirmed"
    assert decide_in_turns(first, np.full((4, 4), np.nan))[0] == "unclear"


def test_equal_revisions_are_hardly_ever_confirmed():
    random, first = np.random.default_rng(3), np.full(1, 0.03)
    said = [decide_in_turns(first, random.normal(0, 0.02, (5, 1)))[0] for _ in range(1000)]
    assert said.count("confirmed") <= 5


def test_what_the_machine_did_in_between_is_the_median_of_the_others():
    assert machine_between(np.array([1.0, 2.0, 3.0]), np.array([1.1, 2.2, 9.0])) == pytest.approx(1.1)
    assert machine_between(np.zeros(0), np.zeros(0)) == 1.0


def test_judging_anew_replaces_verdicts_says_what_changed_and_moves_no_alert(nights, judge_newest, store):
    for _ in range(8):
        nights.night()
        judge_newest()
    nights.night({"fused": 1.2})
    judge_newest()
    before = alerts(store), alert_events(store)
    found = rejudge(store, CONFIG)
    assert [one.changed for one in found] == [{}] * 9
    strict = rejudge(store, CiConfig(floor=0.5))
    assert strict[-1].changed == {"slower -> same": 12}
    assert "12 slower -> same" in rejudged_text(strict)
    assert {row.verdict for row in verdicts(store, 9)} == {"same"}
    assert (alerts(store), alert_events(store)) == before
