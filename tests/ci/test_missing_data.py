from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kswatch.ci.config import CiConfig
from kswatch.ci.missing_data import look_for_silence
from kswatch.db.alerts import outbox
from kswatch.db.alerts.lifecycle import NewAlert, act, bad_night, dismiss, good_night, open_alert
from kswatch.db.alerts.precision import precision, stale_mutes
from kswatch.db.coordination import lost_workers
from kswatch.db.queries.basic import alert, alerts, runs
from kswatch.db.records import DeviceRecord
from tests.ci.nights import PROBLEMS, START, Nights

CONFIG = CiConfig()


def look(store, hours_after_the_newest: float = 20.0) -> list[str]:
    newest = runs(store, limit=1)[0].started_at
    return [
        one.title for one in look_for_silence(store, CONFIG, newest + timedelta(hours=hours_after_the_newest))
    ]


def test_a_device_that_is_measured_every_night_is_not_silent(store, nights):
    nights.quiet(5)
    assert look(store) == []


def test_a_device_without_a_night_is_one_alert_that_is_told(store, nights):
    nights.quiet(2)
    (title,) = look(store, 61)
    assert (
        title
        == f"Tesla Planted is silent: no nightly run since {START + timedelta(days=2):%Y-%m-%d %H:%M} UTC"
    )
    assert look(store, 200) == [title] and len(alerts(store)) == 1
    assert [one.title for one in outbox.messages(store)] == [f"alert 1 opened: {title}"]


def test_a_silence_ends_with_the_next_night_and_a_new_one_is_another_alert(store, nights):
    nights.quiet(2)
    look(store, 61)
    nights.quiet(1)
    assert look(store) == [] and alert(store, 1).state == "resolved"
    assert len(look(store, 61)) == 1 and len(alerts(store)) == 2


def test_a_silence_that_a_person_ended_is_not_told_again(store, nights):
    nights.quiet(2)
    look(store, 61)
    act(store, 1, "accept", "ann", "it was sold", 1)
    assert look(store, 100) == [] and len(alerts(store)) == 1


def test_other_fine_nights_do_not_end_a_silence(store, nights):
    nights.quiet(5)
    nights.night(problems=PROBLEMS[1:])
    nights.night(problems=PROBLEMS[1:])
    look(store)
    assert good_night(store, 1, 99) == "open"


def test_a_pattern_that_disappeared_is_an_alert_until_it_is_back(store, nights):
    nights.quiet(5)
    gone = {one.pattern for one in PROBLEMS} - {one.pattern for one in PROBLEMS[4:]}
    assert gone
    nights.night(problems=PROBLEMS[4:])
    assert look(store) == []  # one night may have been cut short
    nights.night(problems=PROBLEMS[4:])
    (title,) = look(store)
    assert "no longer measured on Tesla Planted" in title
    assert set(alert(store, 1).explanation["patterns"]) == gone
    for _ in range(6):
        nights.night(problems=PROBLEMS[4:])
        assert look(store) == [title]
    assert len(alerts(store)) == 1
    nights.quiet(1)
    assert look(store) == []


def test_simulated_devices_and_ad_hoc_runs_say_nothing_of_silence(store):
    simulated = Nights(
        store, device=DeviceRecord(uuid="sim-1", kind="cuda", model="Simulated", simulated=True)
    )
    simulated.night(origin="simulated")
    Nights(store).night(kind="ad_hoc")
    assert look_for_silence(store, CONFIG, datetime.now(UTC) + timedelta(days=900)) == []


def test_a_lost_worker_is_one_alert_that_is_told_until_its_run_goes_on(store, nights):
    nights.quiet(1)
    run_id = nights.night(state="interrupted")
    lost_workers.say_lost(store, run_id, "interrupted: the worker was gone for 600 s")
    (title,) = look(store)
    assert title.startswith("Tesla Planted lost its worker: run 2 waits since")
    assert title.endswith("UTC; interrupted: the worker was gone for 600 s")
    assert look(store, 200) == [title]  # the same cause: the device's silence is no second alert
    assert [one.title for one in outbox.messages(store)] == [f"alert 1 opened: {title}"]
    lost_workers.say_back(store, run_id)
    assert look(store) == [] and alert(store, 1).state == "resolved"
    assert outbox.messages(store)[-1].title.startswith("alert 1 resolved")
    lost_workers.say_lost(store, run_id, "gone again")
    assert len(look(store)) == 1 and len(alerts(store)) == 2


def test_a_lost_worker_whose_device_is_measured_anew_is_lost_no_more(store, nights):
    run_id = nights.night(state="interrupted")
    lost_workers.say_lost(store, run_id, "gone")
    assert len(look(store)) == 1
    nights.quiet(1)
    assert look(store) == []


def test_a_lost_worker_of_a_simulated_device_is_told_as_well(store):
    device = DeviceRecord(uuid="sim-1", kind="cuda", model="Simulated H200", simulated=True)
    run_id = Nights(store, device=device).night(origin="simulated", state="interrupted")
    lost_workers.say_lost(store, run_id, "gone")
    (title,) = look(store)
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
    found = precision(store)
    assert (found.real, found.false_alarms, found.undecided, found.dismissed) == (3, 1, 1, 1)
    assert found.share == 0.75
    assert precision(store, datetime.now(UTC) + timedelta(days=1)).share is None


def test_a_mute_of_which_nothing_is_seen_any_more_is_stale(store, new):
    alert_id = opened(store, new, "muted")
    now = datetime.now(UTC)
    act(store, alert_id, "mute", "ann", "known", 1, muted_until=now + timedelta(days=900))
    month = timedelta(days=30)
    assert stale_mutes(store, now, month) == []
    ((stale, since),) = stale_mutes(store, now + timedelta(days=31), month)
    assert stale.id == alert_id and abs(since - now) < timedelta(minutes=1)
    bad_night(store, alert_id, NewAlert(**{**vars(new), "title": "muted", "run_id": new.run_id + 1}))
    assert len(stale_mutes(store, now + timedelta(days=31), month)) == 1
