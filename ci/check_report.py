"""A check as text for a terminal, Markdown page, JSON rows, JUnit XML and GitHub annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kswatch.ci.alerts.update import AlertChange
from kswatch.ci.check import DECIDED_STATES, CheckResult, RunJudgement
from kswatch.ci.formats.escape import annotation, markdown, markdown_table, plain
from kswatch.ci.formats.junit import Case, junit_xml
from kswatch.ci.regression.attribution import CODE_CAUSES
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.machine_reads.rows import alert_row
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.basic import AlertRow
from kswatch.db.queries.verdicts import TOO_LITTLE_HISTORY
from kswatch.db.records import FUSED

NOTHING = "No run to judge yet: `kswatch nightly` measures one."
_ALERT_HEADER = ("alert", "state", "title")
_INCORRECT: dict[str, object] = {
    "implementation": "fused",
    "metric": "relative_error",
    "verdict": None,
    "cause": "incorrect",
    "confirmed": True,
}
_NOT_IN_ROWS = frozenset({"problem", "cell_id", "run_id", "alert_id"})


def text_report(result: CheckResult, rows: int) -> str:
    """The result for a terminal, at most `rows` changed series per run."""
    parts = [_run_text(one, rows) for one in result.judgements] or [NOTHING]
    missing = [f"alert {alert.id} {alert.state}: {plain(alert.title)}" for alert, _ in result.missing_data]
    return "\n\n".join([*parts, *(["\n".join(missing)] if missing else [])])


def _run_text(judgement: RunJudgement, rows: int) -> str:
    lines = [plain(run_headline(judgement)), f"  {_counts(judgement)}"]
    lines += [f"  {plain(note)}" for note in _notes(judgement)]
    lines += [
        f"  alert {one.alert.id} {alert_status(one)}: {plain(one.alert.title)}" for one in judgement.alerts
    ]
    moved = _moved_verdicts(judgement)
    for one in moved[:rows]:
        cause = f" ({one.cause})" if one.cause else ""
        series = f"{one.implementation} {one.metric} {one.problem.words}"
        lines.append(f"    {one.verdict}{cause} {_change_text(one)} {series}")
    if len(moved) > rows:
        lines.append(f"    and {len(moved) - rows} more; --format json has them all")
    return "\n".join(lines)


def run_headline(judgement: RunJudgement) -> str:
    """The run and whether it regressed."""
    run = judgement.run
    result = "REGRESSED" if judgement.regressed else "no confirmed regression"
    origin = "" if run.origin == "measured" else f", {run.origin}"
    return f"run {run.id} on {run.device_model} ({run.kind}{origin}): {result}"


def _counts(judgement: RunJudgement) -> str:
    """The number of series with each verdict."""
    by_verdict = Counter(one.verdict for one in judgement.verdicts)
    short_history = sum((one.reason or "").startswith(TOO_LITTLE_HISTORY) for one in judgement.verdicts)
    words = [f"{by_verdict[word]} {word}" for word in ("slower", "faster", "ambiguous", "same")]
    history = f" ({short_history} with {TOO_LITTLE_HISTORY})" if short_history else ""
    return f"{len(judgement.verdicts)} series: {', '.join(words)}{history}"


def _notes(judgement: RunJudgement) -> Iterator[str]:
    """Peculiarities of the night: a new environment, a changed machine, incorrect results."""
    changes = [f"{one.name} {one.before} -> {one.after}" for one in judgement.environment_changes]
    if changes:
        yield f"the environment changed, so this is a new segment: {', '.join(changes)}"
    if judgement.canary_change is not None:
        yield f"the machine changed: a canary is {_percent(judgement.canary_change)} from its history"
    worse = sum(one.verdict == "slower" for one in judgement.heuristics)
    if worse:
        yield f"{worse} of {len(judgement.heuristics)} scores of heuristics became worse"
    for one in judgement.speed_of_light:
        if one.verdict in ("slower", "faster"):
            cause = f" ({one.cause})" if one.cause else ""
            yield (
                f"speed of light, {one.statistic} in {one.precision} {one.layout}: {100 * one.value:.1f} %, "
                f"{one.verdict}{cause} {_percent(one.change or 0.0)}"
            )
    for point in judgement.incorrect:
        yield f"fused is incorrect on {point.problem.words}: {point.reason or 'no reason given'}"


def alert_status(change: AlertChange) -> str:
    """An alert's state, whether it is confirmed, and its transition in this run."""
    alert = change.alert
    certainty = "confirmed" if alert.confirmed else "provisional"
    if alert.cause in ("environment", "canary"):
        certainty = f"attributed to {alert.cause}"
    transition = change.transition and f"new: {change.transition}"
    return ", ".join(part for part in (alert.state, certainty, transition) if part)


