"""`kswatch profile`, `compare` and `doctor`; the app also holds the other commands of the profiler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.db.cli.options import (
    LARGEST_NUMBER,
    BaselineSetOption,
    BatchesOption,
    ImplementationsOption,
    JsonOption,
    LayersOption,
    LayoutsOption,
    MeasuredDeviceOption,
    ModelsOption,
    PatternsOption,
    PrecisionsOption,
)
from kswatch.db.decoding import whole_number
from kswatch.declared.suites import SUITES
from kswatch.errors import UsageError
from kswatch.profiler.cli import nightly as nightly_commands
from kswatch.profiler.cli import tune as tune_commands
from kswatch.profiler.cli import worker as worker_commands
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.planning.run_options import RunOptions
from kswatch.profiler.signals import EXIT_INTERRUPTED
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.db.store import Store
    from kswatch.profiler.foreign.sources import Foreign
    from kswatch.profiler.runs.session import RunContext, RunResult

app = typer.Typer()
app.add_typer(nightly_commands.app)
app.add_typer(tune_commands.app)
app.add_typer(worker_commands.app)

EXIT_INCORRECT = 1
MOST_DIGITS = 9
"""Of the number of a run."""
FILTERS = ("pattern", "layer", "model", "batch", "precision", "layout", "problem", "implementation")


SUITE_LINES = "\n".join(f"  {name:<12} {statement}" for name, statement, _ in SUITES)


@app.command(epilog=f"\b\nSuites:\n{SUITE_LINES}")
def profile(
    ctx: typer.Context,
    suite: Annotated[
        str | None, typer.Argument(help="Suite to measure; with --resume, a run number.")
    ] = None,
    device: MeasuredDeviceOption = None,
    pattern: PatternsOption = None,
    layer: LayersOption = None,
    model: ModelsOption = None,
    batch: BatchesOption = None,
    precision: PrecisionsOption = None,
    layout: LayoutsOption = None,
    problem: Annotated[
        list[str] | None, typer.Option(help="A whole problem, a,b,c,d,batch,precision,layout; repeatable.")
    ] = None,
    implementation: ImplementationsOption = None,
    baselines: BaselineSetOption = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Time limit, as 90s, 8m or 3h; remaining cells are recorded as skipped."),
    ] = None,
    hot: Annotated[bool, typer.Option("--hot", help="Also time small problems with warm caches.")] = False,
    counters: Annotated[
        bool, typer.Option("--counters", help="Also read hardware counters, with NVIDIA's ncu.")
    ] = False,
    ncu_report: Annotated[
        bool, typer.Option("--ncu-report", help="Keep ncu's report of each product of fused, to download.")
    ] = False,
    protocol: Annotated[
        str, typer.Option(help="own, or paper: the protocol of the paper's authors, for comparison.")
    ] = "own",
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Measure nothing; show the cells, the minutes and the cells left out."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a suite, or given patterns or layers, on one device.

    The options narrow a suite; patterns and layers alone need none. Exits with 1 when a result is incorrect.
    --baselines expert measures the rivals too, which `kswatch doctor` lists; one that is not installed is
    recorded as unsupported and named with the headline, and never counts as beaten.

    \b
    Examples:
      kswatch profile smoke --device cpu
      kswatch profile nightly --device cuda:0 --budget 8m
      kswatch profile smoke --device cpu --baselines expert --budget 10m
      kswatch profile --pattern 6,64,64,1 --batch 1024 --precision bf16
      kswatch profile smoke --device cpu --implementation fused --implementation path/to/file.py:MyKernel
      kswatch profile --layer 1024,4096 --batch 196 --implementation "low_rank 64/fused"
      kswatch profile models --device cpu --model vit_s16 --batch 1
      kswatch profile --problem 6,64,64,1,25088,fp16,batch_last --device cuda
      kswatch profile paper --device sim:h200 --budget 3h --dry-run --json
      kswatch profile --pattern 6,64,64,1 --device cuda --counters
      kswatch profile --pattern 6,64,64,1 --device cuda --ncu-report
      kswatch profile --resume                  # the newest interrupted run
      kswatch profile --resume 12 --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    dimensions = (pattern, layer, model, batch, precision, layout, problem, implementation)
    filters: dict[str, object] = {n: values for n, values in zip(FILTERS, dimensions, strict=True) if values}
    foreign = _foreign(ctx, suite, filters)
    filters |= {"baselines": [baselines.value]} if baselines else {}
    filters |= RunOptions(protocol, hot, counters).as_arguments()
    if resume and filters:
        raise UsageError("--resume continues a run as it was planned; omit the other options")
    if dry_run:
        _dry_run(ctx, suite, device, filters, _seconds(budget), as_json, foreign)
        return
    with _measuring(ctx, foreign) as (store, context):
        budget_s = _seconds(budget)
        if resume:
            result = _resume(store, suite, device, budget_s, context)
        else:
            result = _run(store, suite, device, filters, budget_s, context)
        if ncu_report and result.state == "finished":
            _keep_reports(store, result.run)
        _show(store, result, as_json)
    if result.state == "interrupted":
        raise typer.Exit(EXIT_INTERRUPTED)
    if result.by_status.get("incorrect"):
        raise typer.Exit(EXIT_INCORRECT)


def _foreign(ctx: typer.Context, suite: str | None, filters: dict[str, object]) -> Foreign:
    """The foreign implementations and suites that this command names or the configuration lists.

    The names of foreign implementations among the filters get their marker.
    """
    from kswatch.profiler.foreign.sources import from_command_line

    chosen = filters.get("implementation")
    given = list(map(str, chosen)) if isinstance(chosen, list | tuple) else []
    names, foreign = from_command_line(suite, given, services(ctx).table(ProfilerConfig).foreign)
    if names:
        filters["implementation"] = names
    return foreign


def _keep_reports(store: Store, run_id: int) -> None:
    """Keep ncu's reports where it is there; a run without them is no failure."""
    from kswatch.errors import MeasurementError
    from kswatch.profiler.runs.ncu_reports import keep_reports

    def note(sentence: str) -> None:
        typer.echo(f"kswatch: {sentence}", err=True)

    try:
        kept = keep_reports(store, run_id, note)
        note(f"{kept} reports of ncu are kept; `kswatch runs artifacts {run_id}` lists them")
    except MeasurementError as error:
        note(str(error))


