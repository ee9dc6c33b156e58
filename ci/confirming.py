"""Measuring again at once what a night flagged: asking for it, and what its answer does to the alerts.

The request names the night and the last good revision; only the night's own revision is measured. Both, in
turns, are what `kswatch gate` measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ci.alerts.describing import CELLS_LISTED
from ci.config import CiConfig
from ci.evidence import LEVEL_CAUSES
from ci.remeasured import Decision, decide, machine_between
from db.alert_life import DETECTOR, LIVE, measured_again
from db.queries import AlertRow, RunRow, VerdictRow, alerts, request, requests, verdicts
from db.requests import ask
from db.store import Store
from db.verdicts import NewestPoint, newest_points

PRIORITY = 100
"""Before anything else that waits: the machine is still in the night's state."""
KIND: Final = "confirm"


def ask_again(store: Store, run: RunRow, config: CiConfig) -> int | None:
    """Ask once for what a night's provisional alerts are made of; gives the request, None for no need.

    Such a run enters no baseline, since only nightly runs do.
    """
    flagged = [one for one in _provisional(store, run) if run.kind == "nightly" and run.origin != "imported"]
    if not flagged or not config.confirm_minutes or _asked_already(store, run):
        return None
    rows = [row for one in flagged for row in verdicts(store, run.id, alert_id=one.id)]
    problems = list(dict.fromkeys(_problem_text(row) for row in rows))[:CELLS_LISTED]
    good = {one.explanation.get("revisions", {}).get("good") for one in flagged} - {None}
    return ask(
        store,
        "ad_hoc",
        run.device_uuid,
        asked_by=DETECTOR,
        why=f"measure again what run {run.id} flagged: alert {', '.join(str(one.id) for one in flagged)}",
        arguments={
            "problem": problems,
            "budget": f"{config.confirm_minutes:g}m",
            "of_run": run.id,
            "good_revision": min(good, default=None),
        },
        kind=KIND,
        priority=PRIORITY,
    )


def _provisional(store: Store, run: RunRow) -> list[AlertRow]:
    """Alerts of this run that measuring again may confirm."""
    found = alerts(store, LIVE, run.device_id)
    return [
        one
        for one in found
        if not one.confirmed and one.newest_run_id == run.id and one.cause in LEVEL_CAUSES
    ]


def _asked_already(store: Store, run: RunRow) -> bool:
    return any(
        one.kind == KIND and one.arguments.get("of_run") == run.id for one in requests(store, limit=1000)
    )


def _problem_text(row: VerdictRow) -> str:
    return f"{row.a},{row.b},{row.c},{row.d},{row.batch},{row.precision},{row.layout}"


@dataclass(frozen=True)
class Answer:
    """What measuring again says of one alert."""

    alert_id: int
    decision: Decision
    reason: str


def take_answer(store: Store, run: RunRow, config: CiConfig) -> list[Answer]:
    """Confirm or dismiss the alerts for which this run measured again; it is of kind `confirm`."""
    of_run = request(store, run.request_id).arguments.get("of_run") if run.request_id is not None else None
    if not isinstance(of_run, int):
        return []
    first, again = (_latencies(newest_points(store, one)) for one in (of_run, run.id))
    judged = verdicts(store, of_run)
    flagged = {(row.cell_id) for row in judged if row.alert_id is not None}
    others = [cell for cell in again if cell in first and cell not in flagged]
    machine = machine_between(
        np.array([first[one] for one in others]), np.array([again[one] for one in others])
    )
    answers = []
    for alert in alerts(store, LIVE, run.device_id):
        rows = [
            row for row in judged if row.alert_id == alert.id and row.metric == "latency_ms" and row.level
        ]
        rows = [row for row in rows if row.cell_id in again]
        if alert.confirmed or alert.newest_run_id != of_run or not rows:
            continue
        answers.append(_answer(alert.id, rows, again, machine, config))
        measured_again(
            store, answers[-1].alert_id, answers[-1].decision, f"run {run.id}: {answers[-1].reason}"
        )
    return answers


def _answer(
    alert_id: int, rows: Sequence[VerdictRow], again: Mapping[int, float], machine: float, config: CiConfig
) -> Answer:
    level = np.array([row.level for row in rows], dtype=float)
    values = np.array([again[row.cell_id] for row in rows])
    change = np.array([row.change for row in rows], dtype=float)
    noise = np.array([row.smallest_detectable_change or config.floor for row in rows]) / config.noise_factor
    decision, share = decide(change, values / machine / level - 1, noise)
    return Answer(
        alert_id, decision, f"{100 * share:.0f} % of the change was found again in {len(rows)} cells"
    )


def _latencies(points: Sequence[NewestPoint]) -> dict[int, float]:
    return {one.cell_id: one.latency_ms[0] for one in points if one.latency_ms[0] is not None}
