"""A check as text for a terminal and as a Markdown page: pure functions of its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kswatch.ci.alerts.update import AlertChange
from kswatch.ci.check import CheckResult, RunJudgement
from kswatch.ci.formats.escape import markdown, markdown_table, plain
from kswatch.ci.regression.verdicts import TOO_LITTLE_HISTORY, SeriesVerdict
from kswatch.db.metrics import METRIC_BY_NAME

NOTHING = "No run to judge yet: `kswatch nightly` measures one."
ALERT_HEADER = ("alert", "state", "title")


def text_report(result: CheckResult, rows: int) -> str:
    """The result for a terminal, at most `rows` changed series per run."""
    parts = [_text(one, rows) for one in result.judgements] or [NOTHING]
    missing = [
        f"alert {one.alert.id} {one.alert.state}: {plain(one.alert.title)}" for one in result.missing_data
    ]
    return "\n\n".join([*parts, *(["\n".join(missing)] if missing else [])])


def _text(judgement: RunJudgement, rows: int) -> str:
    lines = [
        plain(check_headline(judgement)),
        f"  {counts(judgement)}",
        *(f"  {plain(note)}" for note in notes(judgement)),
    ]
    lines += [
        f"  alert {one.alert.id} {alert_status(one)}: {plain(one.alert.title)}" for one in judgement.alerts
    ]
    moved = moved_verdicts(judgement)
    lines += [f"    {_line(one)}" for one in moved[:rows]]
    if len(moved) > rows:
        lines.append(f"    and {len(moved) - rows} more; --format json has them all")
    return "\n".join(lines)


def _line(verdict: SeriesVerdict) -> str:
    cause = f" ({verdict.cause})" if verdict.cause else ""
    return (
        f"{verdict.verdict}{cause} {change_text(verdict)} {verdict.implementation} {verdict.metric} "
        f"{verdict.problem.words}"
    )


def check_headline(judgement: RunJudgement) -> str:
    """The run and whether it regressed."""
    run = judgement.run
    result = "REGRESSED" if judgement.regressed else "no confirmed regression"
    origin = "" if run.origin == "measured" else f", {run.origin}"
    return f"run {run.id} on {run.device_model} ({run.kind}{origin}): {result}"


def counts(judgement: RunJudgement) -> str:
    """The number of series with each verdict."""
    by_verdict = Counter(one.verdict for one in judgement.verdicts)
    short_history = sum((one.reason or "").startswith(TOO_LITTLE_HISTORY) for one in judgement.verdicts)
    words = [f"{by_verdict[word]} {word}" for word in ("slower", "faster", "ambiguous", "same")]
    history = f" ({short_history} with {TOO_LITTLE_HISTORY})" if short_history else ""
    return f"{len(judgement.verdicts)} series: {', '.join(words)}{history}"


def notes(judgement: RunJudgement) -> list[str]:
    """Peculiarities of the night: a new environment, a changed machine, incorrect results."""
    found = []
    if judgement.environment_changes:
        differences = ", ".join(
            f"{change.name} {change.before} -> {change.after}" for change in judgement.environment_changes
        )
        found.append(f"the environment changed, so this is a new segment: {differences}")
    if judgement.canary_change is not None:
        found.append(
            f"the machine changed: a canary is {signed_percent(judgement.canary_change)} from its history"
        )
    worse = sum(one.verdict == "slower" for one in judgement.heuristics)
    if worse:
        found.append(f"{worse} of {len(judgement.heuristics)} scores of heuristics became worse")
    for point in judgement.incorrect:
        found.append(f"fused is incorrect on {point.problem.words}: {point.reason or 'no reason given'}")
    return found


def alert_status(change: AlertChange) -> str:
    """An alert's state, whether it is confirmed, and its transition in this run."""
    alert = change.alert
    certainty = "confirmed" if alert.confirmed else "provisional"
    if alert.cause in ("environment", "canary"):
        certainty = f"attributed to {alert.cause}"
    transition = change.transition and f"new: {change.transition}"
    return ", ".join(part for part in (alert.state, certainty, transition) if part)


def moved_verdicts(judgement: RunJudgement) -> list[SeriesVerdict]:
    """Slower first, then faster, then ambiguous, each with the largest change first."""
    order = {"slower": 0, "faster": 1, "ambiguous": 2}
    changed = [one for one in judgement.verdicts if one.verdict in order]
    return sorted(changed, key=lambda one: (order[one.verdict], -abs(one.change or 0.0)))


def change_text(verdict: SeriesVerdict) -> str:
    """The change with its interval."""
    if verdict.change is None or verdict.change_low is None or verdict.change_high is None:
        return "unknown"
    low, high = signed_percent(verdict.change_low), signed_percent(verdict.change_high)
    return f"{signed_percent(verdict.change)} [{low}, {high}]"


def signed_percent(share: float) -> str:
    """A share as signed percent."""
    return f"{100 * share:+.1f} %"


def markdown_report(result: CheckResult, rows: int) -> str:
    """The result as a Markdown page; all text from commits, devices and users is escaped."""
    parts = [part for one in result.judgements for part in _markdown(one, rows)] or [NOTHING]
    if result.missing_data:
        alerts = [(str(one.alert.id), one.alert.state, one.alert.title) for one in result.missing_data]
        parts += ["## No longer measured", markdown_table(ALERT_HEADER, alerts)]
    parts = ["# kswatch check", *parts]
    return "\n\n".join(parts) + "\n"


def _markdown(judgement: RunJudgement, rows: int) -> Iterable[str]:
    yield f"## {markdown(check_headline(judgement))}"
    revision = judgement.run.revision
    if revision is not None:
        subject = f": {markdown(revision.subject)}" if revision.subject else ""
        yield f"Revision `{revision.commit[:12]}`{subject}"
    yield counts(judgement)
    if notes(judgement):
        yield "\n".join(f"- {markdown(note)}" for note in notes(judgement))
    if judgement.alerts:
        alerts = [(str(one.alert.id), alert_status(one), one.alert.title) for one in judgement.alerts]
        yield markdown_table(ALERT_HEADER, alerts)
    moved = moved_verdicts(judgement)
    if moved:
        header = ("verdict", "change", "implementation", "metric", "problem", "level", "value", "cause")
        yield markdown_table(header, [_verdict_row(one) for one in moved[:rows]])
    if len(moved) > rows:
        yield f"and {len(moved) - rows} more"


def _verdict_row(verdict: SeriesVerdict) -> tuple[str, ...]:
    unit = METRIC_BY_NAME[verdict.metric].unit
    level = "" if verdict.level is None else f"{verdict.level:.4g} {unit}"
    return (
        verdict.verdict,
        change_text(verdict),
        verdict.implementation,
        verdict.metric,
        verdict.problem.words,
        level,
        f"{verdict.value:.4g} {unit}",
        verdict.cause or "",
    )