def _moved_verdicts(judgement: RunJudgement) -> list[SeriesVerdict]:
    """Slower first, then faster, then ambiguous, each with the largest change first."""
    order = {"slower": 0, "faster": 1, "ambiguous": 2}
    changed = [one for one in judgement.verdicts if one.verdict in order]
    return sorted(changed, key=lambda one: (order[one.verdict], -abs(one.change or 0.0)))


def _change_text(verdict: SeriesVerdict) -> str:
    """The change with its interval."""
    if verdict.change is None or verdict.change_low is None or verdict.change_high is None:
        return "unknown"
    return f"{_percent(verdict.change)} [{_percent(verdict.change_low)}, {_percent(verdict.change_high)}]"


def _percent(share: float) -> str:
    return f"{100 * share:+.1f} %"


def markdown_report(result: CheckResult, rows: int) -> str:
    """The result as a Markdown page; all text from commits, devices and users is escaped."""
    parts = [part for one in result.judgements for part in _run_markdown(one, rows)] or [NOTHING]
    if result.missing_data:
        alerts = [(str(alert.id), alert.state, alert.title) for alert, _ in result.missing_data]
        parts += ["## No longer measured", markdown_table(_ALERT_HEADER, alerts)]
    return "\n\n".join(["# kswatch check", *parts]) + "\n"


def _run_markdown(judgement: RunJudgement, rows: int) -> Iterator[str]:
    yield f"## {markdown(run_headline(judgement))}"
    revision = judgement.run.revision
    if revision is not None:
        subject = f": {markdown(revision.subject)}" if revision.subject else ""
        yield f"Revision `{revision.commit[:12]}`{subject}"
    yield _counts(judgement)
    if notes := [f"- {markdown(note)}" for note in _notes(judgement)]:
        yield "\n".join(notes)
    if judgement.alerts:
        alerts = [(str(one.alert.id), alert_status(one), one.alert.title) for one in judgement.alerts]
        yield markdown_table(_ALERT_HEADER, alerts)
    moved = _moved_verdicts(judgement)
    if moved:
        header = ("verdict", "change", "implementation", "metric", "problem", "level", "value", "cause")
        yield markdown_table(header, map(_verdict_cells, moved[:rows]))
    if len(moved) > rows:
        yield f"and {len(moved) - rows} more"


def _verdict_cells(verdict: SeriesVerdict) -> tuple[str, ...]:
    unit = METRIC_BY_NAME[verdict.metric].unit
    return (
        verdict.verdict,
        _change_text(verdict),
        verdict.implementation,
        verdict.metric,
        verdict.problem.words,
        "" if verdict.level is None else f"{verdict.level:.4g} {unit}",
        f"{verdict.value:.4g} {unit}",
        verdict.cause or "",
    )


def check_rows(result: CheckResult) -> list[dict[str, object]]:
    """Every verdict, incorrect result of `fused` and missing-data alert, flat."""
    rows = [row for one in result.judgements for row in _run_rows(one)]
    missing = [
        {"run": alert.newest_run_id} | alert_row(alert, device) for alert, device in result.missing_data
    ]
    return rows + missing


