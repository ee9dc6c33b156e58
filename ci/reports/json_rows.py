"""A check as rows for scripts: one object for each judged series, with the glossary's words as keys."""

from __future__ import annotations

from collections.abc import Iterable

from kswatch.ci.check import CheckResult, RunJudgement
from kswatch.ci.formats.alert_text import alert_rows
from kswatch.ci.formats.problem_fields import problem_fields

_INCORRECT: dict[str, object] = {
    "implementation": "fused",
    "metric": "relative_error",
    "verdict": None,
    "cause": "incorrect",
    "confirmed": True,
}
_NOT_IN_ROWS = frozenset({"problem", "cell_id", "run_id", "alert_id"})


def check_rows(result: CheckResult) -> list[dict[str, object]]:
    """Every verdict on cells and heuristics, incorrect result of `fused` and missing-data alert, flat."""
    rows = [row for one in result.judgements for row in _rows(one)]
    for one in result.missing_data:
        rows += [
            {"run": one.alert.newest_run_id} | row
            for row in alert_rows([one.alert], {one.device.id: one.device})
        ]
    return rows


def _rows(judgement: RunJudgement) -> Iterable[dict[str, object]]:
    run = {
        "run": judgement.run.id,
        "device": judgement.run.device_uuid,
        "model": judgement.run.device_model,
        "kind": judgement.run.kind,
        "origin": judgement.run.origin,
        "revision": judgement.run.revision.commit if judgement.run.revision else None,
    }
    transitions = {change.alert.id: change.transition for change in judgement.alerts}

    def alert(alert_id: int | None) -> dict[str, object]:
        return {"alert": alert_id, "news": transitions.get(alert_id or 0)}

    incorrect_alert = next((one.alert.id for one in judgement.alerts if one.alert.cause == "incorrect"), None)
    for point in judgement.incorrect:
        result = {"status": point.status, "reason": point.reason}
        yield run | problem_fields(point.problem) | _INCORRECT | result | alert(incorrect_alert)
    for verdict in judgement.verdicts:
        cell = problem_fields(verdict.problem) | {"status": "ok"}
        yield run | cell | _values(verdict) | alert(verdict.alert_id)
    for of_heuristic in judgement.heuristics:
        yield run | _values(of_heuristic) | alert(of_heuristic.alert_id)


def _values(verdict: object) -> dict[str, object]:
    return {name: value for name, value in vars(verdict).items() if name not in _NOT_IN_ROWS}
