from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kswatch.db.alerts import outbox
from kswatch.db.alerts.lifecycle import (
    ACTIONS,
    DETECTOR,
    ENDED,
    LIVE,
    NewAlert,
    act,
    dismiss,
    open_alert,
    record_clean_run,
    record_recurrence,
    unmute_expired,
)
from kswatch.db.queries import basic as queries
from kswatch.errors import UsageError
from tests.db.sample_records import night

TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def nights(store) -> list[int]:
    return [night(store, {"fused": 1.0}) for _ in range(6)]


@pytest.fixture
def new(store, nights) -> NewAlert:
    device = queries.find_device(store, None).id
    return NewAlert(device, nights[0], "slower", "code", "latency_ms", "fused", "fused is 10 % slower", 0.1)


def state(store, alert_id) -> str:
    return queries.alert(store, alert_id).state


def events_of(store, alert_id) -> list[tuple[str, str, str]]:
    return [(event.who, event.action, event.to_state) for event in queries.alert_events(store, alert_id)]


def test_three_clean_nights_resolve_an_alert(store, nights, new):
    alert_id = open_alert(store, new)
    assert [record_clean_run(store, alert_id, run_id) for run_id in nights[1:4]] == [
        "recovering",
        "recovering",
        "resolved",
    ]
    assert [event.reason for event in queries.alert_events(store, alert_id)][1:] == [
        "1 of 3",
        "2 of 3",
        "3 of 3",
    ]


def test_a_night_that_is_judged_repeatedly_counts_once(store, nights, new):
    alert_id = open_alert(store, new)
    for _ in range(5):
        record_clean_run(store, alert_id, nights[1])
    assert queries.alert(store, alert_id).good_nights == 1


def test_a_recurrence_reopens_a_recovering_alert_and_resets_its_count(store, nights, new):
    alert_id = open_alert(store, new)
    record_clean_run(store, alert_id, nights[1])
    worse = replace(new, run_id=nights[2], title="fused is 12 % slower", worst_change=0.12, confirmed=True)
    assert record_recurrence(store, alert_id, worse) == "open"
    found = queries.alert(store, alert_id)
    assert (found.good_nights, found.worst_change, found.confirmed) == (0, 0.12, True)
    assert events_of(store, alert_id)[-1] == (DETECTOR, "confirmed", "open")


def test_judging_a_night_again_adds_no_event(store, nights, new):
    alert_id = open_alert(store, new)
    record_recurrence(store, alert_id, replace(new, run_id=nights[1]))
    version = queries.alert(store, alert_id).version
    record_recurrence(store, alert_id, replace(new, run_id=nights[1]))
    assert queries.alert(store, alert_id).version == version


def test_an_action_on_an_outdated_version_is_refused(store, nights, new):
    alert_id = open_alert(store, new)
    version = act(store, alert_id, "acknowledge", "me", None, seen_version=1)
    assert version == 2
    with pytest.raises(UsageError, match="version 2, seen 1.; review it again"):
        act(store, alert_id, "resolve", "you", None, seen_version=1)
    assert events_of(store, alert_id) == [(DETECTOR, "opened", "open"), ("me", "acknowledge", "acknowledged")]


def test_a_muted_alert_opens_again_when_its_mute_expires(store, nights, new):
    alert_id = open_alert(store, new)
    act(store, alert_id, "mute", "me", "known driver bug", 1, muted_until=TOMORROW)
    assert record_clean_run(store, alert_id, nights[1]) == "muted"
    assert unmute_expired(store, TOMORROW - timedelta(hours=1)) == []
    assert unmute_expired(store, TOMORROW) == [alert_id]
    assert (state(store, alert_id), queries.alert(store, alert_id).muted_until) == ("open", None)


def test_a_provisional_alert_that_was_not_confirmed_is_dismissed(store, nights, new):
    alert_id = open_alert(store, new)
    dismiss(store, alert_id, "measured again: 0.1 % faster")
    assert events_of(store, alert_id)[-1] == (DETECTOR, "dismissed", "resolved")
    assert record_clean_run(store, alert_id, nights[1]) == "resolved"


def test_an_alert_can_be_assigned(store, nights, new):
    alert_id = open_alert(store, new)
    act(store, alert_id, "assign", "me", None, 1, assigned_to="you")
    found = queries.alert(store, alert_id)
    assert (found.state, found.assigned_to) == ("acknowledged", "you")


def test_assigning_a_muted_alert_leaves_it_muted(store, nights, new):
    alert_id = open_alert(store, new)
    act(store, alert_id, "mute", "me", "known", 1, muted_until=TOMORROW)
    act(store, alert_id, "assign", "me", None, 2, assigned_to="you")
    found = queries.alert(store, alert_id)
    assert (found.state, found.assigned_to, found.muted_until) == ("muted", "you", TOMORROW)


