"""`kswatch worker`: serve this host's devices to a coordinator elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from kswatch.errors import MeasurementError, UsageError

app = typer.Typer()


@app.command()
def worker(
    ctx: typer.Context,
    scheduler: Annotated[
        str | None, typer.Option(help="The Dask scheduler, as tcp://host:8786; else that of kswatch.toml.")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Repeatable; every GPU of this host unless given.")
    ] = None,
) -> None:
    """Measure on this host's GPUs for a `kswatch serve --engine dask` elsewhere: one process per GPU.

    A worker knows no store: it gives what it measures to the coordinator. One that dies is started
    again, and its run goes on. Ctrl-C or SIGTERM ends all.

    \b
    Examples:
      dask scheduler --port 8786                          # once, somewhere
      kswatch worker --scheduler tcp://night:8786         # on each host with GPUs
      kswatch worker --scheduler tcp://night:8786 --device cuda:0 --device sim:h200
      kswatch serve --engine dask --scheduler tcp://night:8786
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.profiler.devices import discovery as devices
    from kswatch.profiler.executors.dask_supervisor import serve_devices
    from kswatch.profiler.signals import stop_on_signals

    address = scheduler or ctx.obj["config"]["profiler"].scheduler
    if not address:
        raise UsageError("name the scheduler: --scheduler tcp://host:8786, or profiler.scheduler")
    targets = [devices.find(spec) for spec in device or ()] or [
        target for target in devices.list_targets() if target.record.kind == "cuda"
    ]
    if not targets:
        raise MeasurementError("this host has no GPU to serve; name a device, as --device cpu")
    with stop_on_signals() as stop:
        serve_devices(address, targets, stop)
