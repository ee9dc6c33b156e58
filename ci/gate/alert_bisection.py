"""Bisection after the night: confirmed regressions of the code are searched for their commits.

Each alert has one search, stored after every commit. It goes on after each night, within a time limit for all
of them, until the commit is found, or the regression does not show between the two revisions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from kswatch.ci.formats.escape import plain
from kswatch.ci.gate.bisection import (
    Bisection,
    BisectionStep,
    ExcludedCommit,
    NoRegressionError,
    Progress,
    bisect,
    describe_cell,
)
from kswatch.ci.gate.cell import GateConfig
from kswatch.ci.gate.sequential import GateResult, PairedSession, compare_revisions
from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.bisections import stored
from kswatch.db.bisections.stored import BisectionRow, StepRow
from kswatch.db.gates.records import CellVerdict
from kswatch.db.queries.basic import AlertRow, alerts, devices
from kswatch.db.records import ProblemKey
from kswatch.db.store import Store
from kswatch.errors import KswatchError
from kswatch.services import RevisionHistory

DIMENSIONS = ("pattern", "batch", "precision", "layout", "implementation")
MOST_COMPARISON_S = 300.0
"""The longest measurement of one commit."""
LEAST_COMPARISON_S = 120.0
"""With less time left no commit is begun: it would stay undecided, and be passed over for good."""
MERGE = ExcludedCommit("a merge: its parents are measured", may_be_culprit=True)

OpenComparison = Callable[[str, str, str, Mapping[str, object]], AbstractContextManager[PairedSession]]
"""Opens the measurement of two revisions, base and head, on a device, of the cells that the filters name."""


@dataclass(frozen=True)
class Target:
    """Where to search, by an alert."""

    good: str
    bad: str
    device: str
    filters: dict[str, list[object]]


def target_of(alert: AlertRow, device_uuid: str) -> Target | None:
    """The revisions, device and worst cell of an alert; None where it does not name them all."""
    revisions = alert.explanation.get("revisions") or {}
    cells = alert.explanation.get("cells") or []
    good, bad = revisions.get("good"), revisions.get("bad")
    if not good or not bad or good == bad or not cells:
        return None
    filters = {name: [cells[0][name]] for name in DIMENSIONS if cells[0].get(name) is not None}
    return Target(good, bad, device_uuid, filters)


def excluded_commits(history: RevisionHistory, good: str, bad: str) -> dict[str, ExcludedCommit]:
    """Merges, and commits that are taken back before `bad` with the ones that take them back."""
    found = dict.fromkeys(history.merges(good, bad), MERGE)
    for commit, by in history.reverted(good, bad).items():
        if commit == by:  # it may hold more than what it takes back
            found[commit] = ExcludedCommit("a revert", may_be_culprit=True)
        else:
            found[commit] = ExcludedCommit(f"reverted by {by[:12]}")
    return found


def bisect_alerts(
    store: Store,
    history: RevisionHistory,
    open_comparison: OpenComparison,
    *,
    budget_s: float,
    floor: float,
    device_uuids: Collection[str],
    must_stop: Callable[[], bool],
    report: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Continue the bisection of each live, confirmed regression of the code on these devices.

    Args:
        store: With the alerts.
        history: Of the repository that they name commits of.
        open_comparison: Measures two revisions.
        budget_s: The time limit for all of them.
        floor: The smallest relative change that counts.
        device_uuids: Devices of this host.
        must_stop: Asked before each commit, which is not begun: somebody waits for the device, or the process
            ends. Also called after each measurement, so that it sees the search go on.
        report: Receives a sentence for each step.
        clock: Seconds that pass.
    """
    until_s = clock() + budget_s
    least_s = min(LEAST_COMPARISON_S, budget_s)

    def left_s() -> float:
        return 0.0 if must_stop() or until_s - clock() < least_s else until_s - clock()

    for alert, target in _due(store, device_uuids):
        if left_s():
            search = _AlertSearch(store, history, open_comparison, alert, target, clock, must_stop)
            search.run(GateConfig(floor=floor), left_s, report)


def _due(store: Store, device_uuids: Collection[str]) -> Iterator[tuple[AlertRow, Target]]:
    """The alerts whose search has not ended, the newest first."""
    uuids = {one.id: one.uuid for one in devices(store) if one.uuid in device_uuids}
    ended = {
        (one.alert_id, one.good_commit, one.bad_commit)
        for one in stored.bisections(store)
        if one.state != stored.WAITING
    }
    for alert in alerts(store, states=LIVE):
        is_code = alert.confirmed and alert.cause == "code" and alert.verdict == "slower"
        target = target_of(alert, uuids[alert.device_id]) if is_code and alert.device_id in uuids else None
        if target is not None and (alert.id, target.good, target.bad) not in ended:
            yield alert, target


