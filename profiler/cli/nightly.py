"""`kswatch nightly`, which a schedule calls, and `kswatch serve`, which is one itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kswatch.errors import MeasurementError, UsageError
from kswatch.profiler.config import ProfilerConfig

if TYPE_CHECKING:
    from kswatch.db.store import Store
    from kswatch.profiler.runs.progress import Progress
    from kswatch.profiler.runs.session import Surroundings
    from kswatch.profiler.service.nightly import Night

app = typer.Typer()

EXIT_INTERRUPTED = 130

EngineOption = Annotated[
    str | None, typer.Option(help="local, or dask: on the workers of a scheduler; as in kswatch.toml.")
]
SchedulerOption = Annotated[str | None, typer.Option(help="The Dask scheduler, as tcp://host:8786.")]


@app.command()
def nightly(
    ctx: typer.Context,
    device: Annotated[
        list[str] | None,
        typer.Option(help="Repeatable, or all; those of kswatch.toml, else every GPU, else the CPU."),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Instead of the one in kswatch.toml.")] = None,
    budget: Annotated[str | None, typer.Option(help="Longest time per device, as 8m or 3h.")] = None,
    engine: EngineOption = None,
    scheduler: SchedulerOption = None,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with 1 on a confirmed finding.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Measure every device, judge the night, say what to open. For cron, a timer or a CI schedule.

    All devices at once, each in a process of its own; the CPU alone, since it serves the GPUs. With
    engine dask, the devices are those of the scheduler's workers.

    \b
    Examples:
      kswatch nightly
      kswatch nightly --device cpu --suite smoke --fail
      kswatch nightly --device all --budget 30m --json
      kswatch nightly --engine dask --scheduler tcp://night:8786
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.db.json_text import to_json_text
    from kswatch.db.store import Store
    from kswatch.profiler.liveness.heartbeat import coordinating
    from kswatch.profiler.planning.budget import parse_seconds
    from kswatch.profiler.reports.nightly_summary import night_rows, print_night, print_what_to_open
    from kswatch.profiler.runs.progress import for_terminal
    from kswatch.profiler.service import dead_man_switch as night_call
    from kswatch.profiler.service.nightly import run_night
    from kswatch.profiler.service.request_runner import run_requests
    from kswatch.profiler.signals import stop_on_signals

    config = _with_engine(ctx, engine, scheduler)
    nights: list[Night] = []
    measure_again: list[int] = []
    budget_s = parse_seconds(budget) if budget else None
    _tell_ailments(ctx, config)
    with closing(Store.open(ctx.obj["database_url"])) as store, stop_on_signals() as stop:
        judge = _judge(ctx, store, measure_again)
        with (
            surroundings_of(config, stop, for_terminal()) as around,
            coordinating(store, around.engine, around.signs),
        ):
            for night in run_night(store, _devices(around, device or ()), suite, budget_s, judge, around):
                nights.append(night)
                if not as_json:
                    print_night(store, night)
            run_requests(store, measure_again, _judge(ctx, store), around)
        _tell_of_lost(ctx, store)
        if as_json:
            typer.echo(to_json_text(night_rows(store, nights)))
        else:
            print_what_to_open(nights)
    if any(night.run is not None and night.run.state == "finished" for night in nights):
        night_call.call(config)
    _exit(nights, fail, stop.is_set())


def _with_engine(ctx: typer.Context, engine: str | None, scheduler: str | None) -> ProfilerConfig:
    """The configuration, with the engine that the options ask for."""
    config: ProfilerConfig = ctx.obj["config"]["profiler"]
    return replace(config, engine=engine or config.engine, scheduler=scheduler or config.scheduler)


def _tell_ailments(ctx: typer.Context, config: ProfilerConfig) -> None:
    """What ails this machine, where it is this machine that measures."""
    from kswatch.profiler.diagnostics import checks
    from kswatch.profiler.reports.nightly_summary import print_ailments

    if config.engine == "local":
        print_ailments(checks(config, ctx.obj["database_url"]))


def _devices(around: Surroundings, specs: Sequence[str]) -> tuple[str, ...]:
    from kswatch.profiler.service.nightly import night_devices

    found = night_devices(around.config, specs, around.list_devices)
    if not found:
        raise MeasurementError(
            f"no worker serves a device at {around.config.scheduler}; start `kswatch worker` on their hosts"
        )
    return found


def _tell_of_lost(ctx: typer.Context, store: Store) -> None:
    """A run whose worker was lost is judged by nobody, so that it is told of here."""
    from kswatch.db.coordination.lost_workers import lost_runs

    if lost_runs(store):
        ctx.obj["look_around"](store, ctx.obj["config"]["ci"])
        _notify(ctx, store)


def _notify(ctx: typer.Context, store: Store) -> None:
    for sentence in ctx.obj["notify"](store):
        typer.echo(f"kswatch: {sentence}", err=True)


def _judge(ctx: typer.Context, store: Store, measure_again: list[int] | None = None) -> Callable[[int], Any]:
    """Judges a run, tells people, and queues what is to be measured again, with what kswatch/cli.py handed in."""
    from datetime import UTC, datetime

    def judge(run_id: int) -> Any:  # noqa: ANN401  (what ci gives)
        judged = ctx.obj["judge"](store, run_id, ctx.obj["config"]["ci"], now=datetime.now(UTC))
        _notify(ctx, store)
        asked = ctx.obj["ask_again"](store, run_id, ctx.obj["config"]["ci"])
        if measure_again is not None and asked is not None:
            measure_again.append(asked)
        return judged

    return judge


def _exit(nights: list[Night], fail: bool, stopped: bool) -> None:
    """3 when no device could be measured; a finding counts only where it was asked to."""
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
    print_unit: Annotated[
        bool, typer.Option("--print-unit", help="Print a systemd unit and a cron line instead.")
    ] = False,
) -> None:
    """Run what is asked for on the dashboard or by `kswatch request`, and the nightly when it is due.

    Runs on different devices go on at once. Ctrl-C or SIGTERM ends it: the problems under way are
    given up, and their runs are resumed next time.

    \b
    Examples:
      kswatch serve
      KSWATCH_CONFIG=/etc/kswatch.toml kswatch serve
      kswatch serve --engine dask --scheduler tcp://night:8786
      kswatch serve --print-unit > /etc/systemd/system/kswatch.service
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.db.store import Store
    from kswatch.profiler.service.server import Server
    from kswatch.profiler.service.systemd import unit
    from kswatch.profiler.signals import stop_on_signals

    config = _with_engine(ctx, engine, scheduler)
    if print_unit:
        typer.echo(unit(config, ctx.obj["config_path"]))
        return
    with closing(Store.open(ctx.obj["database_url"])) as store, stop_on_signals() as stop:
        limits = ctx.obj["config"]["db"].limits
        look_around = partial(ctx.obj["look_around"], store, ctx.obj["config"]["ci"])
        with surroundings_of(config, stop) as surroundings, ctx.obj["telling"](ctx.obj["database_url"]):
            Server(store, surroundings, _judge(ctx, store), limits=limits, look_around=look_around).serve()


@contextmanager
def surroundings_of(
    config: ProfilerConfig, stop: threading.Event, progress: Progress | None = None
) -> Iterator[Surroundings]:
    """Where the configured engine measures: on this host, or on the workers of a scheduler."""
    from kswatch.profiler.runs.progress import Progress
    from kswatch.profiler.runs.session import Surroundings

    progress = progress or Progress()
    if config.engine == "local":
        yield Surroundings(config, progress, stop)
        return
    if not config.scheduler:
        raise UsageError(
            "engine dask needs its scheduler: --scheduler tcp://host:8786, or profiler.scheduler"
        )
    from kswatch.profiler.executors.dask_cluster import Cluster

    with closing(Cluster(config.scheduler, config.worker_absent_s)) as cluster:
        yield Surroundings(
            config,
            progress,
            stop,
            make_engine=cluster.engine,
            find_device=cluster.find,
            list_devices=cluster.targets,
            signs=cluster.signs,
            engine="dask",
            distant=True,
        )
