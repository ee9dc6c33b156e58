"""`kswatch check` and `report`: judge a night and say what was found. `alerts` is in alert_commands."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.ci.cli.alerts import alerts_app, record_of_alerts
from kswatch.errors import UsageError

if TYPE_CHECKING:
    from kswatch.ci.check import Judged
    from kswatch.db.store import Store

app = typer.Typer()
app.add_typer(alerts_app, name="alerts")


class Format(StrEnum):
    """How a check is told."""

    text = "text"
    json = "json"
    junit = "junit"
    markdown = "markdown"
    github = "github"


RunOption = Annotated[int | None, typer.Option(help="Judge this run, whatever its kind.")]
DeviceOption = Annotated[
    str | None, typer.Option(help="Only this device: UUID, unique prefix or model name; cpu.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def check(
    ctx: typer.Context,
    run: RunOption = None,
    device: DeviceOption = None,
    format: Annotated[Format, typer.Option(help="How to tell it.")] = Format.text,
    as_json: JsonOption = False,
    rejudge: Annotated[
        bool, typer.Option("--rejudge", help="Judge all stored nights anew, and say what changes.")
    ] = False,
) -> None:
    """Judge the newest night of each device; exit 1 on a confirmed regression or an incorrect result.

    \b
    Examples:
      kswatch check                      # the newest night of every device
      kswatch check --device cpu --json  # one device, every verdict as JSON
      kswatch check --run 12             # one run, of any kind
      kswatch check --format github      # annotations, and the step summary
      kswatch check --format junit       # JUnit XML
      kswatch check --rejudge            # stored nights by the present rule; alerts do not move
    """  # noqa: D301  (\b keeps the lines of the examples)
    if rejudge:
        typer.echo(_rejudged(ctx, run, device, as_json or format is Format.json))
        return
    judged = _judged(ctx, run, device)
    typer.echo(_rendered(ctx, judged, Format.json if as_json else format))
    raise typer.Exit(judged.exit_code)


@app.command()
def report(
    ctx: typer.Context,
    run: RunOption = None,
    device: DeviceOption = None,
    as_markdown: Annotated[bool, typer.Option("--markdown/--text", help="Markdown or plain text.")] = True,
    html: Annotated[
        Path | None,
        typer.Option(help="Write the overview of the whole store as one self-contained page instead."),
    ] = None,
) -> None:
    """The newest night of each device as a page to paste or mail; always exits 0.

    \b
    Examples:
      kswatch report > night.md
      kswatch report --text --device cpu
      kswatch report --html night.html    # no network, no script: for mail and CI artifacts
    """  # noqa: D301  (\b keeps the lines of the examples)
    if html is not None:
        _write_overview(ctx, html, run, device)
        return
    judged = _judged(ctx, run, device)
    typer.echo(_rendered(ctx, judged, Format.markdown if as_markdown else Format.text))


def _write_overview(ctx: typer.Context, path: Path, run: int | None, device: str | None) -> None:
    if run is not None or device is not None:
        raise UsageError("--html tells of the whole store; leave --run and --device away")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.absolute().parent} to write {path.name} into; create it")
    with closing(_store(ctx)) as store:
        size = ctx.obj["write_overview"](store, path)
    typer.echo(f"wrote {path}, {size / 1000:.0f} kB")


def _judged(ctx: typer.Context, run: int | None, device: str | None) -> Judged:
    from dataclasses import replace

    from kswatch.ci.check import judge
    from kswatch.ci.missing_data import silences_now
    from kswatch.db.queries.basic import find_device

    if run is not None and device is not None:
        raise UsageError("--run already says which device; leave --device away")
    config, now = ctx.obj["config"]["ci"], datetime.now(UTC)
    with closing(_store(ctx)) as store:
        device_id = find_device(store, device).id if device is not None else None
        judged = judge(store, run, config, now=now, device_id=device_id)
        if run is None:
            judged = replace(judged, silences=silences_now(store, config, now, device_id))
        for line in record_of_alerts(ctx, store):
            typer.echo(f"kswatch: {line}", err=True)
    return judged


def _rejudged(ctx: typer.Context, run: int | None, device: str | None, as_json: bool) -> str:
    from kswatch.ci.rejudge import rejudge, rejudged_text
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.basic import find_device

    if run is not None:
        raise UsageError("--rejudge judges every stored night; leave --run away")
    with closing(_store(ctx)) as store:
        device_id = find_device(store, device).id if device is not None else None
        found = rejudge(store, ctx.obj["config"]["ci"], device_id, _say_how_far)
    return to_json_text(found) if as_json else rejudged_text(found)


def _say_how_far(done: int, nights: int) -> None:
    if done % 10 == 0 or done == nights:
        typer.echo(f"kswatch check: {done} of {nights} nights judged anew", err=True)


def _store(ctx: typer.Context) -> Store:
    from kswatch.db.store import Store

    return Store.open(ctx.obj["database_url"], create=False)


def _rendered(ctx: typer.Context, judged: Judged, format: Format) -> str:
    from kswatch.ci.formats.github_commands import append_step_summary
    from kswatch.ci.reports import github, json_rows
    from kswatch.ci.reports import text_and_markdown as report
    from kswatch.ci.reports.junit import check_junit
    from kswatch.db.json_text import to_json_text

    rows = ctx.obj["config"]["ci"].report_rows
    if format is Format.json:
        return to_json_text(json_rows.check_rows(judged))
    if format is Format.junit:
        return check_junit(judged, report.text_report(judged, rows))
    if format is Format.markdown:
        return report.markdown_report(judged, rows)
    if format is Format.github:
        append_step_summary(report.markdown_report(judged, rows))
        parts = (report.text_report(judged, rows), github.workflow_commands(judged))
        return "\n".join(part for part in parts if part)
    return report.text_report(judged, rows)
