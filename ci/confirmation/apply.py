"""Applying a confirming run to the night's provisional alerts: each is confirmed, dismissed or left unclear.

A request is answered by pairs of runs, the flagged revision interleaved with the last good one; or, where the
good one is not available, by one run of the flagged revision, which is compared with the level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.decision import Decision, decide_interleaved, decide_repeated, machine_change
from kswatch.ci.regression.threshold import Floats
from kswatch.db.alerts.lifecycle import LIVE, record_confirmation
from kswatch.db.paired_runs import ratios as paired_ratios
from kswatch.db.paired_runs.paired_record import HEAD, SIDE
from kswatch.db.queries.basic import AlertRow, RunRow, VerdictRow, alerts, request, runs, verdicts
from kswatch.db.queries.regression_inputs import newest_points
from kswatch.db.request_queue.confirmation import ConfirmationRequest
from kswatch.db.request_queue.events import request_events
from kswatch.db.store import Store

Ratios = Mapping[int, float]
"""The latency of the flagged revision over that of the last good one, by cell id."""


@dataclass(frozen=True)
class ConfirmationResult:
    """The decision on one alert."""

    alert_id: int
    decision: Decision
    reason: str


def apply_confirmation(store: Store, run: RunRow, config: CiConfig) -> list[ConfirmationResult]:
    """Confirm or dismiss the alerts that this run, of kind `confirm`, was measured for."""
    if run.request_id is None:
        return []
    requested = ConfirmationRequest.from_arguments(request(store, run.request_id).arguments)
    if requested is None:
        return []
    judged = verdicts(store, requested.of_run)
    pairs = _pairs(store, run)
    repeated = None if SIDE in run.arguments else _Repetition(store, requested.of_run, run, judged)
    results = []
    for alert, rows in _provisional_with_verdicts(store, run, requested.of_run, judged):
        found = repeated.decide(alert.id, rows, config) if repeated else _interleaved(alert.id, rows, pairs)
        if found:
            record_confirmation(store, alert.id, found.decision, f"run {run.id}: {found.reason}")
            results.append(found)
    return results


def _provisional_with_verdicts(
    store: Store, run: RunRow, of_run: int, judged: Sequence[VerdictRow]
) -> list[tuple[AlertRow, list[VerdictRow]]]:
    """Provisional alerts of the night, each with its verdicts on latency."""
    found = [
        one for one in alerts(store, LIVE, run.device_id) if not one.confirmed and one.newest_run_id == of_run
    ]
    timed = [row for row in judged if row.metric == "latency_ms" and row.level]
    return [(one, [row for row in timed if row.alert_id == one.id]) for one in found]


def _pairs(store: Store, run: RunRow) -> list[Ratios]:
    """The ratios of each pair of processes."""
    heads = [
        one
        for one in runs(store, run.device_id, (run.kind,), states=("finished",))
        if one.request_id == run.request_id and one.arguments.get(SIDE) == HEAD
    ]
    return [paired_ratios.of_run(store, one.id) for one in heads]


def _interleaved(
    alert_id: int, rows: Sequence[VerdictRow], pairs: Sequence[Ratios]
) -> ConfirmationResult | None:
    again = np.array([[pair.get(row.cell_id, np.nan) - 1 for row in rows] for pair in pairs])
    first = np.array([row.change for row in rows], dtype=float)
    cells = int(np.isfinite(again).any(axis=0).sum()) if rows and pairs else 0
    if not cells:
        return None
    decision, share = decide_interleaved(first, again)
    reason = f"{_reproduced_text(share, cells)}, interleaved with the last good revision"
    return ConfirmationResult(alert_id, decision, reason)


class _Repetition:
    """The flagged revision measured once more, corrected by the change of the cells that were not flagged."""

    def __init__(self, store: Store, of_run: int, run: RunRow, judged: Sequence[VerdictRow]) -> None:
        first, self._again = _latencies(store, of_run), _latencies(store, run.id)
        flagged = {row.cell_id for row in judged if row.alert_id is not None}
        others = [cell for cell in self._again if cell in first and cell not in flagged]
        self._machine = machine_change(
            np.array([first[one] for one in others]), np.array([self._again[one] for one in others])
        )
        self._why = _why_alone(store, run)

    def decide(
        self, alert_id: int, rows: Sequence[VerdictRow], config: CiConfig
    ) -> ConfirmationResult | None:
        rows = [row for row in rows if row.cell_id in self._again]
        if not rows:
            return None
        level = np.array([row.level for row in rows], dtype=float)
        values = np.array([self._again[row.cell_id] for row in rows])
        change = np.array([row.change for row in rows], dtype=float)
        noise = _noise(rows, config)
        decision, share = decide_repeated(change, values / self._machine / level - 1, noise)
        return ConfirmationResult(alert_id, decision, _reproduced_text(share, len(rows)) + self._why)


def _noise(rows: Sequence[VerdictRow], config: CiConfig) -> Floats:
    smallest = [row.smallest_detectable_change or config.floor for row in rows]
    return np.array(smallest, dtype=float) / config.noise_factor


def _reproduced_text(share: float, cells: int) -> str:
    where = "1 cell" if cells == 1 else f"{cells} cells"
    return f"{100 * share:.0f} % of the change reproduced in {where}"


def _why_alone(store: Store, run: RunRow) -> str:
    """The recorded reason why the good revision was not measured, as part of a sentence."""
    events = request_events(store, [run.request_id] if run.request_id is not None else [])
    reasons = [event.reason for event in events if event.action == "alone" and event.reason]
    return f"; without the last good revision: {reasons[-1]}" if reasons else ""


def _latencies(store: Store, run_id: int) -> dict[int, float]:
    points = newest_points(store, run_id)
    return {one.cell_id: one.latency_ms[0] for one in points if one.latency_ms[0] is not None}
