"""A check as GitHub annotations."""

from __future__ import annotations

from kswatch.ci.alerts.update import ToldAlert
from kswatch.ci.check import SILENCED, Judged, Judgement
from kswatch.ci.formats.github_commands import annotation
from kswatch.ci.regression.attribution import CODE_CAUSES
from kswatch.db.queries.basic import AlertRow


def workflow_commands(judged: Judged) -> str:
    """A line for each alert that matters, a silence too, and each incorrect result: errors, then warnings."""
    lines = [line for one in judged.judgements for line in _of_run(one)]
    lines += [
        annotation("warning", f"kswatch alert {one.alert.id}", one.alert.title)
        for one in judged.silences
        if one.alert.state not in SILENCED
    ]
    return "\n".join(sorted(lines, key=lambda line: not line.startswith("::error")))


def _of_run(judgement: Judgement) -> list[str]:
    where = f"run {judgement.run.id} on {judgement.run.device_model}"
    lines = [_of_alert(one, where) for one in judgement.alerts if one.alert.state not in SILENCED]
    alerted = {told.alert.cause for told in judgement.alerts}
    if judgement.incorrect and "incorrect" not in alerted:  # of a run that raises no alerts
        lines += [
            annotation("error", "fused is incorrect", f"{point.problem.words} ({where})")
            for point in judgement.incorrect
        ]
    if judgement.canary_change is not None:
        lines.append(annotation("warning", "the machine moved", f"a canary left its history ({where})"))
    return lines


def _of_alert(told: ToldAlert, where: str) -> str:
    alert = told.alert
    sure = "" if alert.confirmed else "provisional: "
    return annotation(level_of(alert), f"kswatch alert {alert.id}", f"{sure}{alert.title} ({where})")


def level_of(alert: AlertRow) -> str:
    """How loud an alert is: `error` where it fails a check, `notice` where something got faster."""
    if alert.confirmed and alert.cause in CODE_CAUSES | {"incorrect"} and alert.verdict != "faster":
        return "error"
    return "notice" if alert.verdict == "faster" else "warning"
