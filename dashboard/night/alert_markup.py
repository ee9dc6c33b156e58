"""An alert as HTML: what changed, since when, and the nights of its worst series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kswatch.dashboard.formatting.code_urls import SHORT_COMMIT, commit_url, range_url
from kswatch.dashboard.formatting.labels import WORDS, cause_label, count, interval, metric_label, percent
from kswatch.dashboard.night.alerts import NightAlert
from kswatch.dashboard.night.markup import block, link, text
from kswatch.dashboard.night.sparkline import sparkline
from kswatch.db.metrics import METRIC_BY_NAME

MOST_OF_SUBJECT = 60
"""Characters of a commit's subject."""


def alert(one: NightAlert, repository: str | None) -> str:
    """An alert in two lines, with the nights of its worst series."""
    first = [
        f'<b class="ks-bad">{text(_subject(one))}</b>',
        *map(text, _extent(one)),
        text(one.device),
    ]
    second = [
        text(_state(one)),
        "confirmed" if one.alert.confirmed else "provisional",
        text(cause_label(one.alert.cause)),
        *_since(one, repository),
        *([text(f"worst on {_problem(one.worst)}")] if "pattern" in one.worst else []),
    ]
    lines = f'<p>{" · ".join(first)}</p><p class="ks-dim">{" · ".join(second)}</p>'
    return block(
        f'<div class="ks-alert"><div>{lines}</div>{sparkline(one.nights, _value(one), one.step)}</div>'
    )


def _subject(one: NightAlert) -> str:
    """Implementation, verdict and largest change with its interval; the title of an alert without cells."""
    if not one.cells or one.alert.worst_change is None:
        return one.alert.title
    between = interval(one.worst.get("change_low"), one.worst.get("change_high"))
    change = percent(one.alert.worst_change) + (f" ({between})" if between != "–" else "")
    metric = metric_label(one.alert.metric)
    return f"{one.alert.implementation} {one.alert.verdict}: {metric} {change}"


def _state(one: NightAlert) -> str:
    """Whether the alert is new, its state, and its assignee."""
    states = ["new"] if one.is_new else []
    if not one.is_new or one.alert.state != "open":
        states.append(one.alert.state)
    if one.alert.assigned_to:
        states.append(f"assigned to {one.alert.assigned_to}")
    return ", ".join(states)


def _extent(one: NightAlert) -> Iterable[str]:
    """Number of problems, and their precisions."""
    problems = one.alert.explanation.get("problems")
    if isinstance(problems, int):
        yield count(problems, "problem")
    if precisions := dict.fromkeys(str(cell["precision"]) for cell in one.cells if "precision" in cell):
        yield ", ".join(precisions)


def _problem(cell: Mapping[str, Any]) -> str:
    layout = str(cell.get("layout"))
    return f"({cell['pattern']}) ×{cell.get('batch')} {cell.get('precision')} {WORDS.get(layout, layout)}"


def _value(one: NightAlert) -> Callable[[float], str]:
    unit = METRIC_BY_NAME[one.alert.metric].unit if one.alert.metric in METRIC_BY_NAME else ""
    return lambda value: f"{value:.4g} {unit}".strip()


def _since(one: NightAlert, repository: str | None) -> Iterable[str]:
    """The first bad commit with its subject, the last good one, and the commits between them."""
    if not one.suspects:
        return
    bad = one.suspects[-1]
    subject = (bad.subject or "")[:MOST_OF_SUBJECT]
    shown = f"since {link(_short(bad.commit), commit_url(repository, bad.commit))} {text(subject)}".rstrip()
    if one.good is not None:
        good = link(_short(one.good.commit), commit_url(repository, one.good.commit))
        between = range_url(repository, one.good.commit, bad.commit)
        parts = [f"last good {good}", *([link("commits between", between)] if between else [])]
        shown += f" ({', '.join(parts)})"
    yield shown


def _short(commit: str) -> str:
    return commit[:SHORT_COMMIT]
