"""`kswatch tune`: find the fastest tiles of the fused product on a device."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.db.cli.options import (
    BatchesOption,
    JsonOption,
    LayoutsOption,
    MeasuredDeviceOption,
    PatternsOption,
    PrecisionsOption,
)
from kswatch.errors import UsageError
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.signals import EXIT_INTERRUPTED
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.profiler.tuning import TuningResult

app = typer.Typer()


@app.command()
def tune(
    ctx: typer.Context,
    suite: Annotated[str | None, typer.Argument(help="Suite whose problems are tuned.")] = None,
    device: MeasuredDeviceOption = None,
    pattern: PatternsOption = None,
    batch: BatchesOption = None,
    precision: PrecisionsOption = None,
    layout: LayoutsOption = None,
    most: Annotated[
        int, typer.Option(min=1, max=10_000, help="Maximum number of tiles to try per problem.")
    ] = 12,
    budget: Annotated[
        str | None, typer.Option(help="Time limit, as 90s, 8m or 3h; the next call continues the search.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="File for the table of all tiles found for this device, including earlier searches."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the fastest tile of the fused product for each problem on one device.

    The cost model proposes candidates; each is checked against float64, and the correct ones are measured
    interleaved. Results are stored at once: an interrupted search continues where it stopped. The product
    uses the tiles of the table kernels/fused/tables/ARCHITECTURE.toml, or of one in the folder KSWATCH_TILES.

    \b
    Examples:
      kswatch tune smoke --device cpu
      kswatch tune paper --device cuda --budget 25m --export kernels/fused/tables/sm_90.toml
      kswatch tune --pattern 6,64,64,1 --batch 1024 --precision fp32 --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.db.json_text import to_json_text
    from kswatch.db.records import AD_HOC
    from kswatch.db.store import Store
    from kswatch.kernels.problem import Problem
    from kswatch.profiler.devices import discovery as devices
    from kswatch.profiler.devices.nightly_devices import nightly_devices
    from kswatch.profiler.planning.budget import TimeBudget, parse_seconds
    from kswatch.profiler.planning.plan import Filters, plan_suite
    from kswatch.profiler.runs.progress import for_terminal
    from kswatch.profiler.signals import stop_on_signals
    from kswatch.profiler.tuning import TuningLimits, tune
    from kswatch.profiler.tuning import export as write_table

    if not suite and not pattern:
        raise UsageError("tune a suite, as in `kswatch tune smoke`, or patterns, by --pattern a,b,c,d")
    filters = {"pattern": pattern, "batch": batch, "precision": precision, "layout": layout}
    planned = plan_suite(suite or AD_HOC, Filters.from_arguments(filters)).problems
    problems = [problem for problem in planned if isinstance(problem, Problem)]
    config = services(ctx).table(ProfilerConfig)
    time_budget = TimeBudget(parse_seconds(budget) if budget else None)
    target = devices.find(device or nightly_devices(config)[0])
    limits = TuningLimits(most, config.settings_on(target.record.kind))
    if target.record.simulated:
        raise UsageError(f"{target.record.model} is simulated and has no tiles; choose a real device")
    with closing(Store.open(services(ctx).database_url)) as store, stop_on_signals() as stop:
        result = tune(
            store, target, problems, limits=limits, budget=time_budget, progress=for_terminal(), stop=stop
        )
        exported = write_table(store, result, export) if export else None
    if as_json:
        typer.echo(to_json_text(asdict(result) | {"exported": exported}))
    else:
        _show(result)
        if export:
            typer.echo(f"{export} holds {exported} tiles.")
    if stop.is_set():
        raise typer.Exit(EXIT_INTERRUPTED)


def _show(result: TuningResult) -> None:
    from rich.table import Table

    from kswatch.profiler.reports.run_table import console

    table = Table("problem", "tile", "ms", "against the model's", "tried", "refused", box=None)
    for tile in result.found:
        gain = f"{tile.speedup_over_model:.2f}×" if tile.speedup_over_model else ""
        table.add_row(
            tile.problem, tile.tile, f"{tile.latency_ms:.4g}", gain, str(tile.candidates), str(tile.refused)
        )
    if result.found:
        console().print(table)
    for sentence in result.without:
        typer.echo(f"no tile for {sentence}")
    typer.echo(f"{len(result.found)} found, {result.known} known before, {result.left} left.")
