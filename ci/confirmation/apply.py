"""What measuring again says of a night's provisional alerts: confirmed, dismissed, or still unclear.

A request is answered by pairs of runs, the night's revision and the last good one in turns; or, where
the good one could not be had, by one run of the night's revision, held against the level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.decision import Decision, decide, decide_in_turns, machine_between
from kswatch.ci.regression.threshold import Floats
from kswatch.db.alerts.lifecycle import LIVE, measured_again
from kswatch.db.paired_runs import ratios as paired_ratios
from kswatch.db.paired_runs.paired_record import HEAD, SIDE
from kswatch.db.queries.basic import AlertRow, RequestRow, RunRow, VerdictRow, alerts, request, runs, verdicts
from kswatch.db.queries.regression_inputs import newest_points
from kswatch.db.request_queue.events import request_events
from kswatch.db.store import Store

Ratios = Mapping[int, float]
"""By cell id: the night's time over the last good revision's."""


@dataclass(frozen=True)
class Answer:
    """What measuring again says of one alert."""

    alert_id: int
    decision: Decision
    reason: str


def take_answer(store: Store, run: RunRow, config: CiConfig) -> list[Answer]:
    """Confirm or dismiss the alerts for which this run measured again; it is of kind `confirm`."""
    asked = request(store, run.request_id) if run.request_id is not None else None
    of_run = asked.arguments.get("of_run") if asked else None
    if asked is None or not isinstance(of_run, int):
        return []
    judged = verdicts(store, of_run)
    pairs = _pairs(store, run)
    alone = None if SIDE in run.arguments else _Alone(store, of_run, run.id, judged)
    answers = []
    for alert, rows in _waiting(store, run, of_run, judged):
        if alone is None:
            answer = _in_turns(alert.id, rows, pairs)
        else:
            answer = alone.answer(alert.id, rows, config, _why_alone(store, asked))
        if answer:
            measured_again(store, alert.id, answer.decision, f"run {run.id}: {answer.reason}")
            answers.append(answer)
    return answers


def _waiting(
    store: Store, run: RunRow, of_run: int, judged: Sequence[VerdictRow]
) -> list[tuple[AlertRow, list[VerdictRow]]]:
    """Provisional alerts of the night, each with its verdicts on time."""
    found = [
        one for one in alerts(store, LIVE, run.device_id) if not one.confirmed and one.newest_run_id == of_run
    ]
    timed = [row for row in judged if row.metric == "latency_ms" and row.level]
    return [(one, [row for row in timed if row.alert_id == one.id]) for one in found]


def _pairs(store: Store, run: RunRow) -> list[Ratios]:
    """What each pair of processes gave."""
    mine = [
        one
        for one in runs(store, run.device_id, (run.kind,), states=("finished",))
        if one.request_id == run.request_id and one.arguments.get(SIDE) == HEAD
    ]
    return [paired_ratios.of_run(store, one.id) for one in mine]


def _in_turns(alert_id: int, rows: Sequence[VerdictRow], pairs: Sequence[Ratios]) -> Answer | None:
    again = np.array([[pair.get(row.cell_id, np.nan) - 1 for row in rows] for pair in pairs])
    first = np.array([row.change for row in rows], dtype=float)
    cells = int(np.isfinite(again).any(axis=0).sum()) if rows and pairs else 0
    if not cells:
        return None
    decision, share = decide_in_turns(first, again)
    return Answer(alert_id, decision, f"{_found(share, cells)}, in turns with the last good revision")


class _Alone:
    """The night's revision, measured once more: what the other cells did meanwhile is the machine."""

    def __init__(self, store: Store, of_run: int, run_id: int, judged: Sequence[VerdictRow]) -> None:
        first, self._again = _latencies(store, of_run), _latencies(store, run_id)
        flagged = {row.cell_id for row in judged if row.alert_id is not None}
        others = [cell for cell in self._again if cell in first and cell not in flagged]
        self._machine = machine_between(
            np.array([first[one] for one in others]), np.array([self._again[one] for one in others])
        )

    def answer(self, alert_id: int, rows: Sequence[VerdictRow], config: CiConfig, why: str) -> Answer | None:
        rows = [row for row in rows if row.cell_id in self._again]
        if not rows:
            return None
        level = np.array([row.level for row in rows], dtype=float)
        values = np.array([self._again[row.cell_id] for row in rows])
        change = np.array([row.change for row in rows], dtype=float)
        noise = _noise(rows, config)
        decision, share = decide(change, values / self._machine / level - 1, noise)
        return Answer(alert_id, decision, _found(share, len(rows)) + why)


def _noise(rows: Sequence[VerdictRow], config: CiConfig) -> Floats:
    least = [row.smallest_detectable_change or config.floor for row in rows]
    return np.array(least, dtype=float) / config.noise_factor


def _found(share: float, cells: int) -> str:
    where = "1 cell" if cells == 1 else f"{cells} cells"
    return f"{100 * share:.0f} % of the change was found again in {where}"


def _why_alone(store: Store, asked: RequestRow) -> str:
    """As a part of a sentence, from what was said when it was measured."""
    said = [one.reason for one in request_events(store, [asked.id]) if one.action == "alone" and one.reason]
    return f"; without the last good revision: {said[-1]}" if said else ""


def _latencies(store: Store, run_id: int) -> dict[int, float]:
    points = newest_points(store, run_id)
    return {one.cell_id: one.latency_ms[0] for one in points if one.latency_ms[0] is not None}
