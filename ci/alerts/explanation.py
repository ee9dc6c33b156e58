"""The explanation of an alert: its title, its cells, and what else changed since the last good run."""

from __future__ import annotations

from collections.abc import Sequence

from kswatch.ci.alerts.differences import differences
from kswatch.ci.alerts.grouping import VerdictGroup
from kswatch.ci.regression.history import JudgingInputs
from kswatch.ci.regression.onset import find_onset
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.basic import AlertRow
from kswatch.db.queries.regression_inputs import NewestPoint
from kswatch.db.store import Store

CELLS_LISTED = 50
"""Cells that an explanation lists, the worst first; the others are counted."""
_CELL_FIELDS = (
    *("implementation", "metric", "level", "value", "change", "change_low", "change_high"),
    *("noise_units", "reason", "confirmed"),
)


def title_of(group: VerdictGroup) -> str:
    """One line: implementation and direction, number of problems, the worst change."""
    worst = group.leading[0]
    count = _counted(len({one.problem for one in group.leading}))
    change = f"{worst.change or 0:+.1%}".replace("%", " %")
    metric = METRIC_BY_NAME[worst.metric].label
    return f"{_subject(group)}: {count}, worst {metric} {change} on {worst.problem.words}"


def _counted(count: int) -> str:
    return "1 problem" if count == 1 else f"{count} problems"


def _subject(group: VerdictGroup) -> str:
    change = f"{group.implementation} {group.verdict}"
    if group.cause == "environment":
        return f"environment changed, {change}"
    if group.cause == "canary":
        return f"machine changed (canary), {change}"
    if group.cause == "drift":
        return f"{group.implementation} has drifted slower"
    if group.cause == "baseline":
        of_fused = group.implementation == "fused"
        return f"{change} because its baselines changed" if of_fused else f"baseline {change}"
    return change


def explanation_of(
    store: Store, inputs: JudgingInputs, group: VerdictGroup, known: AlertRow | None
) -> dict[str, object]:
    """The cells, and what else differs between the last good run and the first bad one."""
    cells = {
        "problems": len(group.problems),
        "patterns": list(dict.fromkeys(problem.pattern for problem in group.problems)),
        "cells": [
            one.problem.fields | {name: getattr(one, name) for name in _CELL_FIELDS}
            for one in group.verdicts[:CELLS_LISTED]
        ],
        "canary_change": inputs.canary_change,
    }
    if known is not None:  # the onset is that of the first night
        return dict(known.explanation) | cells
    good, first_bad = find_onset(inputs, group.verdicts)
    cell_ids = list(dict.fromkeys(one.cell_id for one in group.verdicts))[:CELLS_LISTED]
    bad_commit = inputs.run.revision.commit if inputs.run.revision else None
    return cells | {
        "first_bad_run": first_bad.run_id if first_bad else inputs.run.id,
        "last_good_run": good.run_id if good else None,
        "revisions": {
            "good": good.commit if good else None,
            "bad": first_bad.commit if first_bad else bad_commit,
        },
        "differences": differences(store, good.run_id, inputs.run.id, cell_ids) if good else {},
        "environment_changes": [
            {"name": change.name, "before": str(change.before), "after": str(change.after)}
            for change in inputs.environment_changes
        ],
    }


def incorrect_title(points: Sequence[NewestPoint]) -> str:
    """One line on the cells of `fused` with an incorrect result."""
    count = _counted(len(points))
    return f"fused is incorrect: {count}, first {points[0].problem.words}"


def incorrect_explanation(inputs: JudgingInputs) -> dict[str, object]:
    """The incorrect cells with their reasons."""
    points = inputs.incorrect
    return {
        "problems": len(points),
        "patterns": list(dict.fromkeys(point.problem.pattern for point in points)),
        "cells": [
            point.problem.fields | {"implementation": "fused", "reason": point.reason}
            for point in points[:CELLS_LISTED]
        ],
        "first_bad_run": inputs.run.id,
        "last_good_run": inputs.night_before.run_id if inputs.night_before else None,
    }
