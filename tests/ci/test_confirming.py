from __future__ import annotations

import numpy as np
import pytest

from ci.check import judge
from ci.config import CiConfig
from ci.confirming import ask_again
from ci.rejudging import rejudge, rejudged_text
from ci.remeasured import decide, machine_between
from db import requests
from db.queries import alert_events, alerts, request, run, verdicts
from db.records import RunRecord
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


def measured_again(nights, store, asked, factors):
    """A confirm run that answers the request."""
    begin = store.begin_run

    def begin_for_request(record: RunRecord, identity=None):
        from dataclasses import replace

        return begin(replace(record, request_id=asked), identity)

    store.begin_run = begin_for_request
    run_id = nights.night(factors, kind="confirm")
    store.begin_run = begin
    return judge(store, run_id, CONFIG, now=START)


def test_a_provisional_night_is_asked_for_again_once_with_its_cells(provisional, store):
    run_id, asked = provisional
    wanted = request(store, asked)
    assert (wanted.kind, wanted.arguments["of_run"]) == ("confirm", run_id)
    assert 4 <= len(wanted.arguments["problem"]) <= len(PROBLEMS)  # those that the pool carries
    assert wanted.arguments["good_revision"]
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