def test_an_acknowledgement_is_taken_back(store, nights, new):
    alert_id = open_alert(store, new)
    version = act(store, alert_id, "acknowledge", "me", None, 1)
    act(store, alert_id, "unacknowledge", "me", None, version)
    assert queries.alert(store, alert_id).state == "open"


@pytest.mark.parametrize("action", ["accept", "false_alarm", "reopen", "mute"])
def test_an_action_that_overrides_the_detector_needs_a_reason(store, nights, new, action):
    with pytest.raises(UsageError, match=f"{action}: a reason is required"):
        act(store, open_alert(store, new), action, "me", " ", 1, muted_until=TOMORROW)


@pytest.mark.parametrize(
    ("action", "options", "message"),
    [
        ("mute", {}, "a time in the future"),
        ("mute", {"muted_until": datetime(2020, 1, 1, tzinfo=UTC)}, "a time in the future"),
        ("assign", {}, "an assignee is required"),
        ("explode", {}, "unknown action 'explode'"),
        ("unmute", {}, "is open; unmute is for muted"),
    ],
)
def test_an_invalid_action_is_refused(store, nights, new, action, options, message):
    with pytest.raises(UsageError, match=message):
        act(store, open_alert(store, new), action, "me", "because", 1, **options)


def test_every_action_leads_from_known_states_to_a_known_state():
    for action in ACTIONS.values():
        assert {*action.from_states, action.to_state} <= {*LIVE, *ENDED}


def test_an_alert_that_ended_can_be_reopened(store, nights, new):
    alert_id = open_alert(store, new)
    act(store, alert_id, "false_alarm", "me", "my fan", 1)
    act(store, alert_id, "reopen", "you", "not only yours", 2)
    assert state(store, alert_id) == "open"
    assert [alert.id for alert in queries.alerts(store, states=["open"])] == [alert_id]


WAYS = {
    "open": (),
    "acknowledged": ("acknowledge",),
    "muted": ("mute",),
    "recovering": ("a good night",),
    "resolved": ("resolve",),
    "accepted": ("accept",),
    "false_alarm": ("false_alarm",),
}
"""How an alert that was just opened comes into each state."""


def in_state(store, new, nights, number: int, wanted: str) -> int:
    alert_id = open_alert(store, replace(new, title=f"alert {number}"))
    for step in WAYS[wanted]:
        if step == "a good night":
            record_clean_run(store, alert_id, nights[1])
        else:
            act(store, alert_id, step, "me", "because", 1, muted_until=TOMORROW)
    assert state(store, alert_id) == wanted
    return alert_id


def test_each_action_is_taken_in_its_states_and_refused_in_all_others(sqlite_store):
    assert set(WAYS) == {*LIVE, *ENDED}
    nights = [night(sqlite_store, {"fused": 1.0}) for _ in range(2)]
    device = queries.find_device(sqlite_store, None).id
    new = NewAlert(device, nights[0], "slower", "code", "latency_ms", "fused", "", confirmed=True)
    for number, (name, before) in enumerate(itertools.product(ACTIONS, WAYS)):
        alert_id = in_state(sqlite_store, new, nights, number, before)
        seen = queries.alert(sqlite_store, alert_id)
        events = len(queries.alert_events(sqlite_store, alert_id))
        options = {"assigned_to": "you", "muted_until": TOMORROW}
        if before in ACTIONS[name].from_states:
            assert act(sqlite_store, alert_id, name, "me", "because", seen.version, **options) > seen.version
            assert state(sqlite_store, alert_id) == ACTIONS[name].state_after(before)
            event = queries.alert_events(sqlite_store, alert_id)[-1]
            assert (event.who, event.reason, event.from_state) == ("me", "because", before)
        else:
            with pytest.raises(UsageError, match=f"is {before}; {name} is for"):
                act(sqlite_store, alert_id, name, "me", "because", seen.version, **options)
            assert queries.alert(sqlite_store, alert_id) == seen
            assert len(queries.alert_events(sqlite_store, alert_id)) == events


def test_a_muted_alert_is_resolved_without_a_notification(store, nights, new):
    alert_id = open_alert(store, replace(new, confirmed=True))
    act(store, alert_id, "mute", "me", "known", 1, muted_until=TOMORROW)
    assert [record_clean_run(store, alert_id, run_id) for run_id in nights[1:4]] == [
        "muted",
        "muted",
        "resolved",
    ]
    assert [one.title.split(":")[0] for one in outbox.messages(store)] == [f"alert {alert_id} opened"]
