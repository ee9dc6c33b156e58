"""`kswatch runs`: list runs, exclude or include a run, or add a note to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kswatch.db.cli.options import (
    LARGEST_NUMBER,
    DeviceOption,
    JsonOption,
    LayoutOption,
    PrecisionOption,
    UserOption,
)
from kswatch.db.user_name import user_name
from kswatch.errors import UsageError
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.db.coordination.run_events import RunEventAction
    from kswatch.db.queries.rows import RunRow

app = typer.Typer(invoke_without_command=True)

TABLE_ROWS = 20

RunArgument = Annotated[int, typer.Argument(min=1, max=LARGEST_NUMBER, help="Run number.")]


@app.callback()
def runs(
    ctx: typer.Context,
    device: DeviceOption = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Kind of run: nightly, ad_hoc, import, ...; repeatable.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=LARGEST_NUMBER,
            help="Maximum number of runs; by default 20 in the table, all as JSON.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs, newest first; exclude a bad run, or add a note to one.

    \b
    Examples:
      kswatch runs
      kswatch runs --device cpu --kind nightly --json
      kswatch runs exclude 12 --reason "fan was broken"
      kswatch runs note 12 "first night with the new driver"
    """  # noqa: D301  (backslash b keeps the lines apart)
    if ctx.invoked_subcommand is not None:
        return
    from kswatch.db.json_text import to_json_text
    from kswatch.db.machine_reads.rows import run_rows, seconds_left
    from kswatch.db.queries import basic as queries
    from kswatch.db.store import Store

    store = Store.open(services(ctx).database_url, create=False)
    if as_json:
        typer.echo(to_json_text(run_rows(store, device, kind, limit)))
        return
    device_id = queries.find_device(store, device).id if device is not None else None
    _print_table(queries.runs(store, device_id, kinds=kind, limit=limit or TABLE_ROWS), seconds_left(store))


def _print_table(found: list[RunRow], left_s: dict[int, float]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from kswatch.db.cli.terminal import make_console

    if not found:
        typer.echo("no runs yet; `kswatch nightly` or `kswatch profile smoke --device cpu` makes one")
        return
    table = Table("run", "started (UTC)", "device", "suite", "kind", "state", "cells", "revision", box=None)
    for run in found:
        commit = f"{run.revision.commit[:10]}{'+' if run.revision.dirty else ''}" if run.revision else "-"
        started = run.started_at.strftime("%Y-%m-%d %H:%M")
        state = f"{run.state}, excluded" if run.excluded else run.state
        if run.id in left_s:
            state += f", {left_s[run.id] / 60:.1f} min left"
        kind = run.kind if run.origin == "measured" else f"{run.kind}, {run.origin}"
        statuses = ", ".join(f"{count} {status}" for status, count in run.by_status.items()) or "0"
        stored = map(escape, (run.device_model, run.suite, kind, state, statuses, commit))
        table.add_row(str(run.id), started, *stored)
    make_console().print(table)


@app.command()
def exclude(
    ctx: typer.Context,
    run: RunArgument,
    reason: Annotated[str, typer.Option(help="Reason for excluding it.")],
    user: UserOption = None,
) -> None:
    """Exclude a run from headlines and judgement; it stays in the store."""
    _add_event(ctx, run, "exclude", user, reason)


@app.command()
def include(
    ctx: typer.Context,
    run: RunArgument,
    reason: Annotated[str, typer.Option(help="Reason for including it again.")],
    user: UserOption = None,
) -> None:
    """Include an excluded run again."""
    _add_event(ctx, run, "include", user, reason)


@app.command()
def note(
    ctx: typer.Context,
    run: RunArgument,
    text: Annotated[str, typer.Argument(help="Text of the note.")],
    user: UserOption = None,
) -> None:
    """Add a note to a run, shown on the dashboard."""
    _add_event(ctx, run, "note", user, text)


def _add_event(ctx: typer.Context, run_id: int, action: RunEventAction, user: str | None, text: str) -> None:
    from kswatch.db.coordination.run_events import add_run_event
    from kswatch.db.store import Store

    store = Store.open(services(ctx).database_url, create=False)
    add_run_event(store, run_id, action, user or user_name(), text)
    done = {"exclude": "excluded", "include": "included again", "note": "noted"}[action]
    typer.echo(f"run {run_id} {done}: {text}")


@app.command()
def series(
    ctx: typer.Context,
    device: Annotated[str, typer.Option(help="UUID, unique prefix, model name or cpu.")],
    metric: Annotated[str, typer.Option(help="As latency_ms, energy_mj or speedup.")] = "latency_ms",
    pattern: Annotated[str | None, typer.Option(help="Only this pattern a,b,c,d.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=LARGEST_NUMBER, help="Only this batch.")] = None,
    precision: PrecisionOption = None,
    layout: LayoutOption = None,
    implementation: Annotated[str | None, typer.Option(help="Only fused, or this baseline.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_NUMBER, help="Maximum number of series.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show one metric of each cell over the nights of a device, the newest 400 at most.

    \b
    Examples:
      kswatch runs series --device cpu --implementation fused
      kswatch runs series --device cpu --metric speedup --pattern 6,64,64,1 --json
    """  # noqa: D301  (backslash b keeps the lines apart)
    from kswatch.db.json_text import to_json_text
    from kswatch.db.machine_reads.rows import series_rows
    from kswatch.db.store import Store

    found = series_rows(
        Store.open(services(ctx).database_url, create=False),
        device,
        metric,
        pattern=pattern,
        batch=batch,
        precision=precision and precision.value,
        layout=layout and layout.value,
        implementation=implementation,
        limit=limit,
    )
    if as_json:
        typer.echo(to_json_text(found))
    else:
        typer.echo("\n".join(map(_series_line, found)) or "no such series")


def _series_line(row: dict[str, Any]) -> str:
    """One series by its newest night."""
    *_, newest = row["points"]
    cell = f"{row['implementation']} {row['pattern']} batch {row['batch']} {row['precision']} {row['layout']}"
    nights = f"{len(row['points'])} nights, run {newest['run']}"
    return f"{cell}: {row['metric']} {newest['value']:.4g} ({nights})"


@app.command("artifacts")
def list_artifacts(ctx: typer.Context, run: RunArgument, as_json: JsonOption = False) -> None:
    """List the files that a run keeps, such as reports of ncu."""
    from kswatch.db.artifacts.stored import artifacts
    from kswatch.db.json_text import to_json_text
    from kswatch.db.store import Store

    found = artifacts(Store.open(services(ctx).database_url, create=False), (run,))
    if as_json:
        typer.echo(to_json_text(found))
        return
    lines = [f"{one.id:>6}  {one.size_bytes / 1e6:>6.1f} MB  {one.kind}  {one.name}" for one in found]
    typer.echo("\n".join(lines) or f"run {run} keeps no files")


@app.command()
def artifact(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(min=1, max=LARGEST_NUMBER, help="Number of the artifact.")],
    file: Annotated[Path, typer.Argument(help="New file to write.")],
) -> None:
    """Write a file that a run keeps, as `kswatch runs artifact 3 report.ncu-rep`."""
    from kswatch.db.artifacts.stored import artifact_content
    from kswatch.db.store import Store

    found, content = artifact_content(Store.open(services(ctx).database_url, create=False), number)
    try:
        with file.open("xb") as target:
            target.write(content)
    except OSError as error:
        raise UsageError(f"{file} cannot be written ({error.strerror}); name a new file") from None
    typer.echo(f"{file}: {found.name}, {found.size_bytes / 1e6:.1f} MB")
