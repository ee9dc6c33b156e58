"""What an alert says of itself: its title, and the differences that may explain it."""

from __future__ import annotations

from collections.abc import Sequence

from kswatch.ci.alerts.differences import differences
from kswatch.ci.alerts.grouping import Group
from kswatch.ci.regression.history import Evidence
from kswatch.ci.regression.onset import began
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.basic import AlertRow, environment_changes
from kswatch.db.queries.regression_inputs import NewestPoint
from kswatch.db.store import Store

CELLS_LISTED = 50
"""An explanation lists so many cells, the worst first, and counts the rest."""


def title_of(found: Group) -> str:
    """One line: who, what, how many, the worst."""
    worst = found.leading[0]
    count = len({one.series.problem for one in found.leading})
    problems = "1 problem" if count == 1 else f"{count} problems"
    change = f"{worst.change or 0:+.1%}".replace("%", " %")
    what = METRIC_BY_NAME[worst.series.metric].label
    return f"{_subject(found)}: {problems}, worst {what} {change} on {worst.series.problem.words}"


def _subject(found: Group) -> str:
    if found.cause == "environment":
        return f"environment changed, {found.implementation} {found.verdict}"
    if found.cause == "canary":
        return f"the machine moved (canary), {found.implementation} {found.verdict}"
    if found.cause == "drift":
        return f"{found.implementation} has drifted slower"
    if found.cause == "baseline":
        return (
            f"baseline {found.implementation} {found.verdict}"
            if found.implementation != "fused"
            else (f"fused {found.verdict} against its baselines, which moved")
        )
    return f"{found.implementation} {found.verdict}"


def explanation_of(
    store: Store, evidence: Evidence, found: Group, known: AlertRow | None
) -> dict[str, object]:
    """The cells, and what else differs between the last good run and the first bad one."""
    cells = {
        "problems": len(found.problems),
        "patterns": list(dict.fromkeys(problem.pattern for problem in found.problems)),
        "cells": [_cell(one) for one in found.verdicts[:CELLS_LISTED]],
        "canary_change": evidence.canary_change,
    }
    if known is not None:  # when it began does not change with another night
        return dict(known.explanation) | cells
    good, first_bad = began(evidence, found.verdicts)
    bad_commit = evidence.run.revision.commit if evidence.run.revision else None
    return cells | {
        "first_bad_run": first_bad.run_id if first_bad else evidence.run.id,
        "last_good_run": good.run_id if good else None,
        "revisions": {
            "good": good.commit if good else None,
            "bad": first_bad.commit if first_bad else bad_commit,
        },
        "differences": differences(store, good.run_id, evidence.run.id, _cells_of(found)) if good else {},
        "environment_changes": [
            {"name": change.name, "before": str(change.before), "after": str(change.after)}
            for change in (environment_changes(store, good.run_id, evidence.run.id) if good else [])
        ],
    }


def _cells_of(found: Group) -> list[int]:
    cells = dict.fromkeys(one.series.cell_id for one in found.verdicts)
    return list(cells)[:CELLS_LISTED]


def _cell(verdict: SeriesVerdict) -> dict[str, object]:
    problem = verdict.series.problem
    return {
        "pattern": problem.pattern,
        "batch": problem.batch,
        "precision": problem.precision,
        "layout": problem.layout,
        "implementation": verdict.series.implementation,
        "metric": verdict.series.metric,
        "level": verdict.level,
        "value": verdict.value,
        "change": verdict.change,
        "change_low": verdict.change_low,
        "change_high": verdict.change_high,
        "noise_units": verdict.noise_units,
        "reason": verdict.reason,
        "confirmed": verdict.confirmed,
    }


def incorrect_title(points: Sequence[NewestPoint]) -> str:
    """One line on the cells of `fused` whose result was wrong."""
    count = "1 problem" if len(points) == 1 else f"{len(points)} problems"
    return f"fused is incorrect: {count}, first {points[0].problem.words}"


def incorrect_explanation(evidence: Evidence) -> dict[str, object]:
    """The cells with the reason that the check gave."""
    points = evidence.incorrect
    return {
        "problems": len(points),
        "patterns": list(dict.fromkeys(point.problem.pattern for point in points)),
        "cells": [
            {
                "pattern": point.problem.pattern,
                "batch": point.problem.batch,
                "precision": point.problem.precision,
                "layout": point.problem.layout,
                "implementation": "fused",
                "reason": point.reason,
            }
            for point in points[:CELLS_LISTED]
        ],
        "first_bad_run": evidence.run.id,
        "last_good_run": evidence.night_before.run_id if evidence.night_before else None,
    }
