from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kswatch.ci.config import CiConfig
from kswatch.ci.missing_data import check_missing_data
from kswatch.db.alerts import outbox
from kswatch.db.alerts.lifecycle import (
    NewAlert,
    act,
    dismiss,
    open_alert,
    record_clean_run,
    record_recurrence,
)
from kswatch.db.alerts.precision import alert_precision, stale_mutes
from kswatch.db.coordination import run_events
from kswatch.db.queries.basic import alert, alerts, runs
from kswatch.db.records import DeviceRecord
from tests.ci.nights import PROBLEMS, START, Nights

CONFIG = CiConfig()


def live_titles(store, hours_after_the_newest: float = 20.0) -> list[str]:
    newest = runs(store, limit=1)[0].started_at
    return [
        one.title
        for one in check_missing_data(store, CONFIG, newest + timedelta(hours=hours_after_the_newest))
    ]


def test_a_device_measured_every_night_has_no_missing_data(store, nights):
    nights.quiet(5)
    assert live_titles(store) == []


def test_a_device_without_a_nightly_run_has_one_alert_and_notification(store, nights):
    nights.quiet(2)
    (title,) = live_titles(store, 61)
    since = START + timedelta(days=2)
    assert title == f"Tesla Planted stopped reporting: no nightly run since {since:%Y-%m-%d %H:%M} UTC"
    assert live_titles(store, 200) == [title] and len(alerts(store)) == 1
    assert [one.title for one in outbox.messages(store)] == [f"alert 1 opened: {title}"]


def test_missing_data_end_with_the_next_night_and_a_new_gap_is_another_alert(store, nights):
    nights.quiet(2)
    live_titles(store, 61)
    nights.quiet(1)
    assert live_titles(store) == [] and alert(store, 1).state == "resolved"
    assert len(live_titles(store, 61)) == 1 and len(alerts(store)) == 2


def test_a_missing_data_alert_that_a_user_ended_is_not_opened_again(store, nights):
    nights.quiet(2)
    live_titles(store, 61)
    act(store, 1, "accept", "ann", "it was sold", 1)
    assert live_titles(store, 100) == [] and len(alerts(store)) == 1


def test_other_nights_do_not_end_a_gap(store, nights):
    nights.quiet(5)
    nights.night(problems=PROBLEMS[1:])
    nights.night(problems=PROBLEMS[1:])
    live_titles(store)
    assert record_clean_run(store, 1, 99) == "open"


def test_a_pattern_that_disappeared_is_an_alert_until_it_is_back(store, nights):
    nights.quiet(5)
    missing = {one.pattern for one in PROBLEMS} - {one.pattern for one in PROBLEMS[4:]}
    assert missing
    nights.night(problems=PROBLEMS[4:])
    assert live_titles(store) == []  # one night may have been cut short
    nights.night(problems=PROBLEMS[4:])
    (title,) = live_titles(store)
    assert "no longer measured on Tesla Planted" in title
    assert set(alert(store, 1).explanation["patterns"]) == missing
    for _ in range(6):
        nights.night(problems=PROBLEMS[4:])
        assert live_titles(store) == [title]
    assert len(alerts(store)) == 1
    nights.quiet(1)
    assert live_titles(store) == []


def test_simulated_devices_and_ad_hoc_runs_make_no_missing_data(store):
    simulated = Nights(
        store, device=DeviceRecord(uuid="sim-1", kind="cuda", model="Simulated", simulated=True)
    )
    simulated.night(origin="simulated")
    Nights(store).night(kind="ad_hoc")
    assert check_missing_data(store, CONFIG, datetime.now(UTC) + timedelta(days=900)) == []


def test_a_lost_worker_has_one_alert_until_its_run_continues(store, nights):
    nights.quiet(1)
    run_id = nights.night(state="interrupted")
    run_events.mark_worker_lost(store, run_id, "interrupted: the worker was gone for 600 s")
    (title,) = live_titles(store)
    assert title.startswith("Tesla Planted lost its worker: run 2 has been waiting since")
    assert title.endswith("UTC; interrupted: the worker was gone for 600 s")
    assert live_titles(store, 200) == [title]  # the same cause: the device has no second alert
    assert [one.title for one in outbox.messages(store)] == [f"alert 1 opened: {title}"]
    run_events.mark_worker_back(store, run_id)
    assert live_titles(store) == [] and alert(store, 1).state == "resolved"
    assert outbox.messages(store)[-1].title.startswith("alert 1 resolved")
    run_events.mark_worker_lost(store, run_id, "gone again")
    assert len(live_titles(store)) == 1 and len(alerts(store)) == 2


def test_a_lost_worker_alert_is_resolved_when_its_device_is_measured_again(store, nights):
    run_id = nights.night(state="interrupted")
    run_events.mark_worker_lost(store, run_id, "gone")
    assert len(live_titles(store)) == 1
    nights.quiet(1)
    assert live_titles(store) == []


def test_a_lost_worker_of_a_simulated_device_has_an_alert_too(store):
    device = DeviceRecord(uuid="sim-1", kind="cuda", model="Simulated H200", simulated=True)
    run_id = Nights(store, device=device).night(origin="simulated", state="interrupted")
    run_events.mark_worker_lost(store, run_id, "gone")
    (title,) = live_titles(store)
    assert title.startswith("Simulated H200 lost its worker")


@pytest.fixture
def new(store, nights) -> NewAlert:
    run_id = nights.quiet(3)[0]
    return NewAlert(
        runs(store)[0].device_id, run_id, "slower", "code", "latency_ms", "fused", "x", confirmed=True
    )


def opened(store, new: NewAlert, title: str, **changes) -> int:
    return open_alert(store, NewAlert(**{**vars(new), "title": title, **changes}))


def test_precision_counts_real_and_false_alarms_among_those_decided(store, new):
    for number in range(3):
        act(store, opened(store, new, f"real {number}"), "resolve", "ann", None, 1)
    act(store, opened(store, new, "false"), "false_alarm", "ann", "a blocked cooler", 1)
    opened(store, new, "undecided")
    dismiss(store, opened(store, new, "provisional", confirmed=False), "not seen again")
    opened(store, new, "another machine", cause="canary")
    act(store, opened(store, new, "faster", verdict="faster"), "accept", "kswatch", "level", 1)
    found = alert_precision(store)
    assert (found.real, found.false_alarms, found.undecided, found.dismissed) == (3, 1, 1, 1)
    assert found.share == 0.75
    assert alert_precision(store, datetime.now(UTC) + timedelta(days=1)).share is None


def test_a_mute_of_which_nothing_is_seen_any_more_is_stale(store, new):
    alert_id = opened(store, new, "muted")
    now = datetime.now(UTC)
    act(store, alert_id, "mute", "ann", "known", 1, muted_until=now + timedelta(days=900))
    month = timedelta(days=30)
    assert stale_mutes(store, now, month) == []
    ((stale, since),) = stale_mutes(store, now + timedelta(days=31), month)
    assert stale.id == alert_id and abs(since - now) < timedelta(minutes=1)
    record_recurrence(store, alert_id, NewAlert(**{**vars(new), "title": "muted", "run_id": new.run_id + 1}))
    assert len(stale_mutes(store, now + timedelta(days=31), month)) == 1
