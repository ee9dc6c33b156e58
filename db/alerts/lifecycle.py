"""Lifecycle of an alert: its states, the transitions between them, and an event for each transition.

    open -> acknowledged | muted until a time -> recovering -> resolved (after three clean nights)
    any of these -> accepted (as the new level) | false_alarm | resolved, by a user
    an ended alert -> open, by a user who reopens it

An action names the version of the alert that the user saw, and is refused if the alert changed since.
Notifications are queued in the outbox in the transaction of the transition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from kswatch.db.alerts.causes import LEVEL_CAUSES
from kswatch.db.alerts.outbox import queue_notification
from kswatch.db.backend.mapping import columns_of
from kswatch.db.schema.tables import Alert, AlertEvent, Run
from kswatch.db.store import Store
from kswatch.errors import UsageError

LIVE: tuple[str, ...] = ("open", "acknowledged", "muted", "recovering")
ENDED: tuple[str, ...] = ("resolved", "accepted", "false_alarm")
GOOD_NIGHTS = 3
"""Consecutive clean nights that resolve an alert."""
DETECTOR = "kswatch"
"""The user name of events that no person caused."""
MISSING_DATA, DATA_RESUMED = "silence", "heard again"
"""The cause of an alert on missing data, and the event that ends it."""


@dataclass(frozen=True)
class Action:
    """An action of a user on an alert."""

    from_states: tuple[str, ...]
    to_state: str
    needs_reason: bool = False
    leaves: tuple[str, ...] = ()
    """States that the action does not change."""

    def state_after(self, state: str) -> str:
        """The state of an alert after the action."""
        return state if state in self.leaves else self.to_state


ACTIONS: dict[str, Action] = {
    "acknowledge": Action(("open", "muted", "recovering"), "acknowledged"),
    "unacknowledge": Action(("acknowledged",), "open"),
    "assign": Action(LIVE, "acknowledged", leaves=("muted", "recovering")),
    "mute": Action(LIVE, "muted", needs_reason=True),
    "unmute": Action(("muted",), "open"),
    "resolve": Action(LIVE, "resolved"),
    "accept": Action(LIVE, "accepted", needs_reason=True),
    "false_alarm": Action((*LIVE, "resolved"), "false_alarm", needs_reason=True),
    "reopen": Action(ENDED, "open", needs_reason=True),
}


@dataclass(frozen=True)
class NewAlert:
    """Verdicts with one likely cause, from which an alert is opened or updated."""

    device_id: int
    run_id: int
    verdict: str
    cause: str
    metric: str
    implementation: str
    title: str
    worst_change: float | None = None
    explanation: Mapping[str, object] = field(default_factory=dict)
    confirmed: bool = False


def act(
    store: Store,
    alert_id: int,
    action: str,
    user: str,
    reason: str | None,
    seen_version: int,
    *,
    assigned_to: str | None = None,
    muted_until: datetime | None = None,
) -> int:
    """Carry out a user's action, a key of `ACTIONS`, and return the alert's new version.

    `seen_version` is the alert's version that the user saw. Some actions need a reason, `assign` an
    assignee, and `mute` the time of its end.

    Raises:
        UsageError: there is no such alert or action, it changed meanwhile, its state does not allow
            the action, or a value that the action needs is missing.
    """
    step = ACTIONS.get(action)
    if step is None:
        raise UsageError(f"unknown action {action!r}; choose from {', '.join(ACTIONS)}")
    lacks_time = muted_until is None or muted_until <= datetime.now(UTC)
    is_missing = {
        "a user name": not user.strip(),
        "a reason": step.needs_reason and not (reason or "").strip(),
        "an assignee": action == "assign" and not assigned_to,
        "a time in the future": action == "mute" and lacks_time,
    }
    for needed in (name for name, missing in is_missing.items() if missing):
        raise UsageError(f"{action}: {needed} is required")
    with store.writing() as session:
        alert = _alert(session, alert_id)
        if alert.version != seen_version:
            raise UsageError(
                f"alert {alert_id} has changed since it was shown (version {alert.version}, "
                f"seen {seen_version}); review it again, then decide"
            )
        if alert.state not in step.from_states:
            raise UsageError(
                f"alert {alert_id} is {alert.state}; {action} is for {' or '.join(step.from_states)}"
            )
        alert.assigned_to = assigned_to if action == "assign" else alert.assigned_to
        state = step.state_after(alert.state)
        if state != alert.state or action == "mute":
            alert.muted_until = muted_until if action == "mute" else None
            alert.good_nights = 0
        return _move(session, alert, state, action, user, reason)


def open_alert(store: Store, new: NewAlert) -> int:
    """Open an alert and return its id; if another check of the run was faster, the id of its alert."""
    with store.writing() as session:
        session.get(Run, new.run_id, with_for_update=True)  # another check of the run waits here
        names = ("device_id", "verdict", "cause", "metric", "implementation", "title")
        same = {"opened_run_id": new.run_id} | {name: getattr(new, name) for name in names}
        if known := session.scalars(select(Alert).filter_by(**same)).first():
            return known.id
        values = {column.key: getattr(new, column.key) for column in columns_of(NewAlert, Alert)}
        alert = Alert(opened_run_id=new.run_id, newest_run_id=new.run_id, state="open", version=0, **values)
        alert.explanation = dict(new.explanation)
        session.add(alert)
        session.flush()
        session.add(_event(alert, None, "opened", DETECTOR, None))
        alert.version = 1
        _notify(session, alert, "opened")
        return alert.id


def _notify(session: Session, alert: Alert, word: str) -> None:
    """Queue a notification, unless the alert is provisional or muted."""
    certain = alert.confirmed or alert.cause not in LEVEL_CAUSES
    if certain and alert.state != "muted":
        queue_notification(session, alert, word)


def record_recurrence(store: Store, alert_id: int, new: NewAlert) -> str:
    """Record that the alert's cause was found again in a newer run, and return the alert's state.

    Title, size and explanation are updated; a recovering alert opens again. Others keep their state.
    """
    with store.writing() as session:
        alert = _alert(session, alert_id)
        is_same = (alert.newest_run_id, alert.title) == (new.run_id, new.title)
        if is_same and (alert.confirmed or not new.confirmed):
            return alert.state  # the run was judged again, with the same result, maybe after a confirmation
        alert.newest_run_id, alert.title = new.run_id, new.title
        alert.worst_change, alert.explanation = new.worst_change, dict(new.explanation)
        alert.good_nights = 0
        newly_confirmed = new.confirmed and not alert.confirmed
        alert.confirmed = alert.confirmed or new.confirmed
        to_state = "open" if alert.state == "recovering" else alert.state
        _move(session, alert, to_state, "confirmed" if newly_confirmed else "seen again", DETECTOR, None)
        if newly_confirmed and alert.cause in LEVEL_CAUSES:
            _notify(session, alert, "confirmed")
        return to_state


def record_clean_run(store: Store, alert_id: int, run_id: int) -> str:
    """Record that a newer run does not show the alert's cause, and return the alert's state.

    The first clean run makes it recovering, the last needed one resolves it; a muted alert stays muted
    until then.
    """
    with store.writing() as session:
        alert = _alert(session, alert_id)
        if alert.state not in LIVE or run_id <= alert.newest_run_id or alert.cause == MISSING_DATA:
            return alert.state  # clean results of other cells are no new data
        alert.newest_run_id = run_id
        alert.good_nights += 1
        muted = alert.state == "muted"
        to_state = "resolved" if alert.good_nights >= GOOD_NIGHTS else "muted" if muted else "recovering"
        _move(session, alert, to_state, "good night", DETECTOR, f"{alert.good_nights} of {GOOD_NIGHTS}")
        if to_state == "resolved" and not muted:
            _notify(session, alert, "resolved")
        return to_state


def record_confirmation(store: Store, alert_id: int, decision: str, reason: str) -> None:
    """Apply the result of a confirmation run to a provisional alert; others are left as they are.

    The decision is confirmed, dismissed or unclear, which only adds an event; the reason is the result.
    Without effect where the run was judged before, with the same result.
    """
    with store.writing() as session:
        alert = _alert(session, alert_id)
        if alert.state not in LIVE or alert.confirmed or _newest_reason(session, alert_id) == reason:
            return
        alert.confirmed = decision == "confirmed"
        to_state = "resolved" if decision == "dismissed" else alert.state
        action = "measured again" if decision == "unclear" else decision
        _move(session, alert, to_state, action, DETECTOR, reason)
        if alert.confirmed:
            _notify(session, alert, "confirmed")


def _newest_reason(session: Session, alert_id: int) -> str | None:
    """The reason of the alert's newest event."""
    events = select(AlertEvent.reason).where(AlertEvent.alert_id == alert_id)
    return session.scalar(events.order_by(AlertEvent.id.desc()).limit(1))


