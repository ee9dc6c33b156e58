"""Devices as HTML: a table of each, a row per precision and layout; calm ones in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from kswatch.dashboard.formatting.labels import AGAINST, WORDS, count, percent, ratio, share
from kswatch.dashboard.night.devices import DeviceNight, NightMedians
from kswatch.dashboard.night.markup import block, table, text
from kswatch.dashboard.night.sparkline import sparkline
from kswatch.db.records import EXPERT
from kswatch.services import JudgementLimits

TITLES = (
    "precision and layout",
    "fused wins",
    "median",
    "against level",
    "energy",
    "speed of light",
    "30 nights",
)
NUMBERS = frozenset({1, 2, 3, 4, 5})


def matrix(devices: Sequence[DeviceNight], limits: JudgementLimits, now: datetime) -> str:
    """Each device with a row per precision and layout, the calm ones folded."""
    return block("".join(_device(one, limits, now) for one in devices))


def _device(one: DeviceNight, limits: JudgementLimits, now: datetime) -> str:
    badges = [one.source.origin] * (one.source.origin != "measured")
    badges += ["not reporting"] * one.is_overdue(limits, now)
    badges += ["machine drifted"] * one.has_moved(limits)
    marks = "".join(f' <span class="ks-badge">{text(badge)}</span>' for badge in badges)
    notes = "".join(f'<p class="ks-dim">{text(note)}</p>' for note in _notes(one, limits))
    calm = [row for row in one.medians if row.is_calm(limits.floor)]
    changed = [row for row in one.medians if row not in calm]
    folded = _rows(calm, limits)
    if changed and calm:  # else there is nothing to fold them under
        folded = f"<details><summary>{text(f'Calm: {_in_words(calm)}')}</summary>{folded}</details>"
    return f"<p><b>{text(one.name)}</b>{marks}</p>{notes}{_rows(changed, limits)}{folded}"


def _rows(rows: Sequence[NightMedians], limits: JudgementLimits) -> str:
    return table(TITLES, [_row(row, limits) for row in rows], NUMBERS)


def _notes(one: DeviceNight, limits: JudgementLimits) -> Iterable[str]:
    """The run, and what changed beside the medians."""
    run = one.newest
    failed = {status: number for status, number in run.by_status.items() if status != "ok"}
    statuses = "".join(f", {number:,} {status.replace('_', ' ')}" for status, number in failed.items())
    cells = f"{run.by_status.get('ok', 0):,} ok{statuses}"
    yield f"{one.source.label} run {run.id} of {run.suite}, {run.state}: {cells}"
    if one.has_moved(limits):
        shares = ", ".join(canary.text for canary in one.canaries)
        load = one.other_cpu_share
        busy = f"; other programs used up to {share(load)} of the CPU" if load is not None else ""
        yield f"Canary rates against the median of earlier nights: {shares}{busy}"
    if one.environment_changes:
        changed = "; ".join(
            f"{change.name} {change.before} → {change.after}" for change in one.environment_changes
        )
        yield f"Environment changed since run {one.runs[-2].id}: {changed}"
    for row in one.medians:
        if row.light is not None and row.light.explanation:
            where = f"{row.precision}, {WORDS.get(row.layout, row.layout)}"
            yield f"Above the speed of light in {where}: {row.light.explanation}."


def _row(row: NightMedians, limits: JudgementLimits) -> tuple[str, ...]:
    newest = row.newest
    left_out = f' <span class="ks-dim">({newest.left_out:,} left out)</span>' if newest.left_out else ""
    light = f"{share(row.light.median)}, worst {share(row.light.worst)}" if row.light else "–"
    return (
        text(f"{row.precision}, {WORDS.get(row.layout, row.layout)}"),
        f"{newest.fused_wins:,} of {newest.problems:,}{left_out}",
        ratio(newest.median_speedup),
        change(row, limits.floor),
        ratio(row.energy.median_speedup) if row.energy else "–",
        light,
        sparkline([night.median_speedup for night in row.nights]),
    )


def change(row: NightMedians, floor: float) -> str:
    """The change against the level, in colour where it is one; of fewer problems their number instead."""
    if not row.is_whole:
        return f"{row.newest.problems:,} of {row.most_problems:,} problems"
    if row.change is None:
        return "–"
    colour = "ks-good" if row.change > 0 else "ks-bad"
    kind = f' class="{colour}"' if row.has_changed(floor) else ""
    return f"<span{kind}>{percent(row.change)}</span>"


def calm_summary(devices: Sequence[DeviceNight]) -> str:
    """The calm devices in one line of text: their wins and the range of their medians."""
    rows = [row for one in devices for row in one.medians]
    named = devices[0].name if len(devices) == 1 else count(len(devices), "device")
    return f"Calm: {named}, {_in_words(rows)}" if rows else f"Calm: {named}"


def _in_words(rows: Sequence[NightMedians]) -> str:
    """Number of rows, their wins and the range of their medians."""
    medians = [row.newest.median_speedup for row in rows]
    wins, problems = (sum(getattr(row.newest, name) for row in rows) for name in ("fused_wins", "problems"))
    between = ratio(min(medians)) + (f" to {ratio(max(medians))}" if len(rows) > 1 else "")
    return (
        f"{count(len(rows), 'row')}, fused wins {wins:,} of {problems:,} problems, median speedup {between}"
    )


def against(one: DeviceNight) -> str:
    """What the ratios of a device mean, with its baselines and the rivals that were there."""
    rivals = one.sets.in_words if one.sets.headline == EXPERT else "without rivals"
    return (
        f"Best baseline over fused, against {AGAINST[one.sets.headline]}; {rivals}. "
        "Above 1, fused is better; the level is the median of earlier nights."
    )
