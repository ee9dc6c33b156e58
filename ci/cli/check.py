"""`kswatch check` and `report`: judge the newest nights and report the findings."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.ci.cli.alerts import OnlyDeviceOption, alert_summary_lines, alerts_app
from kswatch.ci.cli.comment import comment_of_failure, write_file
from kswatch.ci.cli.stores import open_store
from kswatch.ci.config import CiConfig
from kswatch.db.cli.options import LARGEST_NUMBER, CommentOption, FormatOption, JsonOption, OutputFormat
from kswatch.db.cli.terminal import write_command
from kswatch.errors import UsageError
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.ci.check import CheckResult

app = typer.Typer()
app.add_typer(alerts_app, name="alerts")


JudgedRunOption = Annotated[
    int | None, typer.Option(min=1, max=LARGEST_NUMBER, help="Judge this run, of any kind.")
]


@app.command()
def check(
    ctx: typer.Context,
    run: JudgedRunOption = None,
    device: OnlyDeviceOption = None,
    format: FormatOption = OutputFormat.text,
    as_json: JsonOption = False,
    comment: CommentOption = None,
    foreign: Annotated[
        str | None, typer.Option(help="Judge this imported series of another tool; `all` lists them.")
    ] = None,
    rejudge: Annotated[
        bool, typer.Option("--rejudge", help="Judge all stored nights again, and show which verdicts change.")
    ] = False,
) -> None:
    """Judge each device's newest night; exit 1 on a confirmed regression or incorrect result.

    \b
    Examples:
      kswatch check                      # the newest night of every device
      kswatch check --device cpu --json  # one device, every verdict as JSON
      kswatch check --run 12             # one run, of any kind
      kswatch check --format github      # annotations, and the step summary
      kswatch check --format junit       # JUnit XML
      kswatch check --format comment     # Markdown; nothing where nothing changed
      kswatch check --foreign "saxpy real_time"
      kswatch check --rejudge            # all stored nights by the current rules; alerts are not changed
    """  # noqa: D301  (\b keeps the lines of the examples)
    if foreign is not None:
        raise typer.Exit(_foreign(ctx, foreign, as_json or format is OutputFormat.json))
    if rejudge:
        typer.echo(_rejudged(ctx, run, device, as_json or format is OutputFormat.json))
        return
    with comment_of_failure("kswatch check", comment):
        judged = _judged(ctx, run, device)
    chosen = OutputFormat.json if as_json else format
    text = _rendered(ctx, judged, chosen)
    if text:
        show = write_command if chosen is OutputFormat.github else typer.echo
        show(text)
    if comment is not None:
        write_file(comment, _rendered(ctx, judged, OutputFormat.comment))
    raise typer.Exit(judged.exit_code)


@app.command()
def report(
    ctx: typer.Context,
    run: JudgedRunOption = None,
    device: OnlyDeviceOption = None,
    as_markdown: Annotated[bool, typer.Option("--markdown/--text", help="Markdown or plain text.")] = True,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write the overview of the whole store as one self-contained HTML page to this file."
        ),
    ] = None,
) -> None:
    """Print the newest night of each device as a page to paste or mail; always exits 0.

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
    typer.echo(_rendered(ctx, judged, OutputFormat.markdown if as_markdown else OutputFormat.text))


def _write_overview(ctx: typer.Context, path: Path, run: int | None, device: str | None) -> None:
    if run is not None or device is not None:
        raise UsageError("--html reports the whole store; omit --run and --device")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.absolute().parent} to write {path.name} into; create it")
    with closing(open_store(ctx)) as store:
        size = services(ctx).write_overview(store, path)
    typer.echo(f"wrote {path}, {size / 1000:.0f} kB")


def _judged(ctx: typer.Context, run: int | None, device: str | None) -> CheckResult:
    from dataclasses import replace

    from kswatch.ci.check import judge
    from kswatch.ci.missing_data import missing_data_alerts
    from kswatch.db.queries.basic import find_device

    if run is not None and device is not None:
        raise UsageError("--run implies the device; omit --device")
    config, now = services(ctx).table(CiConfig), datetime.now(UTC)
    with closing(open_store(ctx)) as store:
        device_id = find_device(store, device).id if device is not None else None
        judged = judge(store, run, config, now=now, device_id=device_id)
        if run is None:
            judged = replace(judged, missing_data=missing_data_alerts(store, config, now, device_id))
        for line in alert_summary_lines(ctx, store):
            typer.echo(f"kswatch: {line}", err=True)
    return judged


def _foreign(ctx: typer.Context, name: str, as_json: bool) -> int:
    """Print the verdicts on the imported series of a name, or the list of all; returns the exit code."""
    from kswatch.ci.formats.escape import plain
    from kswatch.ci.regression.foreign import foreign_line, foreign_rows, judge_foreign
    from kswatch.db.foreign_series.stored import foreign_series
    from kswatch.db.json_text import to_json_text

    with closing(open_store(ctx)) as store:
        if name == "all":
            listed = foreign_series(store)
            lines = [plain(f"{one.name} ({one.unit}, {one.source})") for one in listed]
            typer.echo(to_json_text(listed) if as_json else "\n".join(lines) or "no series was imported")
            return 0
        verdicts = judge_foreign(store, name, services(ctx).table(CiConfig))
    if as_json:
        typer.echo(to_json_text(foreign_rows(verdicts)))
    else:
        typer.echo("\n".join(map(foreign_line, verdicts)))
    return int(any(one.regressed for one in verdicts))


def _rejudged(ctx: typer.Context, run: int | None, device: str | None, as_json: bool) -> str:
    from kswatch.ci.rejudge import format_rejudged, rejudge
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.basic import find_device

    if run is not None:
        raise UsageError("--rejudge judges every stored night; omit --run")
    with closing(open_store(ctx)) as store:
        device_id = find_device(store, device).id if device is not None else None
        found = rejudge(store, services(ctx).table(CiConfig), device_id, _echo_progress)
    return to_json_text(found) if as_json else format_rejudged(found)


def _echo_progress(done: int, nights: int) -> None:
    if done % 10 == 0 or done == nights:
        typer.echo(f"kswatch check: {done} of {nights} nights judged again", err=True)


def _rendered(ctx: typer.Context, result: CheckResult, output_format: OutputFormat) -> str:
    from kswatch.ci import check_report
    from kswatch.ci.check_comment import check_comment
    from kswatch.ci.formats.formatter import ResultFormatter

    rows = services(ctx).table(CiConfig).report_rows
    formatter: ResultFormatter[CheckResult] = ResultFormatter(
        lambda result: check_report.text_report(result, rows),
        check_report.check_rows,
        lambda result: check_report.check_junit(result, check_report.text_report(result, rows)),
        lambda result: check_report.markdown_report(result, rows),
        check_report.workflow_commands,
        check_comment,
    )
    return formatter.render(result, output_format)