def _run_rows(judgement: RunJudgement) -> Iterator[dict[str, object]]:
    run = {
        "run": judgement.run.id,
        "device": judgement.run.device_uuid,
        "model": judgement.run.device_model,
        "kind": judgement.run.kind,
        "origin": judgement.run.origin,
        "revision": judgement.run.revision.commit if judgement.run.revision else None,
    }
    transitions = {change.alert.id: change.transition for change in judgement.alerts}

    def row(values: dict[str, object], alert_id: int | None) -> dict[str, object]:
        return run | values | {"alert": alert_id, "news": transitions.get(alert_id or 0)}

    incorrect_alert = next((one.alert.id for one in judgement.alerts if one.alert.cause == "incorrect"), None)
    for point in judgement.incorrect:
        result = {"status": point.status, "reason": point.reason}
        yield row(point.problem.fields | _INCORRECT | result, incorrect_alert)
    for verdict in judgement.verdicts:
        yield row(verdict.problem.fields | {"status": "ok"} | _values(verdict), verdict.alert_id)
    for of_heuristic in judgement.heuristics:
        yield row(_values(of_heuristic), of_heuristic.alert_id)
    for of_light in judgement.speed_of_light:
        values = {name: value for name, value in of_light._asdict().items() if name not in _NOT_IN_ROWS}
        yield row({"implementation": FUSED, "metric": "speed_of_light"} | values, None)


def _values(verdict: object) -> dict[str, object]:
    return {name: value for name, value in vars(verdict).items() if name not in _NOT_IN_ROWS}


def check_junit(result: CheckResult, system_out: str) -> str:
    """A case for each run and alert; `system_out` is the report in text, with every series that moved."""
    cases = [case for one in result.judgements for case in _run_cases(one)]
    for alert, device in result.missing_data:
        group = f"kswatch.check.{device.model} {device.uuid}"
        cases.append(Case(group, f"alert {alert.id} is {alert.state}", "skipped", alert.title))
    return junit_xml("kswatch check", cases, system_out=system_out)


def _run_cases(judgement: RunJudgement) -> Iterator[Case]:
    run = judgement.run
    group = f"kswatch.check.{run.device_model} {run.device_uuid}"
    name = f"run {run.id} shows no confirmed regression"
    message = "a confirmed regression or an incorrect result; see the alerts"
    yield Case(group, name, "failure", message) if judgement.regressed else Case(group, name)
    for alert in (change.alert for change in judgement.alerts):
        fails = _level(alert) == "error" and alert.state not in DECIDED_STATES
        name = f"alert {alert.id} is {alert.state}"
        yield Case(group, name, "failure" if fails else "skipped", alert.title)


def workflow_commands(result: CheckResult) -> str:
    """A line for each undecided alert, missing data included, and each incorrect result; errors first."""
    lines = [line for one in result.judgements for line in _run_annotations(one)]
    lines += [
        annotation("warning", f"kswatch alert {alert.id}", alert.title)
        for alert, _ in result.missing_data
        if alert.state not in DECIDED_STATES
    ]
    return "\n".join(sorted(lines, key=lambda line: not line.startswith("::error")))


def _run_annotations(judgement: RunJudgement) -> Iterator[str]:
    where = f"run {judgement.run.id} on {judgement.run.device_model}"
    alerts = [change.alert for change in judgement.alerts]
    for alert in alerts:
        if alert.state not in DECIDED_STATES:
            title = f"{'' if alert.confirmed else 'provisional: '}{alert.title} ({where})"
            yield annotation(_level(alert), f"kswatch alert {alert.id}", title)
    if not any(alert.cause == "incorrect" for alert in alerts):  # a run that opens no alerts
        for point in judgement.incorrect:
            yield annotation("error", "fused is incorrect", f"{point.problem.words} ({where})")
    if judgement.canary_change is not None:
        yield annotation("warning", "the machine changed", f"a canary is beyond its limit ({where})")


def _level(alert: AlertRow) -> str:
    """`error` where the alert fails a check, `notice` where something became faster, else `warning`."""
    if alert.confirmed and alert.cause in CODE_CAUSES | {"incorrect"} and alert.verdict != "faster":
        return "error"
    return "notice" if alert.verdict == "faster" else "warning"
