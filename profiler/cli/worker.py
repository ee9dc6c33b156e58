"""`kswatch worker`: serve this host's devices to a coordinator elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kswatch.errors import MeasurementError, UsageError
from kswatch.profiler.cli.log_options import LogFormat, LogFormatOption, VerboseOption, configure_logging
from kswatch.profiler.config import ProfilerConfig
from kswatch.services import services

app = typer.Typer()

InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Accept a scheduler on another machine without TLS.")
]

AliveFileOption = Annotated[
    Path | None,
    typer.Option(help="File that holds the time of the last step; ten minutes old means that it hangs."),
]


@app.command()
def worker(
    ctx: typer.Context,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of the Dask scheduler, as tls://host:8786; by default that of kswatch.toml."
        ),
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Device to serve; repeatable. By default every GPU of this host.")
    ] = None,
    insecure: InsecureOption = False,
    alive_file: AliveFileOption = None,
    verbose: VerboseOption = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Measure on this host's GPUs for a `kswatch serve --engine dask` on another host.

    Starts one process per GPU, which returns its measurements to the coordinator and never opens the store.
    A process that crashes is restarted, and its run continues. Ctrl-C or SIGTERM ends all of them.
    A scheduler on another machine must use TLS, by Dask's own settings, the same on each host:
    DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ..._TLS__WORKER__CERT and so on (docs.dask.org).

    \b
    Examples:
      dask scheduler --host tls://night:8786 --tls-ca-file ca.pem --tls-cert night.pem --tls-key night.key
      kswatch worker --scheduler tls://night:8786         # on each host with GPUs
      kswatch worker --scheduler tcp://127.0.0.1:8786 --device cuda:0 --device sim:h200
      kswatch worker --scheduler tcp://night:8786 --insecure      # in a network that you trust
      kswatch serve --engine dask --scheduler tls://night:8786
    """  # noqa: D301  (\b keeps the lines of the examples)
    configure_logging(log_format, verbose)
    from kswatch.profiler.devices import discovery as devices
    from kswatch.profiler.executors.dask_security import listening_host, require_safe_scheduler
    from kswatch.profiler.executors.dask_supervisor import serve_devices
    from kswatch.profiler.liveness.alive_file import alive_file as open_alive_file
    from kswatch.profiler.signals import stop_on_signals

    config: ProfilerConfig = services(ctx).table(ProfilerConfig)
    address = scheduler or config.scheduler
    if not address:
        raise UsageError("name the scheduler: --scheduler tls://host:8786, or profiler.scheduler")
    require_safe_scheduler(address, insecure)
    targets = [devices.find(spec) for spec in device or ()] or [
        target for target in devices.list_targets() if target.record.kind == "cuda"
    ]
    if not targets:
        raise MeasurementError("this host has no GPU to serve; name a device, as --device cpu")
    with stop_on_signals() as stop, open_alive_file(alive_file) as alive:
        host = listening_host(address, config.worker_host)
        serve_devices(address, targets, stop, host, alive.write, config.foreign)
