"""Labelled series replayed as nights of a device, by the code that judges real ones.

Nothing is measured again, so that only later nights confirm a provisional alert. Nobody repairs anything,
either: a confirmed alert that is still open after some nights is accepted, as by a team that keeps the
new level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha1

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.simulation.labelled_series import LabelledSeries
from kswatch.ci.simulation.season import SimulatedAlertChange, judge_nights, time_of
from kswatch.db.alerts.lifecycle import LIVE, act
from kswatch.db.queries.basic import AlertRow, alerts
from kswatch.db.records import (
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
    ProblemKey,
    RevisionRecord,
    RunRecord,
)
from kswatch.db.request_queue.confirmation import ConfirmationRequest
from kswatch.db.store import Store

PROBLEM = ProblemKey(1, 48, 48, 1, 4096, "fp32", "batch_first")
"""The cell that a series is stored under: `fused` on this problem."""
ENVIRONMENT = EnvironmentRecord(host="replayed")
ACCEPTED_AFTER = 10
"""Nights after which a confirmed alert that is still open is accepted as the new level."""
USER = "replay"


@dataclass(frozen=True)
class ReplayedAlert:
    """An alert of a replayed series; nights are 0-based."""

    onset: int
    """The first bad night, as the alert names it."""
    opened: int
    alerted: int | None
    """The night on which it was confirmed, and a notification was sent; None if never."""
    resolved: int | None
    """The night on which it ended by itself, after clean nights; None if not."""
    verdict: str
    cause: str
    change: float | None
    """Relative to the level before."""


@dataclass(frozen=True)
class ReplayedSeries:
    """A labelled series and the alerts that its nights raised."""

    series: LabelledSeries
    alerts: tuple[ReplayedAlert, ...]


class SeriesRecorder:
    """Records each point of a series as a night of a device of its own."""

    def __init__(self, store: Store, series: LabelledSeries) -> None:
        self._store, self._series = store, series
        identity = sha1(series.name.encode()).hexdigest()
        self._device = DeviceRecord(
            f"REPLAY-{identity[:12]}", "cuda", f"Replayed {series.name}", simulated=True
        )
        self.night_of: dict[int, int] = {}
        """The night of each run."""

    def record_night(self, night: int) -> int:
        """Record one point; returns the run id. A missing one is a cell without a result."""
        at, value = time_of(night), self._series.values[night]
        commit = sha1(f"{self._series.name} {night}".encode()).hexdigest()
        revision = RevisionRecord(commit, at, f"replayed night {night}", "replayed")
        run_id = self._store.begin_run(
            RunRecord("replayed", self._device, ENVIRONMENT, revision, "nightly", "simulated", at, seed=night)
        )
        known = np.isfinite(value)
        record = (
            MeasurementRecord(PROBLEM, "fused", "ok", latency_ms=value)
            if known
            else MeasurementRecord(PROBLEM, "fused", "skipped", reason="not measured")
        )
        self._store.record_problem(run_id, [record])
        self._store.finish_run(run_id, "finished", 1.0, 0.0, at)
        self.night_of[run_id] = night
        return run_id

    def record_confirmation(self, night: int, wanted: ConfirmationRequest, request_id: int) -> None:
        """Nothing can be measured again."""


def replay(
    store: Store,
    series: LabelledSeries,
    config: CiConfig,
    accepted_after: int = ACCEPTED_AFTER,
    progress: Callable[[int], None] = lambda night: None,
) -> ReplayedSeries:
    """Record and judge every night of a series, on a device of its own."""
    recorder = SeriesRecorder(store, series)
    config = replace(config, confirm_minutes=0)
    changes: list[SimulatedAlertChange] = []
    alerted: dict[int, int] = {}

    def accept_old_alerts(night: int) -> None:
        due = [one for one, since in alerted.items() if night - since >= accepted_after]
        for alert in alerts(store, LIVE, ids=due) if due else ():
            act(store, alert.id, "accept", USER, "still open: the new level", alert.version)
        for one in due:
            del alerted[one]
        progress(night)

    for change in judge_nights(store, recorder, len(series.values), config, accept_old_alerts):
        changes.append(change)
        if change.confirmed and change.news in ("opened", "confirmed"):
            alerted[change.alert] = change.night
    rows = {row.id: row for row in alerts(store, ids={one.alert for one in changes})} if changes else {}
    return ReplayedSeries(series, tuple(_alert(recorder, rows[id_], changes) for id_ in sorted(rows)))


def _alert(recorder: SeriesRecorder, row: AlertRow, changes: list[SimulatedAlertChange]) -> ReplayedAlert:
    own = [one for one in changes if one.alert == row.id]
    alerted = (one.night for one in own if one.confirmed and one.news in ("opened", "confirmed"))
    resolved = (one.night for one in own if one.news == "resolved" and one.confirmed)
    opened = recorder.night_of[row.opened_run_id]
    onset = recorder.night_of.get(row.explanation.get("first_bad_run") or row.opened_run_id, opened)
    return ReplayedAlert(
        onset, opened, next(alerted, None), next(resolved, None), row.verdict, row.cause, row.worst_change
    )
