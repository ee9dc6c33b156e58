"""Results of a nightly run for the terminal, for logs and for scripts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape

from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import AlertRow
from kswatch.db.queries.headline import headline
from kswatch.db.store import Store
from kswatch.profiler.diagnostics import Check
from kswatch.profiler.reports.run_table import console, print_run
from kswatch.profiler.service.nightly import DeviceNight

_log = logging.getLogger(__name__)

OPEN_STATES = ("open", "acknowledged", "recovering")


def print_failed_checks(checks: Iterable[Check]) -> None:
    """Log each failed check with its cure."""
    for check in checks:
        if not check.ok:
            _log.warning("%s: %s. Fix: %s", check.name, check.what, check.cure)


def print_night(store: Store, night: DeviceNight) -> None:
    """Print one device's tables, its verdicts and its open alerts."""
    out = console()
    if night.run is not None:
        print_run(store, night.run.run, out)
        _print_judgement(store, night.run.run, out)
    if night.error:
        out.print(f"{night.device}: {escape(night.error)}", highlight=False)


def log_night(night: DeviceNight) -> None:
    """Log how one device's night ended."""
    fields = {"device": night.device, "run": night.run.run if night.run else None}
    if night.error:
        _log.error("%s", night.error, extra=fields)
    elif night.run is not None:
        _log.info("%s: exit code %s", night.run.state, night.exit_code, extra=fields)


def _print_judgement(store: Store, run_id: int, out: Console) -> None:
    rows = queries.verdicts(store, run_id)
    judged = Counter(row.verdict for row in rows if row.level is not None)
    too_short = len(rows) - judged.total()
    if judged:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in judged.most_common())
        out.print(f"Verdicts against earlier nights: {counts}.", highlight=False)
    if too_short:
        out.print(f"{too_short} series have too few nights for a verdict yet.", highlight=False)
    for alert in _alerts(store, run_id):
        out.print(f"Alert {alert.id} ({alert.state}): {escape(alert.title)}", highlight=False)


def _alerts(store: Store, run_id: int) -> list[AlertRow]:
    return [alert for alert in queries.alerts(store, OPEN_STATES) if alert.newest_run_id == run_id]


def print_next_steps(nights: Sequence[DeviceNight]) -> None:
    """Print the numbers of the runs, and the commands that show them."""
    runs = [night.run.run for night in nights if night.run]
    if runs:
        console().print(
            f"Recorded as run {', '.join(map(str, runs))}. "
            "`kswatch dashboard` shows the results, `kswatch check` the verdicts and alerts.",
            highlight=False,
        )


def night_rows(store: Store, nights: Sequence[DeviceNight]) -> list[dict[str, object]]:
    """A row per device, for `--json`."""
    return [
        {
            "device": night.device,
            "suite": night.suite,
            "run": night.run,
            "headline": headline(store, run_id=night.run.run) if night.run else None,
            "verdicts": dict(Counter(row.verdict for row in queries.verdicts(store, night.run.run)))
            if night.run
            else {},
            "alerts": _alerts(store, night.run.run) if night.run else [],
            "error": night.error,
        }
        for night in nights
    ]
