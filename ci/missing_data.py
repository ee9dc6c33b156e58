"""Missing data: a lost worker, a device without a nightly run, a pattern that is no longer measured.

Without an alert missing data would look like quiet nights. The alert is reported at once and resolved when
the worker continues or the data resume.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from kswatch.ci.config import CiConfig
from kswatch.db.alerts.lifecycle import (
    DATA_RESUMED,
    LIVE,
    MISSING_DATA,
    NewAlert,
    open_alert,
    resolve_missing_data,
)
from kswatch.db.alerts.precision import patterns_of
from kswatch.db.coordination.lost_workers import LostRun, lost_runs
from kswatch.db.queries.basic import AlertRow, DeviceRow, RunRow, alert_events, alerts, devices, runs
from kswatch.db.store import Store

_RUNS_BEFORE, _RUNS_NOW = 3, 2
"""A pattern is missing that each of three nights held and neither of the two after them does."""


@dataclass(frozen=True)
class MissingData:
    """A gap in the data of a device."""

    device_id: int
    newest_run_id: int
    title: str
    patterns: tuple[str, ...] = ()
    """The missing patterns; empty where it is the device itself."""
    lost_run: int | None = None
    """The run that waits for a lost worker, where that is the gap."""


@dataclass(frozen=True)
class MissingDataAlert:
    """A live alert on missing data, with its device."""

    alert: AlertRow
    device: DeviceRow


def missing_data_alerts(
    store: Store, config: CiConfig, now: datetime, device_id: int | None = None
) -> list[MissingDataAlert]:
    """As `check_missing_data`, with the devices; of one device, if named."""
    found = check_missing_data(store, config, now)
    known = {one.id: one for one in devices(store)}
    return [
        MissingDataAlert(one, known[one.device_id]) for one in found if device_id in (None, one.device_id)
    ]


def check_missing_data(store: Store, config: CiConfig, now: datetime) -> list[AlertRow]:
    """Open alerts on new gaps and resolve those whose data have resumed; returns the live alerts.

    Only a device's measured nightly runs count. One gap has one alert, which is not opened again where a
    user ended it.
    """
    waiting = lost_runs(store)
    for device in devices(store):
        known = [one for one in alerts(store, None, device.id) if one.cause == MISSING_DATA]
        lost = [one for one in waiting if one.device_id == device.id]
        found = [_lost(one) for one in lost]
        _end_resumed_runs(store, {one.run_id for one in lost}, known)
        nights = [] if device.simulated else _nights(store, device.id, limit=1)
        if nights:
            _end_measured_again(store, nights[0], known)
            if not lost:  # a lost worker explains the other gaps
                found += _find_missing(store, device, nights[0], config, now)
        for gap in found:
            if not any(_is_known(store, one, gap) for one in known):
                open_alert(store, _alert(gap))
    return [one for one in alerts(store, LIVE) if one.cause == MISSING_DATA]


def _end_resumed_runs(store: Store, lost: Collection[int], known: Collection[AlertRow]) -> None:
    for one in known:
        run_id = one.explanation.get("lost_run")
        if one.state in LIVE and run_id is not None and run_id not in lost:
            resolve_missing_data(store, one.id, f"run {run_id} no longer waits for its worker")


def _end_measured_again(store: Store, newest: RunRow, known: Collection[AlertRow]) -> None:
    for one in known:
        if one.explanation.get("lost_run") is not None:
            continue
        missing = set(one.explanation.get("patterns", ()))
        if one.state in LIVE and newest.id > one.opened_run_id and missing <= patterns_of(store, newest.id):
            resolve_missing_data(store, one.id, f"measured again in run {newest.id}")


def _is_known(store: Store, one: AlertRow, gap: MissingData) -> bool:
    """Whether the alert is on this gap, and not on an earlier one whose data have resumed."""
    if (
        one.explanation.get("lost_run") != gap.lost_run
        or alert_events(store, one.id)[-1].action == DATA_RESUMED
    ):
        return False
    patterns = one.explanation.get("patterns", [])
    if not gap.patterns:
        return not patterns and one.opened_run_id == gap.newest_run_id
    return set(gap.patterns) <= set(patterns)


def _lost(one: LostRun) -> MissingData:
    since = f"{one.at:%Y-%m-%d %H:%M} UTC"
    title = f"{one.device_model} lost its worker: run {one.run_id} waits since {since}; {one.text}"
    return MissingData(one.device_id, one.run_id, title[:500], lost_run=one.run_id)


def _find_missing(
    store: Store, device: DeviceRow, newest: RunRow, config: CiConfig, now: datetime
) -> Iterator[MissingData]:
    if config.judgement_limits.is_overdue(newest.started_at, now):
        since = f"{newest.started_at:%Y-%m-%d %H:%M} UTC"
        yield MissingData(
            device.id, newest.id, f"{device.model} stopped reporting: no nightly run since {since}"
        )
    elif missing_patterns := _missing_patterns(store, device.id, newest.suite):
        count = "1 pattern is" if len(missing_patterns) == 1 else f"{len(missing_patterns)} patterns are"
        title = f"{count} no longer measured on {device.model}, first {missing_patterns[0]}"
        yield MissingData(device.id, newest.id, title, missing_patterns)


def _nights(store: Store, device_id: int, limit: int, suite: str | None = None) -> list[RunRow]:
    """The newest finished nights, the newest first."""
    return runs(store, device_id, ("nightly",), ("measured",), ("finished",), limit, suite=suite)


def _missing_patterns(store: Store, device_id: int, suite: str) -> tuple[str, ...]:
    nights = _nights(store, device_id, _RUNS_NOW + _RUNS_BEFORE, suite)
    if len(nights) < _RUNS_NOW + _RUNS_BEFORE:
        return ()
    held = [patterns_of(store, one.id) for one in nights]
    before = set.intersection(*held[_RUNS_NOW:])
    return tuple(sorted(before.difference(*held[:_RUNS_NOW])))


def _alert(gap: MissingData) -> NewAlert:
    return NewAlert(
        device_id=gap.device_id,
        run_id=gap.newest_run_id,
        verdict="silent",
        cause=MISSING_DATA,
        metric="latency_ms",
        implementation="fused",
        title=gap.title,
        explanation={
            "patterns": list(gap.patterns),
            "lost_run": gap.lost_run,
            "last_good_run": gap.newest_run_id if gap.lost_run is None else None,
        },
        confirmed=True,
    )
