"""Regressions: lasting changes of the levels of all series, by likely cause: size, commits, present state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pandas as pd

from kswatch.dashboard.components import code_links, links, url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, show_empty_store
from kswatch.dashboard.components.panels import choose_row, empty_state, finding, hint, note
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.server_settings import judgement_limits
from kswatch.dashboard.formatting.labels import (
    cause_label,
    count,
    device_names,
    interval,
    metric_label,
    percent,
)
from kswatch.db.levels.lasting_changes import LastingChange

DAYS = {"30": "30 days", "90": "90 days", "365": "a year", "all": "all nights"}
FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)
STATES = {"recovered": "recovered", "lasting": "still there"}
COLUMNS = (
    *("since", "verdict", "largest change", "95 % interval", "series", "problem", "implementation", "metric"),
    *("state", "commits", "suspects", "device", "alert"),
)


def show() -> None:
    """Draw the page."""
    if not cached_queries.run_groups():
        show_empty_store()
        return
    days = url_state.select("Began in the last", "days", list(DAYS), "90", DAYS.__getitem__, width=BOX_WIDTH)
    found = _changes(days)
    lasting = sum(one.state == "lasting" for one in found)
    finding(f"{count(len(found), 'lasting change')}, {lasting} still there")
    note("Levels of seven nights or more, of every series. Newer changes are found by alerts.")
    if not found:
        empty_state(
            "No level of a series changed; those of imported or older nights are found by a command.",
            ["kswatch", "history", "--rebuild"],
        )
        return
    hint("`kswatch history` prints the same list, and `--json` each of the series.")
    names = device_names(cached_queries.devices())
    for cause in dict.fromkeys(one.cause for one in found):
        _show_cause(cause, [one for one in found if one.cause == cause], names)


def _changes(days: str) -> list[LastingChange]:
    """The changes of all devices that began in these days, the newest first."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)  # equal within a cached day
    since = FIRST_DAY if days == "all" else today - timedelta(days=int(days))
    floor = judgement_limits().floor
    found = [
        change
        for device in cached_queries.devices()
        for change in cached_queries.lasting_changes(device, since, floor)
    ]
    return sorted(found, key=lambda one: one.since.started_at, reverse=True)


def _show_cause(cause: str, found: Sequence[LastingChange], names: dict[int, str]) -> None:
    finding(f"{cause_label(cause)}: {count(len(found), 'change')}")
    commits, columns = code_links.table_links([_commits(one) for one in found])
    rows = [_row(one, names) | {"commits": link} for one, link in zip(found, commits, strict=True)]
    place = choose_row(
        pd.DataFrame(rows, columns=list(COLUMNS)),
        f"regressions {cause}",
        "to open its alert, or its pattern where it has none",
        column_config=columns,
    )
    if place is None:
        return
    chosen = found[place]
    if chosen.alert is not None:
        links.go_to("alerts", alert=chosen.alert)
    problem = chosen.worst.problem
    about = {name: getattr(problem, name) for name in ("pattern", "batch", "precision", "layout")}
    links.go_to("pattern", device=chosen.device.uuid, **about)


def _row(one: LastingChange, names: dict[int, str]) -> dict[str, object]:
    worst = one.worst
    return {
        "since": f"{one.since.started_at:%Y-%m-%d}",
        "verdict": one.verdict,
        "largest change": percent(worst.change),
        "95 % interval": interval(worst.change_low, worst.change_high),
        "series": len(one.series),
        "problem": worst.problem.words,
        "implementation": one.implementation,
        "metric": metric_label(one.metric),
        "state": STATES[one.state],
        "suspects": _suspects(one),
        "device": names.get(one.device.id, one.device.model),
        "alert": one.alert,
    }


def _commits(one: LastingChange) -> tuple[str | None, str | None]:
    """The last good commit and the first of the new level."""
    good, bad = one.last_good.revision, one.since.revision
    return good.commit if good else None, bad.commit if bad else None


def _suspects(one: LastingChange) -> str | None:
    """The subjects of the commits that were measured between; None where none is recorded."""
    found = cached_queries.revisions_between(one.device.id, one.last_good.id, one.since.id)
    return "; ".join(revision.subject or revision.commit for revision in found) or None
