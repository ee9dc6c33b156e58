"""`kswatch tune`: search the fastest tiles of the fused product on the device at hand."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.errors import UsageError

if TYPE_CHECKING:
    from kswatch.kernels.problem import Problem
    from kswatch.profiler.tuning import Search

app = typer.Typer()

EXIT_INTERRUPTED = 130


@app.command()
def tune(
    ctx: typer.Context,
    suite: Annotated[str | None, typer.Argument(help="Suite whose problems are tuned.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, a UUID, its unique prefix or a model name.")
    ] = None,
    pattern: Annotated[list[str] | None, typer.Option(help="a,b,c,d; repeatable.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Repeatable.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="fp32, tf32, bf16, fp16; repeatable.")] = None,
    layout: Annotated[list[str] | None, typer.Option(help="batch_first, batch_last; repeatable.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Tiles that are tried for a problem.")] = 12,
    budget: Annotated[
        str | None, typer.Option(help="Longest time, as 90s, 8m or 3h; the rest is left for the next time.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Table to write all tiles of this device to, those found before too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Search the fastest tile of the fused product for each problem, on one device.

    The model names candidates, which race in turns after each was checked against float64; a wrong one is
    refused. What is found is kept in the store at once: the search can be stopped and goes on where it was.
    A table beside the kernel, kernels/fused/tables/ARCHITECTURE.toml, or in the folder that KSWATCH_TILES
    names, makes the product use the tiles.

    \b
    Examples:
      kswatch tune smoke --device cpu
      kswatch tune paper --device cuda --budget 25m --export kernels/fused/tables/sm_90.toml
      kswatch tune --pattern 6,64,64,1 --batch 1024 --precision fp32 --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.db.json_text import to_json_text
    from kswatch.db.store import Store
    from kswatch.profiler.devices import discovery as devices
    from kswatch.profiler.planning.budget import Budget, parse_seconds
    from kswatch.profiler.runs.progress import for_terminal
    from kswatch.profiler.service.nightly import night_devices
    from kswatch.profiler.signals import stop_on_signals
    from kswatch.profiler.tuning import Rules, tune
    from kswatch.profiler.tuning import export as write_table

    problems = _problems(suite, pattern, batch, precision, layout)
    config = ctx.obj["config"]["profiler"]
    rules = Rules(most, config.settings)
    limit = Budget(parse_seconds(budget) if budget else None)
    target = devices.find(device or night_devices(config)[0])
    if target.record.simulated:
        raise UsageError(f"{target.record.model} is simulated and has no tiles; choose a real device")
    with closing(Store.open(ctx.obj["database_url"])) as store, stop_on_signals() as stop:
        search = tune(store, target, problems, rules=rules, budget=limit, progress=for_terminal(), stop=stop)
        held = write_table(store, search, export) if export else None
    if as_json:
        typer.echo(to_json_text(asdict(search) | {"exported": held}))
    else:
        _show(search)
        if export:
            typer.echo(f"{export} holds {held} tiles.")
    if stop.is_set():
        raise typer.Exit(EXIT_INTERRUPTED)


def _problems(
    suite: str | None,
    pattern: list[str] | None,
    batch: list[int] | None,
    precision: list[str] | None,
    layout: list[str] | None,
) -> tuple[Problem, ...]:
    from kswatch.profiler.planning.plan import AD_HOC, Filters, plan_suite

    if not suite and not pattern:
        raise UsageError("tune a suite, as in `kswatch tune smoke`, or patterns, by --pattern a,b,c,d")
    filters = Filters(tuple(pattern or ()), tuple(batch or ()), tuple(precision or ()), tuple(layout or ()))
    return plan_suite(suite or AD_HOC, filters).problems


def _show(search: Search) -> None:
    from rich.table import Table

    from kswatch.profiler.reports.run_table import console

    table = Table("problem", "tile", "ms", "against the model's", "tried", "refused", box=None)
    for one in search.found:
        gain = f"{one.speedup_over_model:.2f}×" if one.speedup_over_model else ""
        table.add_row(
            one.problem, one.tile, f"{one.latency_ms:.4g}", gain, str(one.candidates), str(one.refused)
        )
    if search.found:
        console().print(table)
    for sentence in search.without:
        typer.echo(f"no tile for {sentence}")
    typer.echo(f"{len(search.found)} found, {search.known} known before, {search.left} left.")
