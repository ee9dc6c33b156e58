"""A check as JUnit XML: a case for each judged run, and for each alert that concerns it."""

from __future__ import annotations

from collections.abc import Iterator

from kswatch.ci.check import SILENCED, Judged, Judgement
from kswatch.ci.formats.junit import Case, junit_xml
from kswatch.ci.reports.github import level_of
from kswatch.db.queries.basic import AlertRow


def check_junit(judged: Judged, said: str) -> str:
    """One document; `said` is the report in text, which holds every series that moved."""
    cases = [case for one in judged.judgements for case in _cases(one)]
    cases += [
        Case(_group(one.device.model, one.device.uuid), _name(one.alert), "skipped", one.alert.title)
        for one in judged.silences
    ]
    return junit_xml("kswatch check", cases, said=said)


def _cases(judgement: Judgement) -> Iterator[Case]:
    run = judgement.run
    group = _group(run.device_model, run.device_uuid)
    name = f"run {run.id} shows no confirmed regression"
    if judgement.regressed:
        yield Case(group, name, "failure", "a regression is confirmed, or a result incorrect; see the alerts")
    else:
        yield Case(group, name)
    for told in judgement.alerts:
        alert = told.alert
        decided = alert.state in SILENCED
        outcome = "failure" if level_of(alert) == "error" and not decided else "skipped"
        yield Case(group, _name(alert), outcome, alert.title)  # type: ignore[arg-type]


def _group(model: str, uuid: str) -> str:
    return f"kswatch.check.{model} {uuid}"


def _name(alert: AlertRow) -> str:
    return f"alert {alert.id} is {alert.state}"
