"""What a night gave, told to people and to scripts."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console

from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import AlertRow
from kswatch.db.store import Store
from kswatch.profiler.diagnostics import Check
from kswatch.profiler.reports.run_table import console, print_run
from kswatch.profiler.service.nightly import Night

OPEN_STATES = ("open", "acknowledged", "recovering")


def print_ailments(checks: Iterable[Check]) -> None:
    """Say on stderr what this machine lacks, with the cure; nothing where all is well."""
    for check in checks:
        if not check.ok:
            print(f"note: {check.name}: {check.what}. Cure: {check.cure}", file=sys.stderr)


def print_night(store: Store, night: Night) -> None:
    """Print one device's tables, the judgement on it, and its open alerts."""
    out = console()
    if night.run is not None:
        print_run(store, night.run.run, out)
        _print_judgement(store, night.run.run, out)
    if night.error:
        out.print(f"{night.device}: {night.error}", highlight=False)


def _print_judgement(store: Store, run_id: int, out: Console) -> None:
    rows = queries.verdicts(store, run_id)
    judged = Counter(row.verdict for row in rows if row.level is not None)
    young = len(rows) - judged.total()
    if judged:
        said = ", ".join(f"{count} {verdict}" for verdict, count in judged.most_common())
        out.print(f"Judged against the nights before: {said}.", highlight=False)
    if young:
        out.print(f"{young} series have too few nights behind them to be judged yet.", highlight=False)
    for alert in _alerts(store, run_id):
        out.print(f"Alert {alert.id} ({alert.state}): {alert.title}", highlight=False)


def _alerts(store: Store, run_id: int) -> list[AlertRow]:
    return [alert for alert in queries.alerts(store, OPEN_STATES) if alert.newest_run_id == run_id]


def print_what_to_open(nights: Sequence[Night]) -> None:
    """Say how to go on."""
    runs = [night.run.run for night in nights if night.run]
    if runs:
        console().print(
            f"Recorded as run {', '.join(map(str, runs))}. "
            "Open `kswatch dashboard` to look at it, `kswatch check` for the judgement.",
            highlight=False,
        )


def night_rows(store: Store, nights: Sequence[Night]) -> list[dict[str, object]]:
    """A row per device, for `--json`."""
    return [
        {
            "device": night.device,
            "suite": night.suite,
            "run": night.run,
            "verdicts": dict(Counter(row.verdict for row in queries.verdicts(store, night.run.run)))
            if night.run
            else {},
            "alerts": _alerts(store, night.run.run) if night.run else [],
            "error": night.error,
        }
        for night in nights
    ]
