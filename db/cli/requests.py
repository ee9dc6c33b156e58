"""`kswatch request` and `cancel`: ask for a run that `kswatch serve` will make, and take that back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kswatch.errors import UsageError

if TYPE_CHECKING:
    from kswatch.db.queries.rows import RequestRow
    from kswatch.db.store import Store

app = typer.Typer()

AD_HOC = "ad_hoc"
"""The suite's name of a run over given patterns alone."""

Wanted = tuple[str, str, dict[str, object]]
"""Suite, device and arguments of a run."""

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def request(
    ctx: typer.Context,
    suite: Annotated[
        str | None, typer.Argument(help="Suite to run, such as smoke; patterns need none.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, a UUID or a model name, as serve's machine has it; else cpu.")
    ] = None,
    pattern: Annotated[list[str] | None, typer.Option(help="a,b,c,d; repeatable.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Repeatable.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="fp32, tf32, bf16, fp16; repeatable.")] = None,
    layout: Annotated[list[str] | None, typer.Option(help="batch_first, batch_last; repeatable.")] = None,
    implementation: Annotated[list[str] | None, typer.Option(help="fused or a baseline; repeatable.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Longest time, as 90s, 8m or 3h; the rest is skipped.")
    ] = None,
    like: Annotated[int | None, typer.Option(metavar="RUN", help="The same cells as this run.")] = None,
    priority: Annotated[int, typer.Option(help="The highest is taken first.")] = 0,
    why: Annotated[str | None, typer.Option(help="What for.")] = None,
    who: Annotated[str | None, typer.Option(help="Who asks; by default the user's name.")] = None,
    cancel: Annotated[int | None, typer.Option(help="Cancel the request of this number instead.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the requests instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask for a run; `kswatch serve` takes it, runs it and judges it.

    A request that costs too much is refused: [db] of kswatch.toml says what one may cost.

    \b
    Examples:
      kswatch request smoke --device cpu --why "new compiler"
      kswatch request --pattern 6,64,64,1 --precision bf16 --device H200
      kswatch request --like 12 --why "was that noise?"
      kswatch request --list
      kswatch request --cancel 7 --why "wrong device"
    """  # noqa: D301  (backslash b keeps the lines apart)
    from getpass import getuser

    from kswatch.db.queries import basic as queries
    from kswatch.db.store import Store

    store = Store.open(ctx.obj["database_url"])
    if list_:
        _show(queries.requests(store), as_json)
        return
    if cancel is not None:
        _cancel(store, cancel, who or getuser(), why, as_json)
        return
    dimensions = (pattern, batch, precision, layout, implementation, budget)
    names = ("pattern", "batch", "precision", "layout", "implementation", "budget")
    chosen: dict[str, object] = {name: value for name, value in zip(names, dimensions, strict=True) if value}
    wanted = _wanted(store, suite, device, chosen, like)
    asked = _ask(ctx, store, wanted, asked_by=who or getuser(), why=why, priority=priority)
    _show_one(store, asked, as_json)


@app.command("cancel")
def cancel_request(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(help="Number of the request, as `kswatch request --list` tells.")],
    why: Annotated[str | None, typer.Option(help="What for.")] = None,
    who: Annotated[str | None, typer.Option(help="Who says so; by default the user's name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel a request: a queued one at once, a running one after the problem under way.

    \b
    Examples:
      kswatch cancel 7 --why "wrong device"
    """  # noqa: D301
    from getpass import getuser

    from kswatch.db.store import Store

    _cancel(Store.open(ctx.obj["database_url"]), number, who or getuser(), why, as_json)


def _cancel(store: Store, number: int, who: str, why: str | None, as_json: bool) -> None:
    from kswatch.db.request_queue import requests

    requests.cancel(store, number, who, why)
    _show_one(store, number, as_json)


def _wanted(
    store: Store, suite: str | None, device: str | None, chosen: dict[str, object], like: int | None
) -> Wanted:
    """Suite, device and arguments: those of a run where it is named, else those chosen."""
    from kswatch.db.queries import basic as queries

    if like is None:
        if suite is None and "pattern" not in chosen:
            raise UsageError("name a suite, as `kswatch request smoke --device cpu`, or a --pattern")
        return suite or AD_HOC, device or "cpu", chosen
    if suite is not None or set(chosen) - {"budget"}:
        raise UsageError("--like asks for the cells of that run; leave suite and filters away")
    run = queries.run(store, like)
    if run.origin == "imported":
        raise UsageError(f"run {like} was imported: nobody here knows how to run it again")
    return run.suite, device or run.device_uuid, {**run.arguments, **chosen}


def _ask(ctx: typer.Context, store: Store, wanted: Wanted, **options: Any) -> int:  # noqa: ANN401
    """Queue it, with its cells counted by whoever knows the suites."""
    from kswatch.db.request_queue import requests

    suite, device, arguments = wanted
    size = ctx.obj.get("size_of_run")
    cells, budget_s = size(suite, arguments) if size else (None, None)
    limits = ctx.obj["config"]["db"].limits
    wants = {"arguments": arguments, "cells": cells, "budget_s": budget_s, "limits": limits}
    return requests.ask(store, suite, device, **wants, **options)


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
        typer.echo("\n".join(map(_as_text, found)) or "nobody has asked for a run yet")


def _as_object(found: RequestRow) -> dict[str, object]:
    values = dict(vars(found))
    return {"request": values.pop("id"), "run": values.pop("run_id"), **values}


def _as_text(found: RequestRow) -> str:
    done = f", {found.cells_done} of {found.cells_planned} cells" if found.cells_planned else ""
    asked = f"asked by {found.asked_by}" + (f" ({found.why})" if found.why else "")
    said = f": {found.message}" if found.message else ""
    what = f"request {found.id}: {found.suite} on {found.device}, {found.state}"
    return f"{what}{done}{_time(found)}, {asked}{said}"


def _time(found: RequestRow) -> str:
    """The time that it still takes, or is expected to."""
    if found.state == "running" and found.seconds_left is not None:
        return f", about {found.seconds_left / 60:.1f} minutes left"
    if found.state == "queued" and found.seconds_planned is not None:
        return f", about {found.seconds_planned / 60:.1f} minutes"
    return ""
