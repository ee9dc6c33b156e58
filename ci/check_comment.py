"""The comment of a check: empty unless an alert changed, a result is incorrect, or data are missing."""

from __future__ import annotations

from collections.abc import Iterator

from kswatch.ci.check import DECIDED_STATES, CheckResult, RunJudgement
from kswatch.ci.check_report import alert_status, run_headline
from kswatch.ci.formats.comment import comment
from kswatch.ci.formats.escape import markdown

HEADER = ("device", "finding", "state")


def check_comment(result: CheckResult, link: str = "") -> str:
    """The comment of a check, with a link to the alerts; empty where nothing changed."""
    regressed = [row for one in result.judgements if one.regressed for row in _rows(one)]
    others = [row for one in result.judgements if not one.regressed for row in _rows(one)]
    missing = [
        (device.model, alert.title, alert.state)
        for alert, device in result.missing_data
        if alert.state not in DECIDED_STATES
    ]
    rows = [*regressed, *others, *missing]
    if not rows:
        return ""
    notes = [f"- {markdown(run_headline(one))}" for one in result.judgements if any(_rows(one))]
    return comment("**kswatch check**", HEADER, rows, notes=notes, link=link)


def _rows(judgement: RunJudgement) -> Iterator[tuple[str, str, str]]:
    """Incorrect results, then the alerts that changed with this run, confirmed ones first."""
    model = judgement.run.device_model
    for point in judgement.incorrect:
        yield model, f"fused is incorrect on {point.problem.words}", "incorrect"
    changed = [one for one in judgement.alerts if one.transition]
    for one in sorted(changed, key=lambda one: not one.alert.confirmed):
        yield model, one.alert.title, alert_status(one)
