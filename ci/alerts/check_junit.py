"""A check as JUnit XML: a case for each judged run, and for each alert that concerns it."""

from __future__ import annotations

from collections.abc import Iterator

from ci.alerts.github import level_of
from ci.alerts.junit import Case, junit_xml
from ci.check import SILENCED, Judged, Judgement


def check_junit(judged: Judged, said: str) -> str:
    """One document; `said` is the report in text, which holds every series that moved."""
    cases = [case for one in judged.judgements for case in _cases(one)]
    return junit_xml("kswatch check", cases, said=said)


def _cases(judgement: Judgement) -> Iterator[Case]:
    run = judgement.run
    group = f"kswatch.check.{run.device_model} {run.device_uuid}"
    name = f"run {run.id} shows no confirmed regression"
    if judgement.regressed:
        yield Case(group, name, "failure", "a regression is confirmed, or a result incorrect; see the alerts")
    else:
        yield Case(group, name)
    for told in judgement.alerts:
        alert = told.alert
        decided = alert.state in SILENCED
        outcome = "failure" if level_of(alert) == "error" and not decided else "skipped"
        yield Case(group, f"alert {alert.id} is {alert.state}", outcome, alert.title)  # type: ignore[arg-type]
