"""`kswatch profile`, `compare` and `doctor`; `nightly` and `serve` are in night_commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.errors import UsageError
from kswatch.profiler.cli import nightly as night_commands
from kswatch.profiler.cli import tune as tune_commands
from kswatch.profiler.cli import worker as worker_commands
from kswatch.profiler.planning.run_options import Ways

if TYPE_CHECKING:
    from kswatch.db.store import Store
    from kswatch.profiler.runs.session import RunResult, Surroundings

app = typer.Typer()
app.add_typer(night_commands.app)
app.add_typer(tune_commands.app)
app.add_typer(worker_commands.app)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
EXIT_INTERRUPTED = 130
EXIT_INCORRECT = 1


@app.command()
def profile(
    ctx: typer.Context,
    suite: Annotated[
        str | None, typer.Argument(help="Suite to measure; with --resume, the number of a run.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, a UUID, its unique prefix or a model name.")
    ] = None,
    pattern: Annotated[list[str] | None, typer.Option(help="a,b,c,d; repeatable.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Repeatable.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="fp32, tf32, bf16, fp16; repeatable.")] = None,
    layout: Annotated[list[str] | None, typer.Option(help="batch_first, batch_last; repeatable.")] = None,
    problem: Annotated[
        list[str] | None, typer.Option(help="a,b,c,d,batch,precision,layout instead; repeatable.")
    ] = None,
    implementation: Annotated[list[str] | None, typer.Option(help="fused or a baseline; repeatable.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Longest time, as 90s, 8m or 3h; the rest is recorded as skipped.")
    ] = None,
    hot: Annotated[bool, typer.Option("--hot", help="Also time small problems with warm caches.")] = False,
    counters: Annotated[
        bool, typer.Option("--counters", help="Also read hardware counters, through NVIDIA's ncu.")
    ] = False,
    protocol: Annotated[
        str, typer.Option(help="own, or paper: as the paper's authors measured, for comparison.")
    ] = "own",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure nothing: tell cells, minutes and what is left out.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a suite, or given patterns, on one device.

    \b
    Suites:
      smoke        ten small patterns, batch 1,024: under two minutes on two CPU cores
      nightly      120 patterns, four precisions: an hour on a big GPU
      paper        the paper's 750 patterns, fp32 and fp16: three hours on a big GPU
      small_batch  30 patterns at batch 1 to 256
      vit_s16      six patterns of ViT-S/16
      gpt2_medium  the factors of GPT-2 medium's chains

    The options narrow a suite; patterns alone need none. Exits with 1 when a result is incorrect.

    \b
    Examples:
      kswatch profile smoke --device cpu
      kswatch profile nightly --device cuda:0 --budget 8m
      kswatch profile --pattern 6,64,64,1 --batch 1024 --precision bf16
      kswatch profile --problem 6,64,64,1,25088,fp16,batch_last --device cuda
      kswatch profile paper --device sim:h200 --budget 3h --dry-run --json
      kswatch profile --pattern 6,64,64,1 --device cuda --counters
      kswatch profile --resume                  # the newest interrupted run
      kswatch profile --resume 12 --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    dimensions = (pattern, batch, precision, layout, problem, implementation)
    names = ("pattern", "batch", "precision", "layout", "problem", "implementation")
    filters: dict[str, object] = {n: values for n, values in zip(names, dimensions, strict=True) if values}
    filters |= Ways(protocol, hot, counters).as_arguments()
    if resume and filters:
        raise UsageError("--resume goes on with a run as it was planned; leave the other options away")
    if dry_run:
        _tell_plan(ctx, suite, device, filters, _seconds(budget), as_json)
        return
    with _measuring(ctx) as (store, surroundings):
        budget_s = _seconds(budget)
        if resume:
            result = _resume(store, suite, device, budget_s, surroundings)
        else:
            result = _run(store, suite, device, filters, budget_s, surroundings)
        _show(store, result, as_json)
    if result.state == "interrupted":
        raise typer.Exit(EXIT_INTERRUPTED)
    if result.by_status.get("incorrect"):
        raise typer.Exit(EXIT_INCORRECT)


def _run(
    store: Store,
    suite: str | None,
    device: str | None,
    filters: Mapping[str, object],
    budget_s: float | None,
    surroundings: Surroundings,
) -> RunResult:
    from kswatch.profiler.planning.plan import AD_HOC
    from kswatch.profiler.runs.session import run_suite
    from kswatch.profiler.service.nightly import night_devices

    spec = device or night_devices(surroundings.config)[0]
    return run_suite(
        store, suite or AD_HOC, spec, filters=filters, budget_s=budget_s, surroundings=surroundings
    )


def _tell_plan(
    ctx: typer.Context,
    suite: str | None,
    device: str | None,
    filters: Mapping[str, object],
    budget_s: float | None,
    as_json: bool,
) -> None:
    from kswatch.db.json_text import to_json_text
    from kswatch.db.store import Store
    from kswatch.profiler.devices import discovery as devices
    from kswatch.profiler.planning.dry_run import dry_run
    from kswatch.profiler.planning.plan import AD_HOC, Filters, plan_suite
    from kswatch.profiler.reports.dry_run_table import print_dry_run
    from kswatch.profiler.service.nightly import night_devices

    config = ctx.obj["config"]["profiler"]
    plan = plan_suite(suite or AD_HOC, Filters.from_arguments(filters))
    target = devices.find(device or night_devices(config)[0])
    with closing(Store.open(ctx.obj["database_url"])) as store:
        planned = dry_run(store, plan, target, config.settings, budget_s)
    if as_json:
        typer.echo(to_json_text(planned))
    else:
        print_dry_run(planned)


def _resume(
    store: Store, number: str | None, device: str | None, budget_s: float | None, surroundings: Surroundings
) -> RunResult:
    from kswatch.profiler.runs.session import resume

    if number is not None and not number.isdigit():
        raise UsageError(f"--resume takes the number of a run, not {number!r}; `kswatch runs` lists them")
    run_id = int(number) if number else None
    return resume(store, run_id, device=device, budget_s=budget_s, surroundings=surroundings)


def _seconds(budget: str | None) -> float | None:
    from kswatch.profiler.planning.budget import parse_seconds

    return parse_seconds(budget) if budget else None


@contextmanager
def _measuring(ctx: typer.Context) -> Iterator[tuple[Store, Surroundings]]:
    """The store, and surroundings with progress on stderr and a polite end on Ctrl-C."""
    from kswatch.db.store import Store
    from kswatch.profiler.runs.progress import for_terminal
    from kswatch.profiler.runs.session import Surroundings
    from kswatch.profiler.signals import Stopped, stop_on_signals

    with closing(Store.open(ctx.obj["database_url"])) as store, stop_on_signals() as stop:
        try:
            yield store, Surroundings(ctx.obj["config"]["profiler"], for_terminal(), stop)
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
        typer.echo(f"Interrupted; `kswatch profile --resume {result.run}` goes on.")


@app.command()
def compare(
    ctx: typer.Context,
    before: Annotated[int, typer.Argument(help="Number of the earlier run.")],
    after: Annotated[int, typer.Argument(help="Number of the later run.")],
    as_json: JsonOption = False,
) -> None:
    """Compare two runs of one device, cell by cell: what became faster or slower, and how sure that is.

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

    with closing(Store.open(ctx.obj["database_url"], create=False)) as store:
        compared = compare_runs(store, before, after)
    if as_json:
        typer.echo(to_json_text(compared))
    else:
        print_comparison(compared, console())


@app.command()
def doctor(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Look at what this machine has for measuring, and say the cure for what it lacks; changes nothing.

    \b
    Examples:
      kswatch doctor
      kswatch doctor --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.db.json_text import to_json_text
    from kswatch.profiler.diagnostics import checks
    from kswatch.profiler.reports.diagnostics_table import print_checks

    found = checks(ctx.obj["config"]["profiler"], ctx.obj["database_url"])
    if as_json:
        typer.echo(to_json_text(found))
    else:
        print_checks(found)
