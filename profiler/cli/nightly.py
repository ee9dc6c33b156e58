"""`kswatch nightly`, for a scheduler to call, and `kswatch serve`, which has a schedule of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from kswatch.db.cli.options import BaselineSetOption, JsonOption
from kswatch.db.config import DbConfig
from kswatch.errors import MeasurementError, UsageError
from kswatch.profiler.cli.log_options import (
    LogFormat,
    LogFormatOption,
    QuietOption,
    VerboseOption,
    configure_logging,
)
from kswatch.profiler.cli.worker import AliveFileOption, InsecureOption
from kswatch.profiler.config import BaselineSetName, EngineName, ProfilerConfig
from kswatch.profiler.signals import EXIT_INTERRUPTED
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.db.store import Store
    from kswatch.profiler.runs.progress import Progress
    from kswatch.profiler.runs.session import RunContext
    from kswatch.profiler.service.nightly import DeviceNight

app = typer.Typer()

EngineOption = Annotated[
    str | None,
    typer.Option(help="local, or dask: on the workers of a Dask scheduler; by default as in kswatch.toml."),
]
SchedulerOption = Annotated[
    str | None, typer.Option(help="Address of the Dask scheduler, as tls://host:8786.")
]


@app.command()
def nightly(
    ctx: typer.Context,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="Device, or all; repeatable. By default those of kswatch.toml, else every GPU, else the CPU."
        ),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Suite to measure; by default that of kswatch.toml.")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Time limit per device, as 8m or 3h.")] = None,
    baselines: BaselineSetOption = None,
    engine: EngineOption = None,
    scheduler: SchedulerOption = None,
    insecure: InsecureOption = False,
    fail: Annotated[
        bool, typer.Option("--fail", help="Exit with 1 on a confirmed regression or an incorrect result.")
    ] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    log_format: Annotated[
        LogFormat | None, typer.Option("--log-format", help="Format of the log lines; implies --quiet.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure and judge every device once: for cron, a systemd timer or a CI schedule.

    GPUs are measured concurrently, each by a process of its own; the CPU afterwards, alone. With --engine
    dask, the devices are those of the scheduler's workers. A night that was killed or stopped is finished by
    the next start within 12 hours.

    \b
    Examples:
      kswatch nightly
      kswatch nightly --device cpu --suite smoke --fail
      kswatch nightly --device all --budget 30m --json
      kswatch nightly --baselines expert        # also against the rivals that are installed
      kswatch nightly --log-format json         # for a log collector
      kswatch nightly --engine dask --scheduler tls://night:8786
    """  # noqa: D301  (\b keeps the lines of the examples)
    quiet = quiet or log_format is not None
    configure_logging((log_format or LogFormat.TEXT) if quiet else None, verbose)
    from kswatch.db.json_text import to_json_text
    from kswatch.db.store import Store
    from kswatch.profiler.liveness.heartbeat import coordinator_heartbeats
    from kswatch.profiler.planning.budget import parse_seconds
    from kswatch.profiler.reports.nightly_summary import night_rows, print_next_steps
    from kswatch.profiler.runs.progress import LogProgress, for_terminal
    from kswatch.profiler.service.dead_man_switch import ping
    from kswatch.profiler.service.nightly import run_night
    from kswatch.profiler.service.request_runner import run_confirmations
    from kswatch.profiler.signals import stop_on_signals

    config = _with_engine(ctx, engine, scheduler)
    if baselines:
        config = replace(config, nightly_baselines=cast(BaselineSetName, baselines.value))
    nights: list[DeviceNight] = []
    budget_s = parse_seconds(budget) if budget else None
    _print_failed_checks(ctx, config)
    with closing(Store.open(services(ctx).database_url)) as store, stop_on_signals() as stop:
        judge = _judge(ctx, store)
        with (
            run_context(
                config, stop, LogProgress() if quiet else for_terminal(), insecure=insecure
            ) as context,
            coordinator_heartbeats(store, context.engine, context.heartbeats),
        ):
            for night in run_night(store, _devices(context, device or ()), suite, budget_s, judge, context):
                nights.append(night)
                _show_night(store, night, quiet, as_json)
            measured = [night.device for night in nights if night.run is not None]
            run_confirmations(store, measured, judge, context)
            if not context.remote:
                services(ctx).bisect_alerts(store, measured, stop, lambda: False)
                _notify(ctx, store)
        _report_lost_runs(ctx, store)
        if as_json:
            typer.echo(to_json_text(night_rows(store, nights)))
        elif not quiet:
            print_next_steps(nights)
    if any(night.run is not None and night.run.state == "finished" for night in nights):
        ping(config)
    _exit(nights, fail, stop.is_set())


def _show_night(store: Store, night: DeviceNight, quiet: bool, as_json: bool) -> None:
    """Print the tables of one device, or under --quiet log how its night ended."""
    from kswatch.profiler.reports.nightly_summary import log_night, print_night

    if quiet:
        log_night(night)
    elif not as_json:
        print_night(store, night)


def _with_engine(ctx: typer.Context, engine: str | None, scheduler: str | None) -> ProfilerConfig:
    """The configuration, with the engine that the options ask for."""
    config: ProfilerConfig = services(ctx).table(ProfilerConfig)
    name = cast(EngineName, engine or config.engine)  # checked by the configuration
    return replace(config, engine=name, scheduler=scheduler or config.scheduler)


