"""The overview of a store as one self-contained HTML page, for mail and CI artifacts.

No script, no network, charts as SVG; light or dark by the reader's setting. All stored text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kswatch.dashboard.formatting.labels import (
    AGAINST,
    WORDS,
    age,
    cause_label,
    change_list,
    count,
    interval,
    metric_label,
    percent,
    ratio,
    revision_label,
    share,
    utc,
)
from kswatch.dashboard.static_export.markup import STYLE, sparkline, table, text
from kswatch.db.records import EXPERT

if TYPE_CHECKING:
    from kswatch.dashboard.static_export.data import DeviceFacts, Overview
    from kswatch.db.queries.basic import SummaryRow
    from kswatch.db.store import Store
    from kswatch.services import JudgementLimits


def write_overview(store: Store, path: Path, limits: JudgementLimits) -> int:
    """Write the overview of a store and return its size in bytes.

    Raises:
        UsageError: the file cannot be written.
    """
    from kswatch.dashboard.static_export.data import read_overview
    from kswatch.errors import UsageError

    content = page(read_overview(store, datetime.now(UTC), limits)).encode()
    try:
        path.write_bytes(content)
    except (OSError, ValueError) as error:  # no room, or a name that no file has
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} cannot be written: {reason}; free some room or name another") from None
    return len(content)


def page(overview: Overview) -> str:
    """The whole page."""
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; ',
            "style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>kswatch: {text(_headline(overview))}</title><style>{STYLE}</style></head><body>",
            f"<h1>{text(_headline(overview))}</h1>",
            f'<p class="dim">{text(overview.store_name.rsplit("/", 1)[-1])}, {utc(overview.now)}. ',
            "Speedup and energy ratio are best baseline over fused: above 1, fused is better. ",
            "Changes are of the median since the run before.</p>",
            '<div class="cards">',
            *(_card(facts, overview) for facts in overview.devices),
            "</div>",
            *_alerts(overview),
            *_changes(overview),
            *_rules(overview),
            *_missing_data(overview),
            "</body></html>",
        )
    )


def _headline(overview: Overview) -> str:
    if not overview.devices:
        return "No run has finished in this store yet"
    counts = overview.verdict_counts
    if not counts and all(facts.source.origin == "imported" for facts in overview.devices):
        return "No measurements of this machine yet; all data are imported"
    if not counts:
        return "The newest runs are not judged yet; kswatch check judges them"
    if not sum(counts.values()):
        return f"Too few nights yet to judge {overview.too_new:,} series"
    waiting = sum(alert.state == "open" for alert in overview.alerts)
    return f"{overview.change_summary}; {count(waiting, 'open alert')}"


def _card(facts: DeviceFacts, overview: Overview) -> str:
    run = facts.newest
    ended = run.finished_at or run.started_at
    badges = [name for name in (facts.source.origin,) if name != "measured"]
    badges += ["not reporting"] * facts.is_overdue(overview.limits, overview.now)
    marks = "".join(f' <span class="badge">{text(badge)}</span>' for badge in badges)
    revision = f", revision {revision_label(run.revision)}" if run.revision else ""
    statuses = ", ".join(f"{number:,} {status.replace('_', ' ')}" for status, number in run.by_status.items())
    lines = [
        f"{facts.source.label} run {run.id} of {run.suite}, {age(ended, overview.now)} ({utc(ended)}), "
        f"{run.state}{revision}",
        statuses,
        _against(facts),
        *_speed_of_light(facts),
        *_machine(facts, overview.limits),
    ]
    notes = "".join(f'<p class="dim">{text(line)}</p>' for line in lines if line)
    header: tuple[str, ...] = ("median", "newest", "change", "fused wins", "trend")
    rows = [_trend_row(trend) for trend in facts.trends]
    if not any(row[-1] for row in rows):  # too few nights for a sparkline
        header, rows = header[:-1], [row[:-1] for row in rows]
    title = f"<h3>{text(facts.name)}{marks}</h3>"
    return f'<section class="card">{title}{notes}{table(header, rows, {1, 2, 3})}</section>'


def _against(facts: DeviceFacts) -> str:
    """The baselines of the headlines, and which rivals were there."""
    rivals = facts.sets.in_words if facts.baselines == EXPERT else "without rivals"
    return f"Against {AGAINST[facts.baselines]}; {rivals}."


def _speed_of_light(facts: DeviceFacts) -> Iterable[str]:
    """Floor over latency of fused by precision and layout, and why values are above 1."""
    parts = [
        f"{one.precision}, {WORDS.get(one.layout, one.layout)}: median {share(one.median)}, "
        f"worst {share(one.worst)}"
        for one in facts.speed_of_light
    ]
    if parts:
        yield f"Speed of light (floor over measured time of fused): {'; '.join(parts)}."
    for one in facts.speed_of_light:
        if one.explanation:
            yield f"Above it in {one.precision}, {WORDS.get(one.layout, one.layout)}: {one.explanation}."


def _machine(facts: DeviceFacts, limits: JudgementLimits) -> Iterable[str]:
    if facts.canaries:
        has_moved = limits.has_machine_moved(one.median for one in facts.canaries)
        shares = ", ".join(one.text for one in facts.canaries)
        yield f"{'Machine drifted. ' * has_moved}Canary rates against the median of earlier nights: {shares}"
    if facts.environment_changes:
        yield f"Environment changed since run {facts.runs[-2].id}: {change_list(facts.environment_changes)}"


def _trend_row(trend: Sequence[SummaryRow]) -> tuple[str, ...]:
    newest, medians = trend[-1], [row.median_speedup or 0.0 for row in trend]
    name = "speedup" if newest.metric == "latency" else "energy ratio"
    left_out = f'<div class="dim">{newest.left_out:,} left out</div>' if newest.left_out else ""
    return (
        text(f"{name}, {newest.precision}, {WORDS.get(newest.layout, newest.layout)}"),
        ratio(medians[-1]),
        percent(medians[-1] / medians[-2] - 1) if len(medians) > 1 else "–",
        f"{newest.fused_wins} of {newest.problems}{left_out}",
        sparkline(medians),
    )


def _alerts(overview: Overview) -> Iterable[str]:
    if not overview.alerts:
        return
    yield "<h2>Live alerts</h2>"
    rows = [
        (
            str(alert.id),
            f'<span class="{"open" if alert.state == "open" else ""}">{text(alert.state)}</span>',
            "confirmed" if alert.confirmed else "provisional",
            percent(alert.worst_change),
            text(alert.title),
            text(overview.name_of(alert.device_id)),
            text(cause_label(alert.cause)),
            text(alert.assigned_to or ""),
        )
        for alert in overview.alerts
    ]
    header = ("alert", "state", "confidence", "largest change", "title", "device", "likely cause", "assignee")
    yield table(header, rows, {0, 3})


def _changes(overview: Overview) -> Iterable[str]:
    if not overview.changes:
        return
    yield "<h2>Changes in the newest runs, the largest first</h2>"
    rows = [
        (
            f'<span class="{text(row.verdict)}">{text(row.verdict)}</span>',
            percent(row.change),
            interval(row.change_low, row.change_high),
            text(row.implementation),
            text(metric_label(row.metric)),
            text(f"({row.a},{row.b},{row.c},{row.d}) ×{row.batch} {row.precision} {row.layout}"),
            text(overview.name_of(row.device_id)),
            text(cause_label(row.cause)),
        )
        for row in overview.changes
    ]
    header = (
        *("verdict", "change", "95 % interval", "implementation"),
        *("metric", "problem", "device", "likely cause"),
    )
    yield table(header, rows, {1, 2})
    shown = len(overview.changes)
    every = sum(number for verdict, number in overview.verdict_counts.items() if verdict != "same")
    if every > shown:
        yield f'<p class="dim">and {every - shown:,} more.</p>'


def _rules(overview: Overview) -> Iterable[str]:
    if not overview.rules:
        return
    yield "<h2>Accuracy of the heuristics</h2>"
    ordered = sorted(overview.rules.items(), key=lambda item: (item[0][0], -(item[1].accuracy or 0.0)))
    rows = [
        (
            *map(text, rule),
            share(score.accuracy or 0.0, 1),
            share(score.majority or 0.0, 1),
            f"{score.problems:,}",
        )
        for rule, score in ordered
    ]
    yield table(("device", "heuristic", "accuracy", "majority rate", "problems"), rows, {2, 3, 4})


def _missing_data(overview: Overview) -> Iterable[str]:
    overdue = [facts for facts in overview.devices if facts.is_overdue(overview.limits, overview.now)]
    if overdue:
        yield "<h2>Missing data</h2><ul>"
        for facts in overdue:
            since = age(facts.newest.started_at, overview.now)
            yield f"<li>{text(facts.name)}: last nightly run {facts.newest.id}, {since}</li>"
        yield "</ul>"
