"""What a check says to people: text for a terminal, Markdown for a page. Pure functions of a judgement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from kswatch.ci.alerts.update import ToldAlert
from kswatch.ci.check import Judged, Judgement
from kswatch.ci.formats.escape import markdown, plain
from kswatch.ci.regression.verdicts import TOO_LITTLE_HISTORY, SeriesVerdict
from kswatch.db.metrics import METRIC_BY_NAME

NOTHING = "No run to judge yet: `kswatch nightly` measures one."


def text_report(judged: Judged, rows: int) -> str:
    """The judgement for a terminal, at most `rows` changed series per run."""
    parts = [_text(one, rows) for one in judged.judgements] or [NOTHING]
    silent = [f"alert {one.alert.id} {one.alert.state}: {plain(one.alert.title)}" for one in judged.silences]
    return "\n\n".join([*parts, *(["\n".join(silent)] if silent else [])])


def _text(judgement: Judgement, rows: int) -> str:
    lines = [
        plain(headline(judgement)),
        f"  {counts(judgement)}",
        *(f"  {plain(note)}" for note in notes(judgement)),
    ]
    lines += [f"  alert {one.alert.id} {standing(one)}: {plain(one.alert.title)}" for one in judgement.alerts]
    moved = moved_verdicts(judgement)
    lines += [f"    {_line(one)}" for one in moved[:rows]]
    if len(moved) > rows:
        lines.append(f"    and {len(moved) - rows} more; --format json has them all")
    return "\n".join(lines)


def _line(verdict: SeriesVerdict) -> str:
    series = verdict.series
    put_down_to = f" ({verdict.cause})" if verdict.cause else ""
    return (
        f"{verdict.verdict}{put_down_to} {change_text(verdict)} {series.implementation} {series.metric} "
        f"{series.problem.words}"
    )


def headline(judgement: Judgement) -> str:
    """Which run, and the one word that matters."""
    run = judgement.run
    word = "REGRESSED" if judgement.regressed else "no confirmed regression"
    origin = "" if run.origin == "measured" else f", {run.origin}"
    return f"run {run.id} on {run.device_model} ({run.kind}{origin}): {word}"


def counts(judgement: Judgement) -> str:
    """How many series had which verdict."""
    by_word = Counter(one.verdict for one in judgement.verdicts)
    young = sum((one.reason or "").startswith(TOO_LITTLE_HISTORY) for one in judgement.verdicts)
    words = [f"{by_word[word]} {word}" for word in ("slower", "faster", "ambiguous", "same")]
    history = f" ({young} with {TOO_LITTLE_HISTORY})" if young else ""
    return f"{len(judgement.verdicts)} series: {', '.join(words)}{history}"


def notes(judgement: Judgement) -> list[str]:
    """What was unlike other nights: a new environment, a moved machine, incorrect results."""
    said = []
    if judgement.environment_changes:
        differences = ", ".join(
            f"{change.name} {change.before} -> {change.after}" for change in judgement.environment_changes
        )
        said.append(f"the environment changed, so this is a new segment: {differences}")
    if judgement.canary_change is not None:
        said.append(f"the machine moved: a canary is {percent(judgement.canary_change)} from its history")
    worse = sum(one.verdict == "slower" for one in judgement.heuristics)
    if worse:
        said.append(f"{worse} of {len(judgement.heuristics)} scores of heuristics got worse")
    for point in judgement.incorrect:
        said.append(f"fused is incorrect on {point.problem.words}: {point.reason or 'no reason given'}")
    return said


def standing(told: ToldAlert) -> str:
    """An alert's state, and what is new about it."""
    alert = told.alert
    sure = "confirmed" if alert.confirmed else "provisional"
    if alert.cause in ("environment", "canary"):
        sure = f"put down to {alert.cause}"
    return ", ".join(part for part in (alert.state, sure, told.news and f"new: {told.news}") if part)


def moved_verdicts(judgement: Judgement) -> list[SeriesVerdict]:
    """Slower first, then faster, then ambiguous, each with the largest change first."""
    order = {"slower": 0, "faster": 1, "ambiguous": 2}
    changed = [one for one in judgement.verdicts if one.verdict in order]
    return sorted(changed, key=lambda one: (order[one.verdict], -abs(one.change or 0.0)))


def change_text(verdict: SeriesVerdict) -> str:
    """The change with its interval."""
    if verdict.change is None or verdict.change_low is None or verdict.change_high is None:
        return "unknown"
    return f"{percent(verdict.change)} [{percent(verdict.change_low)}, {percent(verdict.change_high)}]"


def percent(share: float) -> str:
    """A share as signed percent."""
    return f"{100 * share:+.1f} %"


def markdown_report(judged: Judged, rows: int) -> str:
    """The judgement as a Markdown page; all text from commits, devices and users is escaped."""
    parts = [part for one in judged.judgements for part in _markdown(one, rows)] or [NOTHING]
    if judged.silences:
        told = [(str(one.alert.id), one.alert.state, one.alert.title) for one in judged.silences]
        parts += ["## No longer measured", _table(("alert", "state", "what"), told)]
    parts = ["# kswatch check", *parts]
    return "\n\n".join(parts) + "\n"


def _markdown(judgement: Judgement, rows: int) -> Iterable[str]:
    yield f"## {markdown(headline(judgement))}"
    revision = judgement.run.revision
    if revision is not None:
        subject = f": {markdown(revision.subject)}" if revision.subject else ""
        yield f"Revision `{revision.commit[:12]}`{subject}"
    yield counts(judgement)
    if notes(judgement):
        yield "\n".join(f"- {markdown(note)}" for note in notes(judgement))
    if judgement.alerts:
        yield _table(("alert", "state", "what"), [_alert_row(one) for one in judgement.alerts])
    moved = moved_verdicts(judgement)
    if moved:
        header = ("verdict", "change", "implementation", "metric", "problem", "level", "value", "cause")
        yield _table(header, [_verdict_row(one) for one in moved[:rows]])
    if len(moved) > rows:
        yield f"and {len(moved) - rows} more"


def _alert_row(told: ToldAlert) -> tuple[str, ...]:
    return (str(told.alert.id), standing(told), told.alert.title)


def _verdict_row(verdict: SeriesVerdict) -> tuple[str, ...]:
    series = verdict.series
    unit = METRIC_BY_NAME[series.metric].unit
    level = "" if verdict.level is None else f"{verdict.level:.4g} {unit}"
    return (
        verdict.verdict,
        change_text(verdict),
        series.implementation,
        series.metric,
        series.problem.words,
        level,
        f"{verdict.value:.4g} {unit}",
        verdict.cause or "",
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([markdown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