def _print_failed_checks(ctx: typer.Context, config: ProfilerConfig) -> None:
    """Log the failed checks of this machine, if it is the one that measures."""
    from kswatch.profiler.diagnostics import checks
    from kswatch.profiler.reports.nightly_summary import print_failed_checks

    if config.engine == "local":
        print_failed_checks(checks(config, services(ctx).database_url))


def _devices(context: RunContext, specs: Sequence[str]) -> tuple[str, ...]:
    from kswatch.profiler.devices.nightly_devices import nightly_devices

    found = nightly_devices(context.config, specs, context.list_devices)
    if not found:
        raise MeasurementError(
            f"no worker serves a device at {context.config.scheduler}; start `kswatch worker` on their hosts"
        )
    return found


def _report_lost_runs(ctx: typer.Context, store: Store) -> None:
    """Alert about runs whose worker was lost: they are never judged, so no verdict reports them."""
    from kswatch.db.coordination.run_events import lost_runs

    if lost_runs(store):
        services(ctx).check_missing_data(store)
        _notify(ctx, store)


def _notify(ctx: typer.Context, store: Store) -> None:
    import logging

    for sentence in services(ctx).notify(store):
        logging.getLogger(__name__).warning("%s", sentence)


def _judge(ctx: typer.Context, store: Store) -> Callable[[int], Any]:
    """Judge of a run that also sends notifications, and requests its confirmation."""

    def judge(run_id: int) -> Any:  # noqa: ANN401  (the judgement is ci's)
        judged = services(ctx).judge(store, run_id)
        _notify(ctx, store)
        services(ctx).request_confirmation(store, run_id)
        return judged

    return judge


def _exit(nights: list[DeviceNight], fail: bool, stopped: bool) -> None:
    """Exit with 3 when no device could be measured, and with the judgement's code under --fail."""
    if stopped:
        raise typer.Exit(EXIT_INTERRUPTED)
    if all(night.run is None for night in nights):
        raise typer.Exit(3)
    if fail and any(night.exit_code for night in nights):
        raise typer.Exit(max(night.exit_code for night in nights))


@app.command()
def serve(
    ctx: typer.Context,
    engine: EngineOption = None,
    scheduler: SchedulerOption = None,
    insecure: InsecureOption = False,
    print_unit: Annotated[
        bool, typer.Option("--print-unit", help="Only print a systemd unit and a cron line.")
    ] = False,
    alive_file: AliveFileOption = None,
    verbose: VerboseOption = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Execute the requests of dashboard and command line, and the nightly run when it is due.

    Different devices are measured concurrently. Ctrl-C or SIGTERM ends it: the problems being measured are
    abandoned, and their runs are resumed by the next server. Log lines go to stderr, with UTC time, level,
    module, device and run.

    \b
    Examples:
      kswatch serve
      KSWATCH_CONFIG=/etc/kswatch.toml kswatch serve
      kswatch serve --engine dask --scheduler tls://night:8786
      kswatch serve --log-format json -v        # for a log collector, with debug messages
      kswatch serve --print-unit > /etc/systemd/system/kswatch.service
    """  # noqa: D301  (\b keeps the lines of the examples)
    configure_logging(log_format, verbose)
    from kswatch.db.store import Store
    from kswatch.profiler.liveness.alive_file import alive_file as open_alive_file
    from kswatch.profiler.service.server import Server
    from kswatch.profiler.service.systemd import unit
    from kswatch.profiler.signals import stop_on_signals

    config = _with_engine(ctx, engine, scheduler)
    if print_unit:
        typer.echo(unit(config, services(ctx).config_path))
        return
    with closing(Store.open(services(ctx).database_url)) as store, stop_on_signals() as stop:
        limits = services(ctx).table(DbConfig)
        check_missing_data = partial(services(ctx).check_missing_data, store)
        worker = services(ctx).notification_worker(services(ctx).database_url)
        with (
            run_context(config, stop, insecure=insecure) as context,
            worker,
            open_alive_file(alive_file) as alive,
        ):
            Server(
                store,
                context,
                _judge(ctx, store),
                limits=limits,
                check_missing_data=check_missing_data,
                bisect=partial(services(ctx).bisect_alerts, store),
                on_step=alive.write,
            ).serve()


@contextmanager
def run_context(
    config: ProfilerConfig,
    stop: threading.Event,
    progress: Progress | None = None,
    *,
    insecure: bool = False,
) -> Iterator[RunContext]:
    """The context of runs on this host, or with engine dask on the workers of a scheduler.

    `insecure` accepts a scheduler on another machine without TLS.
    """
    from kswatch.profiler.runs.progress import Progress
    from kswatch.profiler.runs.session import RunContext, on_this_host

    progress = progress or Progress()
    if config.engine == "local":
        yield on_this_host(config, progress, stop)
        return
    if not config.scheduler:
        raise UsageError(
            "engine dask needs its scheduler: --scheduler tls://host:8786, or profiler.scheduler"
        )
    from kswatch.profiler.executors.dask_cluster import DaskCluster
    from kswatch.profiler.executors.dask_security import require_safe_scheduler
    from kswatch.profiler.foreign.sources import Foreign

    require_safe_scheduler(config.scheduler, insecure)
    with closing(DaskCluster(config.scheduler, config.worker_absent_s)) as cluster:
        yield RunContext(
            config,
            progress,
            stop,
            make_engine=cluster.engine,
            find_device=cluster.find,
            list_devices=cluster.targets,
            heartbeats=cluster.heartbeats,
            engine="dask",
            foreign=Foreign(config.foreign),
            remote=True,
        )