def dismiss(store: Store, alert_id: int, reason: str) -> None:
    """Resolve a provisional alert that was not confirmed."""
    _end(store, alert_id, "resolved", "dismissed", reason)


def accept_as_level(store: Store, alert_id: int, reason: str) -> None:
    """Accept the alert's change as the new level, if the alert is live: for the detector, not for users."""
    _end(store, alert_id, "accepted", "accept", reason)


def resolve_missing_data(store: Store, alert_id: int, reason: str) -> None:
    """Resolve an alert on missing data that is measured again."""
    _end(store, alert_id, "resolved", DATA_RESUMED, reason, notify=True)


def _end(
    store: Store, alert_id: int, to_state: str, action: str, reason: str, *, notify: bool = False
) -> None:
    """End an alert if it is live; of a muted one no notification is sent."""
    with store.writing() as session:
        alert = _alert(session, alert_id)
        if alert.state in LIVE:
            was_muted = alert.state == "muted"
            _move(session, alert, to_state, action, DETECTOR, reason)
            if notify and not was_muted:
                _notify(session, alert, to_state)


def unmute_expired(store: Store, now: datetime) -> list[int]:
    """Open the muted alerts whose mute expired, and return their ids."""
    with store.writing() as session:
        expired = select(Alert).where(Alert.state == "muted", Alert.muted_until <= now).with_for_update()
        alerts = list(session.scalars(expired))
        for alert in alerts:
            alert.muted_until = None
            _move(session, alert, "open", "mute ended", DETECTOR, None)
            _notify(session, alert, "no longer muted")
        return [alert.id for alert in alerts]


def _alert(session: Session, alert_id: int) -> Alert:
    alert = session.get(Alert, alert_id, with_for_update=True)
    if alert is None:
        raise UsageError(f"there is no alert {alert_id}; `kswatch alerts` lists them")
    return alert


def _move(session: Session, alert: Alert, to_state: str, action: str, user: str, reason: str | None) -> int:
    from_state = alert.state
    alert.state = to_state
    alert.version += 1
    session.add(_event(alert, from_state, action, user, reason))
    return alert.version


def _event(alert: Alert, from_state: str | None, action: str, user: str, reason: str | None) -> AlertEvent:
    return AlertEvent(
        alert_id=alert.id,
        at=datetime.now(UTC),
        who=user,
        action=action,
        reason=reason,
        from_state=from_state,
        to_state=alert.state,
    )
