"""The life of an alert: its states, who may move it where, and an event for everything that happens.

    open -> acknowledged | muted until a time -> recovering -> resolved (after three good nights)
    any of these -> accepted (as the new level) | false_alarm | resolved, by a person
    an alert that ended -> open, by a person who reopens it

A person acts on what was seen: an alert that changed meanwhile refuses the act. What people should hear
of is written to the outbox in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from kswatch.db.alerts.outbox import queue_news
from kswatch.db.schema.tables import Alert, AlertEvent, Run
from kswatch.db.store import Store
from kswatch.errors import UsageError

LIVE: tuple[str, ...] = ("open", "acknowledged", "muted", "recovering")
ENDED: tuple[str, ...] = ("resolved", "accepted", "false_alarm")
GOOD_NIGHTS = 3
"""So many good nights in a row resolve an alert."""
DETECTOR = "kswatch"
"""Who did what no person did."""
SILENCE, HEARD = "silence", "heard again"
"""The cause of an alert on what is no longer measured, and the event that ends it."""
_TOLD_WHEN_CONFIRMED = frozenset({"code", "baseline"})
"""Causes that chance may look like; of any other people hear at once."""


@dataclass(frozen=True)
class Action:
    """Something a person may do with an alert."""

    from_states: tuple[str, ...]
    to_state: str
    needs_reason: bool = False


ACTIONS: dict[str, Action] = {
    "acknowledge": Action(("open", "muted", "recovering"), "acknowledged"),
    "assign": Action(LIVE, "acknowledged"),
    "mute": Action(LIVE, "muted", needs_reason=True),
    "unmute": Action(("muted",), "open"),
    "resolve": Action(LIVE, "resolved"),
    "accept": Action(LIVE, "accepted", needs_reason=True),
    "false_alarm": Action((*LIVE, "resolved"), "false_alarm", needs_reason=True),
    "reopen": Action(ENDED, "open", needs_reason=True),
}


@dataclass(frozen=True)
class NewAlert:
    """Verdicts with one likely cause, as they are first told."""

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
    who: str,
    reason: str | None,
    seen_version: int,
    *,
    assigned_to: str | None = None,
    muted_until: datetime | None = None,
) -> int:
    """Do what a person asks, and give the alert's new version.

    Args:
        store: to write to.
        alert_id: on which alert.
        action: a key of `ACTIONS`.
        who: the person.
        reason: why; muting, accepting, calling it false and reopening need one.
        seen_version: the alert's version when the person saw it.
        assigned_to: for `assign`: whose it is now.
        muted_until: for `mute`: when it opens again.

    Raises:
        UsageError: there is no such alert or action, it changed meanwhile, its state does not allow
            the action, or something that the action needs is missing.
    """
    step = ACTIONS.get(action)
    if step is None:
        raise UsageError(f"unknown action {action!r}; choose from {', '.join(ACTIONS)}")
    _refuse_incomplete(action, step, who, reason, assigned_to, muted_until)
    with store.writing() as session:
        alert = _alert(session, alert_id)
        if alert.version != seen_version:
            raise UsageError(
                f"alert {alert_id} has changed since it was shown (version {alert.version}, "
                f"seen {seen_version}); look at it again, then decide"
            )
        if alert.state not in step.from_states:
            raise UsageError(
                f"alert {alert_id} is {alert.state}; {action} is for {' or '.join(step.from_states)}"
            )
        alert.assigned_to = assigned_to if action == "assign" else alert.assigned_to
        alert.muted_until = muted_until if action == "mute" else None
        alert.good_nights = 0
        return _move(session, alert, step.to_state, action, who, reason)


def _refuse_incomplete(
    action: str,
    step: Action,
    who: str,
    reason: str | None,
    assigned_to: str | None,
    muted_until: datetime | None,
) -> None:
    if not who.strip():
        raise UsageError(f"{action}: say who you are")
    if step.needs_reason and not (reason or "").strip():
        raise UsageError(f"{action}: give a reason; others will ask")
    if action == "assign" and not assigned_to:
        raise UsageError("assign: say to whom")
    if action == "mute" and (muted_until is None or muted_until <= datetime.now(UTC)):
        raise UsageError("mute: say until when, a time to come")


def open_alert(store: Store, new: NewAlert) -> int:
    """Open an alert and give its id; the id of the same one where another judge of the run was faster."""
    with store.writing() as session:
        session.get(Run, new.run_id, with_for_update=True)  # the other judge waits here
        if known := session.scalars(_the_same(new)).first():
            return known.id
        alert = Alert(
            device_id=new.device_id,
            opened_run_id=new.run_id,
            newest_run_id=new.run_id,
            state="open",
            confirmed=new.confirmed,
            verdict=new.verdict,
            cause=new.cause,
            metric=new.metric,
            implementation=new.implementation,
            title=new.title,
            worst_change=new.worst_change,
            explanation=dict(new.explanation),
            version=0,
        )
        session.add(alert)
        session.flush()
        session.add(_event(alert, None, "opened", DETECTOR, None))
        alert.version = 1
        _tell(session, alert, "opened")
        return alert.id


def _the_same(new: NewAlert) -> Select[Alert]:
    names = ("device_id", "verdict", "cause", "metric", "implementation", "title")
    return select(Alert).filter_by(opened_run_id=new.run_id, **{name: getattr(new, name) for name in names})


def _tell(session: Session, alert: Alert, word: str) -> None:
    """Queue the news, where it is sure enough and nobody asked for silence."""
    sure = alert.confirmed or alert.cause not in _TOLD_WHEN_CONFIRMED
    if sure and alert.state != "muted":
        queue_news(session, alert, word)


def bad_night(store: Store, alert_id: int, new: NewAlert) -> str:
    """Tell an alert that its cause was seen again, in a newer run; gives its state.

    What it says is brought up to date; a recovering one is open again. Acknowledged and muted ones stay so.
    """
    with store.writing() as session:
        alert = _alert(session, alert_id)
        if (alert.newest_run_id, alert.title, alert.confirmed) == (new.run_id, new.title, new.confirmed):
            return alert.state  # judged again: nothing new
        alert.newest_run_id, alert.title = new.run_id, new.title
        alert.worst_change, alert.explanation = new.worst_change, dict(new.explanation)
        alert.good_nights = 0
        newly_confirmed = new.confirmed and not alert.confirmed
        alert.confirmed = alert.confirmed or new.confirmed
        to_state = "open" if alert.state == "recovering" else alert.state
        _move(session, alert, to_state, "confirmed" if newly_confirmed else "seen again", DETECTOR, None)
        if newly_confirmed and alert.cause in _TOLD_WHEN_CONFIRMED:
            _tell(session, alert, "confirmed")
        return to_state


def good_night(store: Store, alert_id: int, run_id: int, needed: int = GOOD_NIGHTS) -> str:
    """Tell an alert that a newer run does not show its cause; gives its state.

    The first good night makes it recovering, the last needed one resolves it; a muted one stays
    muted until then.
    """
    with store.writing() as session:
        alert = _alert(session, alert_id)
        if alert.state not in LIVE or run_id <= alert.newest_run_id or alert.cause == SILENCE:
            return alert.state  # silence does not recover by other things being fine
        alert.newest_run_id = run_id
        alert.good_nights += 1
        to_state = "muted" if alert.state == "muted" else "recovering"
        if alert.good_nights >= needed:
            to_state = "resolved"
        muted = alert.state == "muted"
        _move(session, alert, to_state, "good night", DETECTOR, f"{alert.good_nights} of {needed}")
        if to_state == "resolved" and not muted:
            _tell(session, alert, "resolved")
        return to_state


def measured_again(store: Store, alert_id: int, decision: str, reason: str) -> None:
    """Confirm or dismiss a provisional alert whose cells were measured again, or only note what was found.

    Args:
        store: to write to.
        alert_id: which alert; one that is confirmed, or has ended, stays as it is.
        decision: confirmed, dismissed or unclear.
        reason: what was found.
    """
    with store.writing() as session:
        alert = _alert(session, alert_id)
        if alert.state not in LIVE or alert.confirmed:
            return
        alert.confirmed = decision == "confirmed"
        action = "confirmed" if alert.confirmed else "measured again"
        to_state = "resolved" if decision == "dismissed" else alert.state
        _move(session, alert, to_state, "dismissed" if decision == "dismissed" else action, DETECTOR, reason)
        if alert.confirmed:
            _tell(session, alert, "confirmed")


def dismiss(store: Store, alert_id: int, reason: str) -> None:
    """Resolve a provisional alert that measuring again did not confirm."""
    with store.writing() as session:
        alert = _alert(session, alert_id)
        if alert.state in LIVE:
            _move(session, alert, "resolved", "dismissed", DETECTOR, reason)


def accept_as_level(store: Store, alert_id: int, reason: str) -> None:
    """Accept what the alert says as the new level, where it still lives: for the detector, not for people."""
    with store.writing() as session:
        alert = _alert(session, alert_id)
        if alert.state in LIVE:
            _move(session, alert, "accepted", "accept", DETECTOR, reason)


def end_silence(store: Store, alert_id: int, reason: str) -> None:
    """Resolve an alert on what was silent and is measured again."""
    with store.writing() as session:
        alert = _alert(session, alert_id)
        if alert.state in LIVE:
            muted = alert.state == "muted"
            _move(session, alert, "resolved", HEARD, DETECTOR, reason)
            if not muted:
                _tell(session, alert, "resolved")


def end_mutes(store: Store, now: datetime) -> list[int]:
    """Open the muted alerts whose time is over, and give their ids."""
    with store.writing() as session:
        over = select(Alert).where(Alert.state == "muted", Alert.muted_until <= now).with_for_update()
        alerts = list(session.scalars(over))
        for alert in alerts:
            alert.muted_until = None
            _move(session, alert, "open", "mute ended", DETECTOR, None)
            _tell(session, alert, "no longer muted")
        return [alert.id for alert in alerts]


def _alert(session: Session, alert_id: int) -> Alert:
    alert = session.get(Alert, alert_id, with_for_update=True)
    if alert is None:
        raise UsageError(f"there is no alert {alert_id}; `kswatch alerts` lists them")
    return alert


def _move(session: Session, alert: Alert, to_state: str, action: str, who: str, reason: str | None) -> int:
    from_state = alert.state
    alert.state = to_state
    alert.version += 1
    session.add(_event(alert, from_state, action, who, reason))
    return alert.version


def _event(alert: Alert, from_state: str | None, action: str, who: str, reason: str | None) -> AlertEvent:
    return AlertEvent(
        alert_id=alert.id,
        at=datetime.now(UTC),
        who=who,
        action=action,
        reason=reason,
        from_state=from_state,
        to_state=alert.state,
    )
