"""`kswatch nightly`, which a schedule calls, and `kswatch serve`, which is one itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from db.store import Store
    from profiler.nightly import Night

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
    from profiler.alive import coordinating
    from profiler.budget import parse_seconds
    from profiler.doctor import checks
    from profiler.interruption import stop_on_signals
    from profiler.night_report import night_rows, print_ailments, print_night, print_what_to_open
    from profiler.nightly import night_devices, run_night
    from profiler.progress import for_terminal
    from profiler.session import Surroundings

    config = ctx.obj["config"]["profiler"]
    nights: list[Night] = []
    print_ailments(checks(config, ctx.obj["database_url"]))
    with closing(Store.open(ctx.obj["database_url"])) as store, stop_on_signals() as stop:
        specs = night_devices(config, device or ())
        surroundings = Surroundings(config, for_terminal(), stop)
        budget_s = parse_seconds(budget) if budget else None
        with coordinating(store):
            for night in run_night(store, specs, suite, budget_s, _judge(ctx, store), surroundings):
                nights.append(night)
                if not as_json:
                    print_night(store, night)
        if as_json:
            typer.echo(to_json_text(night_rows(store, nights)))
        else:
            print_what_to_open(nights)
    _exit(nights, fail, stop.is_set())


def _judge(ctx: typer.Context, store: Store) -> Callable[[int], Any]:
    """Judges a run and tells people, with what kswatch.py handed in."""
    from datetime import UTC, datetime

    def judge(run_id: int) -> Any:  # noqa: ANN401  (what ci gives)
        judged = ctx.obj["judge"](store, run_id, ctx.obj["config"]["ci"], now=datetime.now(UTC))
        ctx.obj["notify"](judged)
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
def serve(ctx: typer.Context) -> None:
    """Run what is asked for on the dashboard or by `kswatch request`, and the nightly when it is due.

    Ctrl-C or SIGTERM ends it: the problem under way is given up, and its run is resumed next time.

    \b
    Examples:
      kswatch serve
      KSWATCH_CONFIG=/etc/kswatch.toml kswatch serve
    """  # noqa: D301  (\b keeps the lines of the examples)
    from db.store import Store
    from profiler.interruption import stop_on_signals
    from profiler.serve import Server
    from profiler.session import Surroundings

    config = ctx.obj["config"]["profiler"]
    with closing(Store.open(ctx.obj["database_url"])) as store, stop_on_signals() as stop:
        Server(store, Surroundings(config, stop=stop), _judge(ctx, store)).serve()