def _run(
    store: Store,
    suite: str | None,
    device: str | None,
    filters: Mapping[str, object],
    budget_s: float | None,
    context: RunContext,
) -> RunResult:
    from kswatch.db.records import AD_HOC
    from kswatch.profiler.devices.nightly_devices import nightly_devices
    from kswatch.profiler.runs.session import run_suite

    spec = device or nightly_devices(context.config)[0]
    return run_suite(store, suite or AD_HOC, spec, filters=filters, budget_s=budget_s, context=context)


def _dry_run(
    ctx: typer.Context,
    suite: str | None,
    device: str | None,
    filters: Mapping[str, object],
    budget_s: float | None,
    as_json: bool,
    foreign: Foreign,
) -> None:
    from kswatch.db.json_text import to_json_text
    from kswatch.db.records import AD_HOC
    from kswatch.db.store import Store
    from kswatch.profiler.devices import discovery as devices
    from kswatch.profiler.devices.nightly_devices import nightly_devices
    from kswatch.profiler.planning.dry_run import dry_run
    from kswatch.profiler.planning.plan import Filters, plan_suite
    from kswatch.profiler.reports.dry_run_table import print_dry_run

    config = services(ctx).table(ProfilerConfig)
    target = devices.find(device or nightly_devices(config)[0])
    chosen = Filters.from_arguments(filters)
    plan = plan_suite(suite or AD_HOC, chosen, device_kind=target.record.kind, foreign=foreign)
    budget_s = budget_s or plan.budget_s
    with closing(Store.open(services(ctx).database_url)) as store:
        planned = dry_run(store, plan, target, config.settings_on(target.record.kind), budget_s)
    if as_json:
        typer.echo(to_json_text(planned))
    else:
        print_dry_run(planned)


def _resume(
    store: Store, number: str | None, device: str | None, budget_s: float | None, context: RunContext
) -> RunResult:
    from kswatch.profiler.runs.session import resume

    run_id = None if number is None else whole_number(number, MOST_DIGITS)
    if number is not None and run_id is None:
        raise UsageError(
            f"--resume takes the number of a run, not {number[:60]!r}; `kswatch runs` lists them"
        )
    return resume(store, run_id, device=device, budget_s=budget_s, context=context)


def _seconds(budget: str | None) -> float | None:
    from kswatch.profiler.planning.budget import parse_seconds

    return parse_seconds(budget) if budget else None


@contextmanager
def _measuring(ctx: typer.Context, foreign: Foreign) -> Iterator[tuple[Store, RunContext]]:
    """The store, and a run context with progress on stderr and a graceful stop on Ctrl-C."""
    from kswatch.db.store import Store
    from kswatch.profiler.runs.progress import for_terminal
    from kswatch.profiler.runs.session import on_this_host
    from kswatch.profiler.signals import Stopped, stop_on_signals

    with closing(Store.open(services(ctx).database_url)) as store, stop_on_signals() as stop:
        try:
            yield store, on_this_host(services(ctx).table(ProfilerConfig), for_terminal(), stop, foreign)
        except Stopped:
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _show(store: Store, result: RunResult, as_json: bool) -> None:
    from kswatch.db.json_text import to_json_text
    from kswatch.profiler.reports.run_table import console, print_run

    if as_json:
        typer.echo(to_json_text(result))
        return
    print_run(store, result.run, console())
    if result.state == "interrupted":
        typer.echo(f"Interrupted; `kswatch profile --resume {result.run}` continues it.")


@app.command()
def compare(
    ctx: typer.Context,
    before: Annotated[int, typer.Argument(min=1, max=LARGEST_NUMBER, help="Earlier run.")],
    after: Annotated[int, typer.Argument(min=1, max=LARGEST_NUMBER, help="Later run.")],
    as_json: JsonOption = False,
) -> None:
    """Compare two runs of one device, cell by cell, with the significance of each change.

    \b
    Examples:
      kswatch compare 11 12
      kswatch compare 11 12 --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.db.json_text import to_json_text
    from kswatch.db.store import Store
    from kswatch.profiler.reports.run_diff import compare_runs
    from kswatch.profiler.reports.run_diff_table import print_comparison
    from kswatch.profiler.reports.run_table import console

    with closing(Store.open(services(ctx).database_url, create=False)) as store:
        compared = compare_runs(store, before, after)
    if as_json:
        typer.echo(to_json_text(compared))
    else:
        print_comparison(compared, console())


@app.command()
def doctor(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Check whether this machine is ready to measure, with a fix for each problem.

    \b
    Examples:
      kswatch doctor
      kswatch doctor --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.db.json_text import to_json_text
    from kswatch.profiler.diagnostics import checks
    from kswatch.profiler.reports.diagnostics_table import print_checks

    found = checks(services(ctx).table(ProfilerConfig), services(ctx).database_url)
    if as_json:
        typer.echo(to_json_text(found))
    else:
        print_checks(found)