class _AlertSearch:
    """The search for one alert's commit, stored as it goes on."""

    def __init__(
        self,
        store: Store,
        history: RevisionHistory,
        open_comparison: OpenComparison,
        alert: AlertRow,
        target: Target,
        clock: Callable[[], float],
        on_reading: Callable[[], object],
    ) -> None:
        self._store, self._history, self._open = store, history, open_comparison
        self._on_reading = on_reading
        self._alert, self._target, self._clock = alert, target, clock
        self._id = stored.begin_bisection(store, alert.id, target.good, target.bad)
        self._measured_at_s = clock()

    def run(self, config: GateConfig, left_s: Callable[[], float], report: Callable[[str], None]) -> None:
        """Search until the commit is found or no time is left."""

        def compare(commit: str, limits: GateConfig, cell: CellVerdict | None) -> GateResult:
            budget_s = min(MOST_COMPARISON_S, max(left_s(), LEAST_COMPARISON_S))
            return self._compare(commit, replace(limits, budget_s=budget_s), cell)

        try:
            good, bad = self._history.commit(self._target.good), self._history.commit(self._target.bad)
            found = bisect(
                good,
                bad,
                self._history.suspects,
                compare,
                config,
                lambda sentence: report(f"alert {self._alert.id}: {sentence}"),
                excluded=excluded_commits(self._history, good, bad),
                progress=read_progress(self._store, self._id),
                on_progress=self._record,
                may_continue=lambda: left_s() > 0,
            )
        except NoRegressionError as error:
            stored.record_failure(self._store, self._id, str(error))
            report(f"alert {self._alert.id}: {error}")
        except KswatchError as error:  # its commits are not in this clone, or the device is not here
            stored.record_wait(self._store, self._id, str(error))
            report(f"alert {self._alert.id}: {error}")
        else:
            if found is not None:
                text = culprit_text(found, self._history)
                stored.record_culprit(self._store, self._id, found.suspects, text)
                report(f"alert {self._alert.id}: {text}")

    def _compare(self, commit: str, config: GateConfig, cell: CellVerdict | None) -> GateResult:
        filters: dict[str, Any] = self._target.filters
        if cell is not None:
            fields = cell.problem.fields | {"implementation": cell.implementation}
            filters = {name: [value] for name, value in fields.items()}
        with self._open(self._target.good, commit, self._target.device, filters) as session:
            return compare_revisions(session, config, on_reading=self._on_reading)

    def _record(self, progress: Progress) -> None:
        assert progress.cell is not None
        now_s = self._clock()
        steps = [StepRow(**vars(step)) for step in progress.steps]
        stored.record_progress(
            self._store, self._id, cell_as_json(progress.cell), steps, now_s - self._measured_at_s
        )
        self._measured_at_s = now_s


def read_progress(store: Store, bisection_id: int) -> Progress:
    """The progress of a stored bisection."""
    (row,) = [one for one in stored.bisections(store) if one.id == bisection_id]
    steps = [BisectionStep(**vars(step)) for step in stored.steps(store, bisection_id)]
    return Progress(cell_of_json(row.cell) if row.cell else None, steps)


def cell_as_json(cell: CellVerdict) -> dict[str, object]:
    """A verdict as plain values."""
    return vars(cell) | {"problem": vars(cell.problem)}


def cell_of_json(values: Mapping[str, Any]) -> CellVerdict:
    """The verdict of `cell_as_json`."""
    return CellVerdict(**{**values, "problem": ProblemKey(**values["problem"])})


def culprit_text(found: Bisection, history: RevisionHistory) -> str:
    """The first bad commit with its subject, the change, and the commits that may be meant instead."""
    subject = plain(history.subject(found.first_bad))
    text = f"first bad commit {found.first_bad[:12]} {subject}: {describe_cell(found.cell)}"
    if len(found.suspects) > 1:
        others = ", ".join(commit[:12] for commit in found.suspects[1:])
        text += f"; or one of these, which could not be measured: {others}"
    return text


def progress_lines(row: BisectionRow, steps: Sequence[StepRow]) -> list[str]:
    """How far a stored bisection is, for a terminal."""
    head = f"bisection of alert {row.alert_id}: {row.state}, {row.seconds / 60:.1f} min measured"
    lines = [head + (f": {row.message}" if row.message else "")]
    for step in steps:
        change = "" if step.change is None else f" ({100 * step.change:+.1f} %)"
        lines.append(
            f"  {step.commit[:12]} {step.status}{change}" + (f": {step.reason}" if step.reason else "")
        )
    return lines
