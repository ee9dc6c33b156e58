"""GitHub annotations, as workflow commands on stdout, and the step summary."""

from __future__ import annotations

import os
from pathlib import Path

from ci.alerts.describing import problem_text
from ci.alerts.escape import annotation_property, annotation_text
from ci.alerts.raising import ToldAlert
from ci.causes import CODE_CAUSES
from ci.check import SILENCED, Judged, Judgement
from db.queries import AlertRow
from kswatch_errors import ConfigurationError


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
            annotation("error", "fused is incorrect", f"{problem_text(point.problem)} ({where})")
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


def annotation(level: str, title: str, message: str) -> str:
    """One workflow command; `level` is error, warning or notice."""
    return f"::{level} title={annotation_property(title)}::{annotation_text(message)}"


def append_step_summary(markdown: str) -> None:
    """Append the report to the page that GitHub shows for this step, where it asks for one.

    Raises:
        ConfigurationError: the file that GITHUB_STEP_SUMMARY names cannot be written.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(markdown)
    except OSError as error:
        raise ConfigurationError(
            f"GITHUB_STEP_SUMMARY names {path}, which cannot be written ({error.strerror}); unset it"
        ) from error
