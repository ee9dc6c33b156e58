"""A check as GitHub annotations."""

from __future__ import annotations

from kswatch.ci.alerts.update import AlertChange
from kswatch.ci.check import DECIDED_STATES, CheckResult, RunJudgement
from kswatch.ci.formats.github_commands import annotation
from kswatch.ci.regression.attribution import CODE_CAUSES
from kswatch.db.queries.basic import AlertRow


def workflow_commands(result: CheckResult) -> str:
    """A line for each undecided alert, missing data included, and each incorrect result; errors first."""
    lines = [line for one in result.judgements for line in _of_run(one)]
    lines += [
        annotation("warning", f"kswatch alert {one.alert.id}", one.alert.title)
        for one in result.missing_data
        if one.alert.state not in DECIDED_STATES
    ]
    return "\n".join(sorted(lines, key=lambda line: not line.startswith("::error")))


def _of_run(judgement: RunJudgement) -> list[str]:
    where = f"run {judgement.run.id} on {judgement.run.device_model}"
    lines = [_of_alert(one, where) for one in judgement.alerts if one.alert.state not in DECIDED_STATES]
    alerted = {change.alert.cause for change in judgement.alerts}
    if judgement.incorrect and "incorrect" not in alerted:  # a run that opens no alerts
        lines += [
            annotation("error", "fused is incorrect", f"{point.problem.words} ({where})")
            for point in judgement.incorrect
        ]
    if judgement.canary_change is not None:
        lines.append(annotation("warning", "the machine changed", f"a canary is beyond its limit ({where})"))
    return lines


def _of_alert(change: AlertChange, where: str) -> str:
    alert = change.alert
    provisional = "" if alert.confirmed else "provisional: "
    title = f"{provisional}{alert.title} ({where})"
    return annotation(annotation_level(alert), f"kswatch alert {alert.id}", title)


def annotation_level(alert: AlertRow) -> str:
    """`error` where the alert fails a check, `notice` where something became faster, else `warning`."""
    if alert.confirmed and alert.cause in CODE_CAUSES | {"incorrect"} and alert.verdict != "faster":
        return "error"
    return "notice" if alert.verdict == "faster" else "warning"
