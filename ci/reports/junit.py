"""A check as JUnit XML: a case for each judged run, and for each alert that concerns it."""

from __future__ import annotations

from collections.abc import Iterator

from kswatch.ci.check import DECIDED_STATES, CheckResult, RunJudgement
from kswatch.ci.formats.junit import Case, junit_xml
from kswatch.ci.reports.github import annotation_level
from kswatch.db.queries.basic import AlertRow


def check_junit(result: CheckResult, system_out: str) -> str:
    """One document; `system_out` is the report in text, which holds every series that moved."""
    cases = [case for one in result.judgements for case in _cases(one)]
    cases += [
        Case(_group(one.device.model, one.device.uuid), _name(one.alert), "skipped", one.alert.title)
        for one in result.missing_data
    ]
    return junit_xml("kswatch check", cases, system_out=system_out)


def _cases(judgement: RunJudgement) -> Iterator[Case]:
    run = judgement.run
    group = _group(run.device_model, run.device_uuid)
    name = f"run {run.id} shows no confirmed regression"
    if judgement.regressed:
        yield Case(group, name, "failure", "a confirmed regression or an incorrect result; see the alerts")
    else:
        yield Case(group, name)
    for change in judgement.alerts:
        alert = change.alert
        fails = annotation_level(alert) == "error" and alert.state not in DECIDED_STATES
        yield Case(group, _name(alert), "failure" if fails else "skipped", alert.title)


def _group(model: str, uuid: str) -> str:
    return f"kswatch.check.{model} {uuid}"


def _name(alert: AlertRow) -> str:
    return f"alert {alert.id} is {alert.state}"
