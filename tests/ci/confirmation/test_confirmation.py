from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.decision import decide_interleaved, decide_repeated, machine_change
from kswatch.ci.confirmation.request import request_confirmation
from kswatch.ci.rejudge import format_rejudged, rejudge
from kswatch.db.paired_runs import ratios as paired_ratios
from kswatch.db.paired_runs.paired_record import PairedReading
from kswatch.db.queries.basic import alert_events, alerts, request, run, verdicts
from kswatch.db.queries.regression_inputs import newest_points
from kswatch.db.records import RevisionRecord, RunRecord
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.events import record_unpaired
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
    return run_id, request_confirmation(store, run(store, run_id), CONFIG)


def record_confirmation(nights, store, request_id, factors, **arguments):
    """The judgement of a confirm run that answers the request."""
    return judge(store, answered(nights, store, request_id, factors, **arguments), CONFIG, now=START)


def answered(nights, store, request_id, factors, **arguments):
    begin = store.begin_run

    def begin_for_request(record: RunRecord):
        return begin(replace(record, request_id=request_id, arguments=arguments))

    store.begin_run = begin_for_request
    run_id = nights.night(factors, kind="confirm")
    store.begin_run = begin
    return run_id


def measured_interleaved(nights, store, request_id, base, head, pairs=4):
    """The judgement of the last of pairs of confirm runs that answer the request."""
    nights.noise = 0.001
    for _ in range(pairs):
        runs = [answered(nights, store, request_id, {"fused": base}, side="base")]
        runs.append(answered(nights, store, request_id, {"fused": head}, side="head"))
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


def test_the_cells_of_a_provisional_night_are_requested_once(provisional, store):
    run_id, request_id = provisional
    requested = request(store, request_id)
    assert (requested.kind, requested.arguments["of_run"]) == ("confirm", run_id)
    assert 4 <= len(requested.arguments["problem"]) <= len(PROBLEMS)  # those that the pool carries
    assert (requested.arguments["good_revision"], requested.arguments["bad_revision"]) == (
        f"{15:040x}",
        f"{16:040x}",
    )
    assert requested.arguments["flagged"] == ["fused"]
    assert request_confirmation(store, run(store, run_id), CONFIG) is None


def test_a_reproduced_change_is_confirmed_and_fails_the_check(provisional, nights, store):
    _, request_id = provisional
    nights.noise = 0.001
    judged = record_confirmation(nights, store, request_id, {"fused": 1.08})
    assert judged.exit_code == 1
    assert alerts(store)[0].confirmed
    assert alert_events(store)[-1].action == "confirmed"
    assert verdicts(store, judged.judgements[0].run.id) == []  # it enters no series
    assert judge(store, None, CONFIG, now=START).exit_code == 1


def test_a_change_that_does_not_reproduce_is_dismissed(provisional, nights, store):
    _, request_id = provisional
    judged = record_confirmation(nights, store, request_id, {})
    assert judged.exit_code == 0
    assert [one.state for one in alerts(store)] == ["resolved"]
    assert [change.transition for change in judged.judgements[0].alerts] == ["resolved"]


def test_a_change_that_the_good_revision_shows_too_is_dismissed(provisional, nights, store):
    _, request_id = provisional
    judged = measured_interleaved(nights, store, request_id, base=1.025, head=1.025)
    assert judged.exit_code == 0
    assert [one.state for one in alerts(store)] == ["resolved"]
    assert "interleaved with the last good revision" in alert_events(store)[-1].reason


def test_a_change_of_the_flagged_revision_alone_is_confirmed_on_a_changed_machine(provisional, nights, store):
    _, request_id = provisional
    judged = measured_interleaved(nights, store, request_id, base=0.97, head=0.97 * 1.025)
    assert judged.exit_code == 1 and alerts(store)[0].confirmed
    assert "interleaved with the last good revision" in alert_events(store)[-1].reason


def test_too_few_pairs_of_processes_decide_nothing(provisional, nights, store):
    _, request_id = provisional
    measured_interleaved(nights, store, request_id, base=1.0, head=1.0, pairs=2)
    assert [(one.state, one.confirmed) for one in alerts(store)] == [("open", False)]


def test_the_reason_for_not_measuring_the_good_revision_is_recorded(provisional, nights, store):
    _, request_id = provisional
    record_unpaired(store, request_id, "the base revision 0f does not build")
    record_confirmation(nights, store, request_id, {})
    assert alert_events(store)[-1].reason.endswith(
        "; without the last good revision: the base revision 0f does not build"
    )


