"""`kswatch gate`: compare two revisions of the kernels."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kswatch.ci.cli.comment import comment_of_failure, write_file
from kswatch.ci.cli.stores import open_store_if_exists
from kswatch.ci.config import CiConfig
from kswatch.db.cli import options
from kswatch.db.cli.terminal import write_command
from kswatch.errors import UsageError
from kswatch.services import services

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kswatch.ci.formats.formatter import ResultFormatter
    from kswatch.ci.gate.recording import Change
    from kswatch.ci.gate.sequential import GateResult
    from kswatch.ci.gate.static import StaticResult
    from kswatch.db.store import Store

app = typer.Typer()
RepositoryOption = Annotated[
    Path, typer.Option(help="Folder in the git repository whose kernels/ is measured.")
]
SuiteOption = Annotated[
    str | None, typer.Option(help="Suite to measure; by default smoke on a CPU, vit_s16 on a GPU.")
]
DIMENSIONS = ("pattern", "batch", "precision", "layout", "implementation")
OutputOption = Annotated[Path | None, typer.Option(help="File to write instead of stdout.")]


@app.command()
def gate(
    ctx: typer.Context,
    base: Annotated[str | None, typer.Option(help="Revision to compare with.")] = None,
    head: Annotated[str, typer.Option(help="Revision to judge.")] = "HEAD",
    device: options.MeasuredDeviceOption = None,
    suite: SuiteOption = None,
    pattern: options.PatternsOption = None,
    batch: options.BatchesOption = None,
    precision: options.PrecisionsOption = None,
    layout: options.LayoutsOption = None,
    implementation: options.ImplementationsOption = None,
    budget: Annotated[
        str, typer.Option(help="Time limit, as 90s or 10m; spent while cells are undecided.")
    ] = "10m",
    force: Annotated[
        bool, typer.Option("--force", help="Measure even if nothing changed: an A/A test.")
    ] = False,
    static: Annotated[
        bool,
        typer.Option("--static", help="Compare only the machine code, without a GPU: registers, spills, ..."),
    ] = False,
    repository: RepositoryOption = Path(),
    format: options.FormatOption = options.OutputFormat.text,
    as_json: options.JsonOption = False,
    output: OutputOption = None,
    comment: options.CommentOption = None,
) -> None:
    """Compare two revisions of the kernels; exit 1 on a confirmed regression or incorrect result.

    Both are measured interleaved on one device, each in a process of its own, so no history is needed. Only
    implementations affected by a changed file are measured; uncommitted changes are ignored.

    \b
    Examples:
      kswatch gate --base main --device cpu
      kswatch gate --base HEAD~1 --head HEAD --device cuda --format github
      kswatch gate --base main --pattern 6,64,64,1 --batch 1024 --precision fp32 --budget 3m
      kswatch gate --base HEAD --head HEAD --force     # an A/A test: the noise of this machine
      kswatch gate --static --base main --format junit --output gate.xml
      kswatch gate --base main --format comment        # nothing where nothing changed
    """  # noqa: D301  (\b keeps the lines of the examples)
    chosen = options.OutputFormat.json if as_json else format
    if base is None and not static:
        raise UsageError("name the revision to compare with: --base REV, as in `kswatch gate --base main`")
    filters = filters_of(pattern, batch, precision, layout, implementation)
    selection: dict[str, Any] = {"repository": repository, "base": base, "head": head, "device": device}
    selection |= {"suite": suite, "filters": filters, "force": force, "budget": budget}
    with comment_of_failure("kswatch gate --static" if static else "kswatch gate", comment):
        judge = _judged_code if static else _measured
        result, gate_id = judge(ctx, selection)
    formatter = _formatter(static)
    link = services(ctx).page_url("changes", gate=gate_id) if gate_id is not None else ""
    _write(formatter.render(result, chosen, link), chosen, output)
    if comment is not None:
        write_file(comment, formatter.render(result, "comment", link))
    raise typer.Exit(result.exit_code)


def _formatter(static: bool) -> ResultFormatter[Any]:
    from kswatch.ci.formats.formatter import ResultFormatter
    from kswatch.ci.gate import comment, report, static_report

    if static:
        return ResultFormatter(
            static_report.static_text,
            static_report.static_rows,
            static_report.static_junit,
            static_report.static_markdown,
            static_report.static_annotations,
            comment.static_comment,
        )
    return ResultFormatter(
        report.gate_text,
        report.gate_rows,
        report.gate_junit,
        report.gate_markdown,
        report.gate_annotations,
        comment.gate_comment,
    )


def filters_of(*values: Sequence[object] | None) -> dict[str, Any]:
    """The chosen values of each of `DIMENSIONS`, without those that are not given."""
    return {name: chosen for name, chosen in zip(DIMENSIONS, values, strict=True) if chosen}


def _measured(ctx: typer.Context, selection: dict[str, Any]) -> tuple[GateResult, int | None]:
    """The result, and its number in the store where there is one."""
    from kswatch.ci.gate.cell import GateConfig
    from kswatch.ci.gate.recording import record_result
    from kswatch.ci.gate.sequential import compare_revisions

    started_at = datetime.now(UTC)
    floor = services(ctx).table(CiConfig).floor
    with recording_store(ctx) as store:
        with services(ctx).open_gate(store=store, **selection) as session:
            result = compare_revisions(session, GateConfig(floor=floor, budget_s=session.budget_s))
        if store is None:
            return result, None
        with not_recorded_is_no_failure():
            change = _change(ctx, selection["repository"], result.head.commit)
            return result, record_result(store, result, session.runs, change, started_at)
    return result, None


def _change(ctx: typer.Context, repository: Path, head: str) -> Change:
    """Branch and author, by the variables of a CI job or else by git."""
    from kswatch.ci.gate.recording import Change, change_of_job

    change = change_of_job(os.environ)
    if change.branch and change.author:
        return change
    history = services(ctx).open_history(repository)
    return Change(change.branch or history.branch(), change.author or history.author(head))


@contextmanager
def recording_store(ctx: typer.Context) -> Iterator[Store | None]:
    """The store to record in; None, with a note on stderr, where there is none that opens."""
    store = None
    with not_recorded_is_no_failure():
        store = open_store_if_exists(ctx)
    with closing(store) if store else nullcontext():
        yield store


@contextmanager
def not_recorded_is_no_failure() -> Iterator[None]:
    """A store that fails inside costs a note on stderr, never the result of a gate."""
    from kswatch.errors import KswatchError

    try:
        yield
    except KswatchError as error:
        typer.echo(f"kswatch: not recorded: {error}", err=True)
    except Exception as error:  # minutes of measuring are lost otherwise
        typer.echo(f"kswatch: not recorded, a defect: {type(error).__name__}: {error}", err=True)


def _write(text: str, output_format: options.OutputFormat, output: Path | None) -> None:
    if output is not None:
        write_file(output, text)
    elif output_format is options.OutputFormat.github:
        write_command(text)
    elif text:
        typer.echo(text)


def _judged_code(ctx: typer.Context, selection: dict[str, Any]) -> tuple[StaticResult, int | None]:
    """The result, and its number in the store where there is one."""
    from kswatch.ci.gate.recording import record_static
    from kswatch.ci.gate.static import judge_code
    from kswatch.db.compiled_code.resources import record_resources

    started_at, repository = datetime.now(UTC), selection["repository"]
    head, base = services(ctx).compile_revisions(repository, selection["head"], selection["base"])
    result = judge_code(head, base)
    with recording_store(ctx) as store:
        if store is None:
            return result, None
        with not_recorded_is_no_failure():
            record_resources(store, result.rows)
            change = _change(ctx, repository, result.head.commit)
            return result, record_static(store, result, services(ctx).machine_code, change, started_at)
    return result, None
