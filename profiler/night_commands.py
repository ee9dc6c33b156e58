"""`kswatch nightly`, which a schedule calls, and `kswatch serve`, which is one itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kswatch_errors import UsageError
from profiler.config import ProfilerConfig

if TYPE_CHECKING:
    from db.store import Store
    from profiler.nightly import Night
    from profiler.session import Surroundings

app = typer.Typer()

EXIT_INTERRUPTED = 130


@app.command()
def nightly(
    ctx: typer.Context,
    device: Annotated[
        list[str] | None,
        typer.Option(help="Repeatable, or all; those of kswatch.toml, else every GPU, else the CPU."),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Instead of the one in kswatch.toml.")] = None,
    budget: Annotated[str | None, typer.Option(help="Longest time per device, as 8m or 3h.")] = None,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with 1 on a confirmed finding.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Measure every device, judge the night, say what to open. For cron, a timer or a CI schedule.

    All devices at once, each in a process of its own; the CPU alone, since it serves the GPUs.

    \b
    Examples:
      kswatch nightly
      kswatch nightly --device cpu --suite smoke --fail
      kswatch nightly --device all --budget 30m --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from db.json_text import to_json_text
    from db.store import Store
    from profiler import night_call
    from profiler.alive import coordinating
    from profiler.budget import parse_seconds
    from profiler.doctor import checks
    from profiler.interruption import stop_on_signals
    from profiler.night_report import night_rows, print_ailments, print_night, print_what_to_open
    from profiler.nightly import night_devices, run_night
    from profiler.progress import for_terminal
    from profiler.request_run import run_requests
    from profiler.session import Surroundings

    config = ctx.obj["config"]["profiler"]
    nights: list[Night] = []
    measure_again: list[int] = []
    print_ailments(checks(config, ctx.obj["database_url"]))
    with closing(Store.open(ctx.obj["database_url"])) as store, stop_on_signals() as stop:
        specs = night_devices(config, device or ())
        surroundings = Surroundings(config, for_terminal(), stop)
        budget_s = parse_seconds(budget) if budget else None
        judge = _judge(ctx, store, measure_again)
        with coordinating(store):
            for night in run_night(store, specs, suite, budget_s, judge, surroundings):
                nights.append(night)
                if not as_json:
                    print_night(store, night)
            run_requests(store, measure_again, _judge(ctx, store), surroundings)
        if as_json:
            typer.echo(to_json_text(night_rows(store, nights)))
        else:
            print_what_to_open(nights)
    if any(night.run is not None and night.run.state == "finished" for night in nights):
        night_call.call(config)
    _exit(nights, fail, stop.is_set())


def _judge(ctx: typer.Context, store: Store, measure_again: list[int] | None = None) -> Callable[[int], Any]:
    """Judges a run, tells people, and queues what is to be measured again, with what kswatch.py handed in."""
    from datetime import UTC, datetime

    def judge(run_id: int) -> Any:  # noqa: ANN401  (what ci gives)
        judged = ctx.obj["judge"](store, run_id, ctx.obj["config"]["ci"], now=datetime.now(UTC))
        for sentence in ctx.obj["notify"](store):
            typer.echo(f"kswatch: {sentence}", err=True)
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
    engine: Annotated[
        str | None, typer.Option(help="local, or dask: on the workers of a scheduler; as in kswatch.toml.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="The Dask scheduler, as tcp://host:8786.")] = None,
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
    from db.store import Store
    from profiler.interruption import stop_on_signals
    from profiler.serve import Server
    from profiler.unit import unit

    config: ProfilerConfig = ctx.obj["config"]["profiler"]
    config = replace(config, engine=engine or config.engine, scheduler=scheduler or config.scheduler)
    if print_unit:
        typer.echo(unit(config, ctx.obj["config_path"]))
        return
    with closing(Store.open(ctx.obj["database_url"])) as store, stop_on_signals() as stop:
        limits = ctx.obj["config"]["db"].limits
        look_around = partial(ctx.obj["look_around"], store, ctx.obj["config"]["ci"])
        with surroundings_of(config, stop) as surroundings, ctx.obj["telling"](ctx.obj["database_url"]):
            Server(store, surroundings, _judge(ctx, store), limits=limits, look_around=look_around).serve()


@contextmanager
def surroundings_of(config: ProfilerConfig, stop: threading.Event) -> Iterator[Surroundings]:
    """Where the configured engine measures: on this host, or on the workers of a scheduler."""
    from profiler.session import Surroundings

    if config.engine == "local":
        yield Surroundings(config, stop=stop)
        return
    if not config.scheduler:
        raise UsageError(
            "engine dask needs its scheduler: --scheduler tcp://host:8786, or profiler.scheduler"
        )
    from profiler.engines.dask_cluster import Cluster

    with closing(Cluster(config.scheduler, config.worker_absent_s)) as cluster:
        yield Surroundings(
            config,
            stop=stop,
            make_engine=cluster.engine,
            find_device=cluster.find,
            list_devices=cluster.targets,
            signs=cluster.signs,
            engine="dask",
            distant=True,
        )
