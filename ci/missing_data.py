"""What is no longer measured: a lost worker, a device without a night, a pattern that no night holds.

Silence looks like quiet. It is an alert of its own, told at once, and ends by itself when the worker, the
device or the pattern is heard of again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from kswatch.ci.config import CiConfig
from kswatch.db.alerts.lifecycle import HEARD, LIVE, SILENCE, NewAlert, end_silence, open_alert
from kswatch.db.alerts.precision import patterns_of
from kswatch.db.coordination.lost_workers import LostRun, lost_runs
from kswatch.db.queries.basic import AlertRow, DeviceRow, RunRow, alert_events, alerts, devices, runs
from kswatch.db.store import Store

_RUNS_BEFORE, _RUNS_NOW = 3, 2
"""A pattern is gone that each of three nights held and neither of the two after them does."""


@dataclass(frozen=True)
class Silent:
    """Something that is no longer heard of."""

    device_id: int
    newest_run_id: int
    title: str
    patterns: tuple[str, ...] = ()
    """Empty where it is the device itself."""
    lost_run: int | None = None
    """The run that waits for its worker, where that is what is missing."""


@dataclass(frozen=True)
class Silence:
    """A living alert on something silent, with its device."""

    alert: AlertRow
    device: DeviceRow


def silences_now(
    store: Store, config: CiConfig, now: datetime, device_id: int | None = None
) -> list[Silence]:
    """The same as `look_for_silence`, with devices; only one of them, if it is named."""
    found = look_for_silence(store, config, now)
    known = {one.id: one for one in devices(store)}
    return [Silence(one, known[one.device_id]) for one in found if device_id in (None, one.device_id)]


def look_for_silence(store: Store, config: CiConfig, now: datetime) -> list[AlertRow]:
    """Open alerts for what fell silent and end those of what is heard of again; gives those that live.

    Of a device only its measured nightly runs count. One silence is one alert: it is not opened again where
    a person ended it.
    """
    waiting = lost_runs(store)
    for device in devices(store):
        known = [one for one in alerts(store, None, device.id) if one.cause == SILENCE]
        lost = [one for one in waiting if one.device_id == device.id]
        found = [_lost(one) for one in lost]
        _end_what_goes_on(store, {one.run_id for one in lost}, known)
        nights = [] if device.simulated else _nights(store, device.id, limit=1)
        if nights:
            _end_what_is_heard(store, nights[0], known)
            if not lost:  # one cause, one alert
                found += _silent(store, device, nights[0], config, now)
        for silent in found:
            if not any(_is_known(store, one, silent) for one in known):
                open_alert(store, _alert(silent))
    return [one for one in alerts(store, LIVE) if one.cause == SILENCE]


def _end_what_goes_on(store: Store, lost: Collection[int], known: Collection[AlertRow]) -> None:
    for one in known:
        run_id = one.explanation.get("lost_run")
        if one.state in LIVE and run_id is not None and run_id not in lost:
            end_silence(store, one.id, f"run {run_id} no longer waits for its worker")


def _end_what_is_heard(store: Store, newest: RunRow, known: Collection[AlertRow]) -> None:
    for one in known:
        if one.explanation.get("lost_run") is not None:
            continue
        missing = set(one.explanation.get("patterns", ()))
        if one.state in LIVE and newest.id > one.opened_run_id and missing <= patterns_of(store, newest.id):
            end_silence(store, one.id, f"measured again in run {newest.id}")


def _is_known(store: Store, one: AlertRow, silent: Silent) -> bool:
    """Whether the alert is of this silence; one that ended because it was heard of again is of another."""
    if one.explanation.get("lost_run") != silent.lost_run or alert_events(store, one.id)[-1].action == HEARD:
        return False
    patterns = one.explanation.get("patterns", [])
    if not silent.patterns:
        return not patterns and one.opened_run_id == silent.newest_run_id
    return set(silent.patterns) <= set(patterns)


def _lost(one: LostRun) -> Silent:
    since = f"{one.at:%Y-%m-%d %H:%M} UTC"
    title = f"{one.device_model} lost its worker: run {one.run_id} waits since {since}; {one.text}"
    return Silent(one.device_id, one.run_id, title[:500], lost_run=one.run_id)


def _silent(
    store: Store, device: DeviceRow, newest: RunRow, config: CiConfig, now: datetime
) -> Iterator[Silent]:
    if now - newest.started_at > timedelta(hours=config.silent_hours):
        since = f"{newest.started_at:%Y-%m-%d %H:%M} UTC"
        yield Silent(device.id, newest.id, f"{device.model} is silent: no nightly run since {since}")
    elif gone := _gone_patterns(store, device.id, newest.suite):
        count = "1 pattern is" if len(gone) == 1 else f"{len(gone)} patterns are"
        title = f"{count} no longer measured on {device.model}, first {gone[0]}"
        yield Silent(device.id, newest.id, title, gone)


def _nights(store: Store, device_id: int, limit: int, suite: str | None = None) -> list[RunRow]:
    """The newest finished nights, the newest first."""
    return runs(store, device_id, ("nightly",), ("measured",), ("finished",), limit, suite=suite)


def _gone_patterns(store: Store, device_id: int, suite: str) -> tuple[str, ...]:
    nights = _nights(store, device_id, _RUNS_NOW + _RUNS_BEFORE, suite)
    if len(nights) < _RUNS_NOW + _RUNS_BEFORE:
        return ()
    held = [patterns_of(store, one.id) for one in nights]
    before = set.intersection(*held[_RUNS_NOW:])
    return tuple(sorted(before.difference(*held[:_RUNS_NOW])))


def _alert(silent: Silent) -> NewAlert:
    return NewAlert(
        device_id=silent.device_id,
        run_id=silent.newest_run_id,
        verdict="silent",
        cause=SILENCE,
        metric="latency_ms",
        implementation="fused",
        title=silent.title,
        explanation={
            "patterns": list(silent.patterns),
            "lost_run": silent.lost_run,
            "last_good_run": silent.newest_run_id if silent.lost_run is None else None,
        },
        confirmed=True,
    )
