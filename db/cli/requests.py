"""`kswatch request` and `cancel`: request a run, which `kswatch serve` executes, or cancel a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.db.cli.options import (
    LARGEST_NUMBER,
    BatchesOption,
    ImplementationsOption,
    JsonOption,
    LayoutsOption,
    PatternsOption,
    PrecisionsOption,
    UserOption,
    WhyOption,
)
from kswatch.db.config import DbConfig
from kswatch.db.user_name import user_name
from kswatch.errors import UsageError
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.db.queries.alerts import RequestRow
    from kswatch.db.store import Store

app = typer.Typer()


@app.command()
def request(
    ctx: typer.Context,
    suite: Annotated[
        str | None, typer.Argument(help="Suite to measure, such as smoke; not needed with --pattern.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device of the server: cpu, a UUID or a model name; by default cpu.")
    ] = None,
    pattern: PatternsOption = None,
    batch: BatchesOption = None,
    precision: PrecisionsOption = None,
    layout: LayoutsOption = None,
    implementation: ImplementationsOption = None,
    budget: Annotated[
        str | None, typer.Option(help="Time limit, as 90s, 8m or 3h; remaining cells are skipped.")
    ] = None,
    like: Annotated[
        int | None,
        typer.Option(metavar="RUN", min=1, max=LARGEST_NUMBER, help="Measure the same cells as this run."),
    ] = None,
    priority: Annotated[
        int, typer.Option(min=-1000, max=1000, help="Priority; the highest is executed first.")
    ] = 0,
    why: WhyOption = None,
    user: UserOption = None,
    cancel: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_NUMBER, help="Only cancel the request of this number.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list the requests.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Request a run, which `kswatch serve` executes and judges.

    A request above the cost limits of [db] in kswatch.toml is refused.

    \b
    Examples:
      kswatch request smoke --device cpu --why "new compiler"
      kswatch request --pattern 6,64,64,1 --precision bf16 --device H200
      kswatch request --like 12 --why "was that noise?"
      kswatch request --list
      kswatch request --cancel 7 --why "wrong device"
    """  # noqa: D301  (backslash b keeps the lines apart)
    from kswatch.db.queries import basic as queries
    from kswatch.db.request_queue import requests as queue
    from kswatch.db.store import Store

    store = Store.open(services(ctx).database_url)
    if list_:
        _show(queries.requests(store), as_json)
        return
    if cancel is not None:
        _cancel(store, cancel, user or user_name(), why, as_json)
        return
    filters = {"pattern": pattern, "batch": batch, "precision": precision, "layout": layout}
    given = filters | {"implementation": implementation, "budget": budget}
    chosen = {name: value for name, value in given.items() if value}
    named_suite, named_device, arguments = _run_spec(store, suite, device, chosen, like)
    cells, budget_s = services(ctx).request_size(named_suite, arguments)
    number = queue.submit(
        store,
        named_suite,
        named_device,
        asked_by=user or user_name(),
        why=why,
        arguments=arguments,
        priority=priority,
        cells=cells,
        budget_s=budget_s,
        limits=services(ctx).table(DbConfig),
        timing=services(ctx).timing_limits,
    )
    _show_one(store, number, as_json)


@app.command("cancel")
def cancel_request(
    ctx: typer.Context,
    number: Annotated[
        int,
        typer.Argument(
            min=1, max=LARGEST_NUMBER, help="Number of the request, from `kswatch request --list`."
        ),
    ],
    why: WhyOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel a request: a queued one at once, a running one after its current problem.

    \b
    Examples:
      kswatch cancel 7 --why "wrong device"
    """  # noqa: D301
    from kswatch.db.store import Store

    _cancel(Store.open(services(ctx).database_url), number, user or user_name(), why, as_json)


def _cancel(store: Store, number: int, user: str, why: str | None, as_json: bool) -> None:
    from kswatch.db.request_queue import requests

    requests.cancel(store, number, user, why)
    _show_one(store, number, as_json)


def _run_spec(
    store: Store, suite: str | None, device: str | None, chosen: Mapping[str, object], like: int | None
) -> tuple[str, str, dict[str, object]]:
    """The suite, device and arguments of a named run, or those chosen."""
    from kswatch.db.queries import basic as queries
    from kswatch.db.records import AD_HOC

    if like is None:
        if suite is None and "pattern" not in chosen:
            raise UsageError("name a suite, as in `kswatch request smoke --device cpu`, or a --pattern")
        return suite or AD_HOC, device or "cpu", dict(chosen)
    if suite is not None or set(chosen) - {"budget"}:
        raise UsageError("--like repeats the cells of that run; omit suite and filters")
    run = queries.run(store, like)
    if run.origin == "imported":
        raise UsageError(
            f"run {like} was imported and cannot be repeated here; name a suite or patterns instead"
        )
    return run.suite, device or run.device_uuid, {**run.arguments, **chosen}


def _show_one(store: Store, request_id: int, as_json: bool) -> None:
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries import basic as queries

    found = queries.request(store, request_id)
    typer.echo(to_json_text(_as_object(found)) if as_json else _as_text(found))


def _show(found: list[RequestRow], as_json: bool) -> None:
    from kswatch.db.json_text import to_json_text

    if as_json:
        typer.echo(to_json_text([_as_object(one) for one in found]))
    else:
        typer.echo(
            "\n".join(map(_as_text, found))
            or "no requests yet; `kswatch request smoke --device cpu` queues a run"
        )


def _as_object(found: RequestRow) -> dict[str, object]:
    values = dict(vars(found))
    return {"request": values.pop("id"), "run": values.pop("run_id"), **values}


def _as_text(found: RequestRow) -> str:
    done = f", {found.cells_done} of {found.cells_planned} cells" if found.cells_planned else ""
    origin = f"requested by {found.asked_by}" + (f" ({found.why})" if found.why else "")
    message = f": {found.message}" if found.message else ""
    head = f"request {found.id}: {found.suite} on {found.device}, {found.state}"
    return f"{head}{done}{_duration(found)}, {origin}{message}"


def _duration(found: RequestRow) -> str:
    """The remaining time of a running request, or the estimated duration of a queued one."""
    if found.state == "running" and found.seconds_left is not None:
        return f", about {found.seconds_left / 60:.1f} minutes left"
    if found.state == "queued" and found.seconds_planned is not None:
        return f", about {found.seconds_planned / 60:.1f} minutes"
    return ""
