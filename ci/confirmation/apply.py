"""Applying a confirming run to the night's provisional alerts: each is confirmed, dismissed or left unclear.

A request is answered by pairs of runs, the flagged revision interleaved with the last good one; or, where the
good one is not available, by one run of the flagged revision, which is compared with the level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.decision import Decision, decide_interleaved, decide_repeated, machine_change
from kswatch.db.alerts.lifecycle import LIVE, record_confirmation
from kswatch.db.paired_runs import ratios as paired_ratios
from kswatch.db.paired_runs.paired_record import HEAD, SIDE
from kswatch.db.queries.basic import RunRow, VerdictRow, alerts, request, runs, verdicts
from kswatch.db.queries.regression_inputs import newest_points
from kswatch.db.request_queue.confirmation import ConfirmationRequest
from kswatch.db.request_queue.events import request_events
from kswatch.db.store import Store

DecisionOfCells = tuple[Decision, float, int]
"""The decision, the share of the change that reproduced, and the number of cells that were measured again."""


def apply_confirmation(store: Store, run: RunRow, config: CiConfig) -> list[int]:
    """Decide on the alerts that this run, of kind `confirm`, was measured for; returns their ids."""
    requested = run.request_id and ConfirmationRequest.from_arguments(
        request(store, run.request_id).arguments
    )
    if not requested:
        return []
    judged = verdicts(store, requested.of_run)
    interleaved = SIDE in run.arguments
    pairs = _pairs(store, run) if interleaved else []
    again = {} if interleaved else _repeated_latencies(store, requested.of_run, run, judged)
    how = ", interleaved with the last good revision" if interleaved else _why_alone(store, run)
    decided = []
    for alert in alerts(store, LIVE, run.device_id):
        if alert.confirmed or alert.newest_run_id != requested.of_run:
            continue
        rows = [
            one for one in judged if one.alert_id == alert.id and one.metric == "latency_ms" and one.level
        ]
        found = _decide_interleaved(rows, pairs) if interleaved else _decide_repeated(rows, again, config)
        if found:
            decision, share, cells = found
            where = "1 cell" if cells == 1 else f"{cells} cells"
            reason = f"run {run.id}: {100 * share:.0f} % of the change reproduced in {where}{how}"
            record_confirmation(store, alert.id, decision, reason)
            decided.append(alert.id)
    return decided


def _pairs(store: Store, run: RunRow) -> list[Mapping[int, float]]:
    """The latency of the flagged revision over that of the last good one, by cell id, of each pair."""
    answers = runs(store, run.device_id, (run.kind,), states=("finished",))
    heads = [one for one in answers if one.request_id == run.request_id and one.arguments.get(SIDE) == HEAD]
    return [paired_ratios.of_run(store, one.id) for one in heads]


def _decide_interleaved(
    rows: Sequence[VerdictRow], pairs: Sequence[Mapping[int, float]]
) -> DecisionOfCells | None:
    again = np.array([[pair.get(row.cell_id, np.nan) - 1 for row in rows] for pair in pairs])
    first = np.array([row.change for row in rows], dtype=float)
    cells = int(np.isfinite(again).any(axis=0).sum()) if rows and pairs else 0
    return (*decide_interleaved(first, again), cells) if cells else None


def _repeated_latencies(
    store: Store, of_run: int, run: RunRow, judged: Sequence[VerdictRow]
) -> dict[int, float]:
    """Latencies of the run by cell id, corrected by the change of the cells that were not flagged."""
    first, again = (
        {one.cell_id: one.latency_ms[0] for one in newest_points(store, of) if one.latency_ms[0] is not None}
        for of in (of_run, run.id)
    )
    flagged = {row.cell_id for row in judged if row.alert_id is not None}
    others = [cell for cell in again if cell in first and cell not in flagged]
    machine = machine_change(
        np.array([first[one] for one in others]), np.array([again[one] for one in others])
    )
    return {cell: latency_ms / machine for cell, latency_ms in again.items()}


def _decide_repeated(
    rows: Sequence[VerdictRow], again: Mapping[int, float], config: CiConfig
) -> DecisionOfCells | None:
    rows = [row for row in rows if row.cell_id in again]
    if not rows:
        return None
    level = np.array([row.level for row in rows], dtype=float)
    change = np.array([row.change for row in rows], dtype=float)
    detectable = np.array([row.smallest_detectable_change or config.floor for row in rows], dtype=float)
    repeated = np.array([again[row.cell_id] for row in rows]) / level - 1
    return (*decide_repeated(change, repeated, detectable / config.noise_factor), len(rows))


def _why_alone(store: Store, run: RunRow) -> str:
    """The recorded reason why the good revision was not measured, as part of a sentence."""
    events = request_events(store, [run.request_id] if run.request_id is not None else [])
    reasons = [event.reason for event in events if event.action == "alone" and event.reason]
    return f"; without the last good revision: {reasons[-1]}" if reasons else ""
