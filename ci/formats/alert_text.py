"""Alerts as rows for scripts and as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from kswatch.ci.formats.escape import plain
from kswatch.db.alerts.precision import AlertPrecision
from kswatch.db.queries.basic import AlertEventRow, AlertRow, DeviceRow


def alert_lines(alerts: Sequence[AlertRow], devices: Mapping[int, DeviceRow]) -> str:
    """One line for each alert."""
    if not alerts:
        return "no alerts"
    lines = []
    for one in alerts:
        certainty = "confirmed" if one.confirmed else "provisional"
        if one.cause in ("environment", "canary"):
            certainty = one.cause
        where = f"run {one.opened_run_id}-{one.newest_run_id} on {plain(devices[one.device_id].model)}"
        lines.append(f"{one.id:>5}  {one.state:<12} {certainty:<11} {where}: {plain(one.title)}")
    return "\n".join(lines)


def alert_page(one: AlertRow, events: Iterable[AlertEventRow], devices: Mapping[int, DeviceRow]) -> str:
    """All details of an alert."""
    lines = [alert_lines([one], devices).strip(), f"  version {one.version}, attributed to {one.cause}"]
    if one.assigned_to:
        lines.append(f"  assigned to {plain(one.assigned_to)}")
    if one.muted_until:
        lines.append(f"  muted until {one.muted_until:%Y-%m-%d %H:%M} UTC")
    lines += [f"  {line}" for line in difference_lines(one)]
    lines += [f"    {_cell_line(cell)}" for cell in one.explanation.get("cells", [])]
    for event in events:
        moved = f" -> {event.to_state}" if event.from_state != event.to_state else ""
        reason = f" ({plain(event.reason)})" if event.reason else ""
        lines.append(f"  {event.at:%Y-%m-%d %H:%M} UTC {plain(event.who)}: {event.action}{moved}{reason}")
    return "\n".join(lines)


def difference_lines(one: AlertRow) -> Iterable[str]:
    """The differences between the last good run and the first bad one, as lines."""
    explanation = one.explanation
    if explanation.get("first_bad_run") is not None:
        good = explanation.get("last_good_run")
        yield f"first bad run {explanation['first_bad_run']}, last good run {good}"
    elif explanation.get("last_good_run") is not None:
        yield f"last good run {explanation['last_good_run']}"
    revisions = explanation.get("revisions") or {}
    if revisions.get("good") != revisions.get("bad"):
        yield f"revisions {revisions.get('good')} -> {revisions.get('bad')}"
    for change in explanation.get("environment_changes", []):
        yield plain(f"{change['name']}: {change['before']} -> {change['after']}")


def _cell_line(cell: Mapping[str, object]) -> str:
    change = cell.get("change")
    by = f"{100 * change:+.1f} %" if isinstance(change, float) else ""
    batch = f"batch {cell.get('batch')}"
    known = [cell.get(name) for name in ("implementation", "metric", "pattern")]
    known += [batch, *(cell.get(name) for name in ("precision", "layout", "reason"))]
    return " ".join(plain(str(part)) for part in (by, *known) if part)


def precision_lines(found: AlertPrecision, stale: Iterable[tuple[AlertRow, datetime]]) -> list[str]:
    """The precision of the detector so far, and stale mutes."""
    lines = []
    if found.share is not None:
        decided = found.real + found.false_alarms
        lines.append(
            f"precision: {found.real} of {decided} confirmed alerts were real ({100 * found.share:.0f} %), "
            f"{found.undecided} undecided"
        )
    for one, since in stale:
        until = f"until {one.muted_until:%Y-%m-%d}" if one.muted_until else "without an end"
        lines.append(f"alert {one.id} is muted {until}, and it has had no finding since {since:%Y-%m-%d}")
    return lines
