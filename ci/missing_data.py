"""Missing data: a lost worker, a device without a nightly run, a pattern that is no longer measured.

Without an alert missing data would look like quiet nights. The alert is reported at once and resolved when
the worker continues or the data resume.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from kswatch.ci.config import CiConfig
from kswatch.db.alerts import lifecycle
from kswatch.db.alerts.lifecycle import DATA_RESUMED, LIVE, MISSING_DATA, NewAlert
from kswatch.db.alerts.precision import patterns_of
from kswatch.db.coordination.run_events import LostRun, lost_runs
from kswatch.db.queries.basic import AlertRow, DeviceRow, RunRow, alert_events, alerts, devices, runs
from kswatch.db.store import Store
from kswatch.services import is_in_future

_RUNS_BEFORE, _RUNS_NOW = 3, 2
"""A pattern is missing that each of three nights held and neither of the two after them does."""


def missing_data_alerts(
    store: Store, config: CiConfig, now: datetime, device_id: int | None = None
) -> list[tuple[AlertRow, DeviceRow]]:
    """As `check_missing_data`, with the devices; of one device, if named."""
    known = {one.id: one for one in devices(store)}
    found = check_missing_data(store, config, now)
    return [(one, known[one.device_id]) for one in found if device_id in (None, one.device_id)]


def check_missing_data(store: Store, config: CiConfig, now: datetime) -> list[AlertRow]:
    """Open alerts on new gaps and resolve those whose data have resumed; returns the live alerts.

    Only a device's measured nightly runs count. One gap has one alert, which is not opened again where a
    user ended it.
    """
    waiting = lost_runs(store)
    for device in devices(store):
        known = [one for one in alerts(store, None, device.id) if one.cause == MISSING_DATA]
        lost = [one for one in waiting if one.device_id == device.id]
        gaps = [_lost(one) for one in lost]
        nights = [] if device.simulated else _nights(store, device.id, limit=1)
        _resolve_resumed(store, known, {one.run_id for one in lost}, nights)
        if nights and not lost:  # a lost worker explains the other gaps
            gaps += _find_missing(store, device, nights[0], config, now)
        for gap in gaps:
            if not any(_is_known(store, one, gap) for one in known):
                lifecycle.open_alert(store, gap)
    return [one for one in alerts(store, LIVE) if one.cause == MISSING_DATA]


def _resolve_resumed(
    store: Store, known: Collection[AlertRow], lost: Collection[int], nights: Sequence[RunRow]
) -> None:
    """Resolve live alerts whose run continues, or whose patterns the newest night measured."""
    for one in known:
        run_id, patterns = one.explanation.get("lost_run"), set(one.explanation.get("patterns", ()))
        if one.state not in LIVE:
            continue
        if run_id is not None:
            if run_id not in lost:
                lifecycle.resolve_missing_data(store, one.id, f"run {run_id} no longer waits for its worker")
        elif nights and nights[0].id > one.opened_run_id and patterns <= patterns_of(store, nights[0].id):
            lifecycle.resolve_missing_data(store, one.id, f"measured again in run {nights[0].id}")


def _is_known(store: Store, one: AlertRow, gap: NewAlert) -> bool:
    """Whether the alert is on this gap, and not on an earlier one whose data have resumed."""
    missing: Any = gap.explanation["patterns"]
    patterns = one.explanation.get("patterns", [])
    if one.explanation.get("lost_run") != gap.explanation["lost_run"]:
        return False
    if alert_events(store, one.id)[-1].action == DATA_RESUMED:
        return False
    if not missing:
        return not patterns and one.opened_run_id == gap.run_id
    return set(missing) <= set(patterns)


def _lost(one: LostRun) -> NewAlert:
    since = f"{one.at:%Y-%m-%d %H:%M} UTC"
    title = f"{one.device_model} lost its worker: run {one.run_id} has been waiting since {since}; {one.text}"
    return _new_alert(one.device_id, one.run_id, title[:500], lost_run=one.run_id)


def _find_missing(
    store: Store, device: DeviceRow, newest: RunRow, config: CiConfig, now: datetime
) -> Iterator[NewAlert]:
    if config.judgement_limits.is_overdue(newest.started_at, now):
        since = f"{newest.started_at:%Y-%m-%d %H:%M} UTC"
        title = f"{device.model} stopped reporting: no nightly run since {since}"
        if is_in_future(newest.started_at, now):
            title = f"{device.model}: its last nightly run is dated {since}, in the future; correct its clock"
        yield _new_alert(device.id, newest.id, title)
    elif patterns := _missing_patterns(store, device.id, newest.suite):
        count = "1 pattern is" if len(patterns) == 1 else f"{len(patterns)} patterns are"
        title = f"{count} no longer measured on {device.model}, first {patterns[0]}"
        yield _new_alert(device.id, newest.id, title, patterns)


def _nights(store: Store, device_id: int, limit: int, suite: str | None = None) -> list[RunRow]:
    """The newest finished nights, the newest first."""
    return runs(store, device_id, ("nightly",), ("measured",), ("finished",), limit, suite=suite)


def _missing_patterns(store: Store, device_id: int, suite: str) -> list[str]:
    nights = _nights(store, device_id, _RUNS_NOW + _RUNS_BEFORE, suite)
    if len(nights) < _RUNS_NOW + _RUNS_BEFORE:
        return []
    held = [patterns_of(store, one.id) for one in nights]
    return sorted(set.intersection(*held[_RUNS_NOW:]).difference(*held[:_RUNS_NOW]))


def _new_alert(
    device_id: int, run_id: int, title: str, patterns: Sequence[str] = (), lost_run: int | None = None
) -> NewAlert:
    """An alert on missing patterns, on a run that waits for its worker, or on the device itself."""
    return NewAlert(
        device_id=device_id,
        run_id=run_id,
        verdict="silent",
        cause=MISSING_DATA,
        metric="latency_ms",
        implementation="fused",
        title=title,
        explanation={
            "patterns": list(patterns),
            "lost_run": lost_run,
            "last_good_run": run_id if lost_run is None else None,
        },
        confirmed=True,
    )
