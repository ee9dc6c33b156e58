"""The overview of a store as one page of HTML that needs nothing else: for mail and CI artifacts.

No script, no network, charts as SVG; light and dark follow the reader. Everything from the store is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kswatch.dashboard.formatting.labels import WORDS, age, count, metric_label, percent, ratio, share, utc
from kswatch.dashboard.static_export.markup import STYLE, sparkline, table, text

if TYPE_CHECKING:
    from kswatch.dashboard.static_export.data import DeviceFacts, Line, Overview
    from kswatch.db.store import Store

CANARY_MOVED = 0.05


def write_overview(store: Store, path: Path) -> int:
    """Write the overview of a store and give its size in bytes."""
    from kswatch.dashboard.static_export.data import read_overview

    content = page(read_overview(store, datetime.now(UTC))).encode()
    path.write_bytes(content)
    return len(content)


def page(overview: Overview) -> str:
    """The whole page."""
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; ',
            "style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>kswatch: {text(_finding(overview))}</title><style>{STYLE}</style></head><body>",
            f"<h1>{text(_finding(overview))}</h1>",
            f'<p class="dim">{text(overview.store_name.rsplit("/", 1)[-1])}, {utc(overview.now)}. ',
            "Speedups and energy ratios are best baseline over fused: over 1, fused is better. ",
            "A change is that of the median since the run before.</p>",
            '<div class="cards">',
            *(_card(one, overview.now) for one in overview.devices),
            "</div>",
            *_alerts(overview),
            *_changes(overview),
            *_rules(overview),
            *_silence(overview),
            "</body></html>",
        )
    )


def _finding(overview: Overview) -> str:
    if not overview.devices:
        return "No run has finished in this store yet"
    counts = overview.verdict_counts
    if not counts and all(one.source.origin == "imported" for one in overview.devices):
        return "Nothing was measured here yet; what is shown was imported"
    if not counts:
        return "The newest runs are not judged yet; kswatch check judges them"
    judged = sum(counts.values())
    if not judged:
        return f"Too few nights yet to say what changed in {overview.too_new:,} series"
    waiting = sum(alert.state == "open" for alert in overview.alerts)
    return (
        f"{counts.get('slower', 0):,} slower, {counts.get('faster', 0):,} faster of "
        f"{judged:,} series; {count(waiting, 'alert')} open"
    )


def _card(one: DeviceFacts, now: datetime) -> str:
    run = one.newest
    ended = run.finished_at or run.started_at
    badges = [name for name in (one.source.origin,) if name != "measured"]
    badges += ["silent"] * one.is_silent(now)
    marks = "".join(f' <span class="badge">{text(badge)}</span>' for badge in badges)
    revision = f", revision {run.revision.commit[:9]} {run.revision.subject or ''}" if run.revision else ""
    statuses = ", ".join(f"{number:,} {status.replace('_', ' ')}" for status, number in run.by_status.items())
    lines = [
        f"{one.source.label} run {run.id} of {run.suite}, {age(ended, now)} ({utc(ended)}), "
        f"{run.state}{revision}",
        statuses,
        *_machine(one),
    ]
    told = "".join(f'<p class="dim">{text(line)}</p>' for line in lines if line)
    header: tuple[str, ...] = ("median of", "now", "change", "fused wins", "the last nights")
    rows = [_line(line) for line in one.lines]
    if not any(row[-1] for row in rows):  # too few nights for any line
        header, rows = header[:-1], [row[:-1] for row in rows]
    title = f"<h3>{text(one.name)}{marks}</h3>"
    return f'<section class="card">{title}{told}{table(header, rows, {1, 2, 3})}</section>'


def _machine(one: DeviceFacts) -> Iterable[str]:
    if one.canaries:
        moved = any(abs(value - 1) > CANARY_MOVED for value in one.canaries.values())
        told = ", ".join(f"{name} {share(value, 1)}" for name, value in one.canaries.items())
        yield f"{'The machine moved. ' if moved else ''}Canaries, of their median: {told}"
    if one.environment_changes:
        told = "; ".join(
            f"{change.name} {change.before} → {change.after}" for change in one.environment_changes
        )
        yield f"Environment changed since run {one.runs[-2].id}: {told}"


def _line(line: Line) -> tuple[str, ...]:
    what = "speedup" if line.metric == "latency" else "energy ratio"
    change = percent(line.medians[-1] / line.medians[-2] - 1) if len(line.medians) > 1 else "–"
    left_out = f'<div class="dim">{line.left_out:,} left out</div>' if line.left_out else ""
    return (
        text(f"{what}, {line.precision}, {WORDS.get(line.layout, line.layout)}"),
        ratio(line.medians[-1]),
        change,
        f"{line.fused_wins} of {line.problems}{left_out}",
        sparkline(line.medians),
    )


def _alerts(overview: Overview) -> Iterable[str]:
    if not overview.alerts:
        return
    yield "<h2>Alerts that are not over</h2>"
    rows = [
        (
            str(alert.id),
            f'<span class="{"open" if alert.state == "open" else ""}">{text(alert.state)}</span>',
            "confirmed" if alert.confirmed else "provisional",
            percent(alert.worst_change),
            text(alert.title),
            text(overview.name_of(alert.device_id)),
            text(alert.cause),
            text(alert.assigned_to or ""),
        )
        for alert in overview.alerts
    ]
    header = ("alert", "state", "how sure", "worst", "what", "device", "put down to", "whose")
    yield table(header, rows, {0, 3})


def _changes(overview: Overview) -> Iterable[str]:
    if not overview.changes:
        return
    yield "<h2>What changed in the newest runs, the worst first</h2>"
    rows = [
        (
            f'<span class="{text(one.verdict)}">{text(one.verdict)}</span>',
            percent(one.change),
            f"{percent(one.change_low)} to {percent(one.change_high)}",
            text(one.implementation),
            text(metric_label(one.metric)),
            text(f"({one.a},{one.b},{one.c},{one.d}) ×{one.batch} {one.precision} {one.layout}"),
            text(overview.name_of(one.device_id)),
            text(one.cause or ""),
        )
        for one in overview.changes
    ]
    header = ("verdict", "change", "95 %", "implementation", "metric", "problem", "device", "put down to")
    yield table(header, rows, {1, 2})
    shown = len(overview.changes)
    every = sum(number for verdict, number in overview.verdict_counts.items() if verdict != "same")
    if every > shown:
        yield f'<p class="dim">and {every - shown:,} more.</p>'


def _rules(overview: Overview) -> Iterable[str]:
    if not overview.rules:
        return
    yield "<h2>How often each rule named the winner</h2>"
    rows = [
        (
            text(rule.device_name),
            text(rule.heuristic),
            share(rule.accuracy, 1),
            share(rule.majority, 1),
            f"{rule.problems:,}",
        )
        for rule in sorted(overview.rules, key=lambda one: (one.device_name, -one.accuracy))
    ]
    yield table(("device", "heuristic", "accuracy", "majority rate", "problems"), rows, {2, 3, 4})


def _silence(overview: Overview) -> Iterable[str]:
    silent = [one for one in overview.devices if one.is_silent(overview.now)]
    if silent:
        yield "<h2>What is silent</h2><ul>"
        for one in silent:
            since = age(one.newest.started_at, overview.now)
            yield f"<li>{text(one.name)}: its last nightly run, {one.newest.id}, was {since}</li>"
        yield "</ul>"
