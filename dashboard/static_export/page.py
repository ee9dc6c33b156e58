"""The newest night as one self-contained HTML page, for mail and CI artifacts: the overview's own parts.

No script, no network, images as data; light or dark by the reader's setting. All stored text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from kswatch.dashboard.night.alerts import NightAlerts
    from kswatch.dashboard.night.summary import Night
    from kswatch.db.store import Store
    from kswatch.services import JudgementLimits

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.45 system-ui, sans-serif; color: light-dark(#1c2330, #e6e9ee);
  background: light-dark(#fff, #12161c); max-width: 1100px; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2rem } .ks { margin: .8rem 0 }
summary { cursor: pointer }
"""


def write_overview(store: Store, path: Path, limits: JudgementLimits, repository: str | None = None) -> int:
    """Write the newest night of a store and return the size in bytes.

    Args:
        store: to read.
        path: of the file.
        limits: of judging.
        repository: the web address that commits link to; None where it is not known.

    Raises:
        UsageError: the file cannot be written.
    """
    from kswatch.errors import UsageError

    content = page(store, datetime.now(UTC), limits, repository).encode()
    try:
        path.write_bytes(content)
    except (OSError, ValueError) as error:  # no room, or a name that no file has
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} cannot be written: {reason}; free some room or name another") from None
    return len(content)


def page(store: Store, now: datetime, limits: JudgementLimits, repository: str | None = None) -> str:
    """The whole page."""
    from kswatch.dashboard.night import markup
    from kswatch.dashboard.night.summary import headline, read_night

    night = read_night(store)
    title = headline(night, ZoneInfo("UTC")) if night else "No run has finished in this store yet"
    content = _content(night, store, now, limits, repository) if night else ()
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; ',
            "img-src data:; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>kswatch: {markup.text(title)}</title><style>{STYLE}{markup.STYLE}</style></head><body>",
            f"<h1>{markup.text(title)}</h1>",
            *content,
            "</body></html>",
        )
    )


def _content(
    night: Night, store: Store, now: datetime, limits: JudgementLimits, repository: str | None
) -> Iterable[str]:
    from kswatch.dashboard.formatting.labels import utc
    from kswatch.dashboard.night import device_markup, markup
    from kswatch.dashboard.night.missing import COLUMNS, missing_sources
    from kswatch.dashboard.night.summary import facts_line, rules_line
    from kswatch.db.coordination.workers import workers

    yield markup.facts(facts_line(night, limits, now))
    yield from _alerts(night.alerts, repository)
    yield "<h2>Devices</h2>"
    calm = night.calm_devices(limits, now)
    yield device_markup.matrix([one for one in night.devices if one not in calm], limits, now)
    if calm:
        summary = markup.text(device_markup.calm_summary(calm))
        yield f"<details><summary>{summary}</summary>{device_markup.matrix(calm, limits, now)}</details>"
    lines = [*dict.fromkeys(map(device_markup.against, night.devices)), rules_line(night)]
    yield markup.block(*(f'<p class="ks-dim">{markup.text(line)}</p>' for line in lines))
    if rows := missing_sources(night, workers(store), limits, now):
        yield "<h2>Missing data</h2>"
        yield markup.table(COLUMNS, [[markup.text(row[name]) for name in COLUMNS] for row in rows])
    if night.others:
        yield f"<h2>Imported or simulated</h2>{device_markup.matrix(night.others, limits, now)}"
    name = store.name.rsplit("/", 1)[-1]
    yield markup.block(f'<p class="ks-dim">{markup.text(name)}, {utc(now)}</p>')


def _alerts(alerts: NightAlerts, repository: str | None) -> Iterable[str]:
    """The worst alerts, each with the commands for it, and the number of the others."""
    from kswatch.dashboard.night import alert_markup, markup
    from kswatch.dashboard.night.alerts import MOST_DETAILED

    if not alerts.live:
        return
    yield "<h2>Alerts</h2>"
    for one in alerts.live[:MOST_DETAILED]:
        number = one.alert.id
        commands = filter(None, (f"kswatch alerts show {number}", one.bisect_command))
        shown = " · ".join(f"<code>{command}</code>" for command in commands)
        yield alert_markup.alert(one, repository) + markup.block(f'<p class="ks-dim">{shown}</p>')
    if (more := len(alerts.live) - MOST_DETAILED) > 0:
        yield f"<p>{more:,} more: <code>kswatch alerts</code></p>"
