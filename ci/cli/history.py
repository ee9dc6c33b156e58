"""`kswatch history`: the lasting changes of the last days, over all series, grouped by cause."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kswatch.ci.cli.alerts import OnlyDeviceOption
from kswatch.ci.cli.stores import open_store
from kswatch.ci.config import CiConfig
from kswatch.db.cli.options import MOST_DAYS, JsonOption
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.db.levels.lasting_changes import LastingChange, SeriesChange
    from kswatch.db.queries.basic import DeviceRow, RunRow
    from kswatch.db.store import Store

app = typer.Typer()

_PROGRESS_EVERY = 200
"""Series between two lines of progress."""
_COMMIT_LENGTH = 12


@app.command()
def history(
    ctx: typer.Context,
    days: Annotated[
        int, typer.Option(min=1, max=MOST_DAYS, help="Only changes that began in this number of days.")
    ] = 90,
    device: OnlyDeviceOption = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First find the levels of all series anew; takes minutes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List every lasting change of the last days: cause, size, since which commit, still there or recovered.

    A change lasts when the level of a series changed, not one night. Series that changed together are one
    entry. A cause is that of the alert that reported the change, `environment`, or `not alerted`. Levels are
    found when a night is judged; nights from before, or imported ones, need --rebuild once.

    \b
    Examples:
      kswatch history                        # the last 90 days, every device
      kswatch history --days 365 --json      # one object for each change, with its series
      kswatch history --device cpu --days 30
      kswatch history --rebuild              # after an import, or when the store is of an older version
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.db.json_text import to_json_text
    from kswatch.db.levels.lasting_changes import lasting_changes
    from kswatch.db.queries.basic import devices, find_device

    since, config = datetime.now(UTC) - timedelta(days=days), services(ctx).table(CiConfig)
    with closing(open_store(ctx)) as store:
        chosen = devices(store) if device is None else [find_device(store, device)]
        for one in chosen if rebuild else ():
            _rebuild(store, one, config)
        found = [change for one in chosen for change in lasting_changes(store, one, since, config.floor)]
    if as_json:
        typer.echo(to_json_text([_document(one) for one in found]))
    else:
        typer.echo("\n".join(_lines(found, days)))


def _rebuild(store: Store, device: DeviceRow, config: CiConfig) -> None:
    from kswatch.ci.regression.series_levels import rebuild_levels

    count = rebuild_levels(store, device, config, _progress(device.model))
    print(f"kswatch history: found the levels of {count} series of {device.model}", file=sys.stderr)


def _progress(model: str) -> Callable[[int, int], None]:
    def report(done: int, of: int) -> None:
        if done % _PROGRESS_EVERY == 0:
            print(f"kswatch history: {done} of {of} series of {model}", file=sys.stderr, flush=True)

    return report


def _lines(found: list[LastingChange], days: int) -> list[str]:
    from kswatch.ci.formats.escape import plain

    if not found:
        return [f"no lasting change in the last {days} days"]
    lines = []
    for cause in dict.fromkeys(one.cause for one in found):
        of_cause = [one for one in found if one.cause == cause]
        lines.append(f"{cause}: {len(of_cause)} change{'s' * (len(of_cause) > 1)}")
        lines += [f"  {plain(_line(one))}" for one in of_cause]
    return lines


def _line(one: LastingChange) -> str:
    worst = one.worst
    count = "1 series" if len(one.series) == 1 else f"{len(one.series)} series"
    size = f"{100 * worst.change:+.1f} % ({100 * worst.change_low:+.1f} to {100 * worst.change_high:+.1f} %)"
    state = "still there" if one.recovered is None else f"recovered in run {one.recovered.id}"
    simulated = ", simulated" if one.device.simulated else ""
    alert = f", alert {one.alert}" if one.alert else ""
    return (
        f"{one.since.started_at:%Y-%m-%d} {one.implementation} {one.metric} {one.verdict}: {size} on "
        f"{worst.problem.words}, {count}; since run {one.since.id}, commits {_commit(one.last_good)}.."
        f"{_commit(one.since)}; {state}{alert} [{one.device.model}{simulated}]"
    )


def _commit(run: RunRow) -> str:
    return run.revision.commit[:_COMMIT_LENGTH] if run.revision else "unknown"


def _document(one: LastingChange) -> dict[str, Any]:
    worst = one.worst
    return {
        "cause": one.cause,
        "device": one.device.uuid,
        "model": one.device.model,
        "simulated": one.device.simulated,
        "implementation": one.implementation,
        "metric": one.metric,
        "verdict": one.verdict,
        "state": one.state,
        "alert": one.alert,
        "change": worst.change,
        "change_low": worst.change_low,
        "change_high": worst.change_high,
        "since": one.since.started_at,
        "since_run": one.since.id,
        "since_commit": one.since.revision.commit if one.since.revision else None,
        "last_good_run": one.last_good.id,
        "last_good_commit": one.last_good.revision.commit if one.last_good.revision else None,
        "recovered_run": one.recovered.id if one.recovered else None,
        "series": [_series(series) for series in one.series],
    }


def _series(one: SeriesChange) -> dict[str, Any]:
    figures = ("change", "change_low", "change_high", "level_before", "level", "noise")
    return one.problem.fields | {name: getattr(one, name) for name in figures}