@pytest.mark.parametrize(
    ("revisions", "why"),
    [
        ((None, RevisionRecord("b" * 40)), "is unknown"),
        ((RevisionRecord("a" * 40), RevisionRecord("b" * 40, dirty=True)), "uncommitted changes"),
        ((RevisionRecord("a" * 40), RevisionRecord("a" * 40)), "both nights measured revision aaaaaaaaaaaa"),
    ],
)
def test_without_two_revisions_the_request_holds_the_reason(nights, judge_newest, store, revisions, why):
    nights.noise = 0.01
    nights.quiet(14)
    nights.noise = 0.0
    begin = store.begin_run
    for revision, factors in zip(revisions, ({}, SMALL), strict=True):
        store.begin_run = lambda record, of=revision: begin(replace(record, revision=of))
        run_id = nights.night(factors)
    store.begin_run = begin
    judge_newest()
    request_id = request_confirmation(store, run(store, run_id), CONFIG)
    assert why in request(store, request_id).arguments["why_alone"]
    assert "good_revision" not in request(store, request_id).arguments


def test_a_quiet_or_a_confirmed_night_is_not_measured_again(nights, judge_newest, store):
    nights.quiet(8)
    assert request_confirmation(store, run(store, 8), CONFIG) is None
    nights.night({"fused": 1.2})
    judge_newest()
    assert request_confirmation(store, run(store, 9), CONFIG) is None
    assert requests.queued(store) == []


def test_the_share_that_is_found_again_decides():
    first, noise = np.full(8, 0.03), np.full(8, 0.005)
    assert decide_repeated(first, first, noise) == ("confirmed", pytest.approx(1.0))
    assert decide_repeated(first, 0.3 * first, noise)[0] == "dismissed"
    assert decide_repeated(first, 0.6 * first, noise)[0] == "unclear"
    few = first[:3]  # outliers and second modes are found again, too, however far they are
    assert decide_repeated(few, few, few / 100)[0] == "unclear"
    assert decide_repeated(few, 0.3 * few, few / 100)[0] == "dismissed"
    assert decide_repeated(first[:4], first[:4], first[:4] / 3)[0] == "unclear"  # all together 6 units
    assert decide_repeated(first[:4], first[:4], first[:4] / 5)[0] == "confirmed"
    assert decide_repeated(np.array([np.nan]), np.array([0.1]), noise[:1])[0] == "unclear"


def test_pairs_of_processes_that_agree_decide():
    first, scatter = np.full(4, 0.03), np.random.default_rng(1).normal(0, 0.002, (4, 4))
    assert decide_interleaved(first, first + scatter) == ("confirmed", pytest.approx(1.0, abs=0.1))
    assert decide_interleaved(first, scatter)[0] == "dismissed"
    assert decide_interleaved(first, 0.6 * first + scatter)[0] == "unclear"
    assert decide_interleaved(first[:1], np.array([[0.0], [0.09], [0.0], [0.06]]))[0] == "unclear"
    assert decide_interleaved(first, (first + scatter)[:2])[0] == "unclear"
    assert decide_interleaved(first[:1], np.array([[-0.03], [0.06], [-0.06], [0.05]]))[0] == "unclear"
    busy = np.array([[2.3, 0.4, 0.6, 0.4], [0.6, 0.6, 1.2, 1.0], [0.3, 0.6, 0.7, 1.8], [2.6, 0.6, 2.5, 0.7]])
    assert decide_interleaved(np.full(4, 0.6), busy)[0] == "confirmed"  # as a load of 17 on two cores gave it
    lost = np.where(np.arange(16).reshape(4, 4) < 4, np.nan, first + scatter)  # a pair that gave nothing
    assert decide_interleaved(first, lost)[0] == "confirmed"
    assert decide_interleaved(first, np.full((4, 4), np.nan))[0] == "unclear"


def test_equal_revisions_are_hardly_ever_confirmed():
    random, first = np.random.default_rng(3), np.full(1, 0.03)
    decisions = [decide_interleaved(first, random.normal(0, 0.02, (5, 1)))[0] for _ in range(1000)]
    assert decisions.count("confirmed") <= 5


def test_the_machine_s_change_in_between_is_the_median_of_the_others():
    assert machine_change(np.array([1.0, 2.0, 3.0]), np.array([1.1, 2.2, 9.0])) == pytest.approx(1.1)
    assert machine_change(np.zeros(0), np.zeros(0)) == 1.0


def test_rejudging_replaces_verdicts_reports_changes_and_changes_no_alert(nights, judge_newest, store):
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
    assert "12 slower -> same" in format_rejudged(strict)
    assert {row.verdict for row in verdicts(store, 9)} == {"same"}
    assert (alerts(store), alert_events(store)) == before
