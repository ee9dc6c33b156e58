"""`kswatch request`: ask for a run that `kswatch serve` will make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kswatch_errors import UsageError

if TYPE_CHECKING:
    from db.rows import RequestRow
    from db.store import Store

app = typer.Typer()


@app.command()
def request(
    ctx: typer.Context,
    suite: Annotated[str | None, typer.Argument(help="Suite to run, such as smoke.")] = None,
    device: Annotated[
        str, typer.Option(help="cpu, a UUID or a model name, as serve's machine has it.")
    ] = "cpu",
    pattern: Annotated[list[str] | None, typer.Option(help="a,b,c,d; repeatable.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Repeatable.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="fp32, tf32, bf16, fp16; repeatable.")] = None,
    layout: Annotated[list[str] | None, typer.Option(help="batch_first, batch_last; repeatable.")] = None,
    implementation: Annotated[list[str] | None, typer.Option(help="fused or a baseline; repeatable.")] = None,
    priority: Annotated[int, typer.Option(help="The highest is taken first.")] = 0,
    why: Annotated[str | None, typer.Option(help="What for.")] = None,
    who: Annotated[str | None, typer.Option(help="Who asks; by default the user's name.")] = None,
    cancel: Annotated[int | None, typer.Option(help="Cancel the request of this number instead.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the requests instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Ask for a run; `kswatch serve` takes it, runs it and judges it.

    \b
    Examples:
      kswatch request smoke --device cpu --why "new compiler"
      kswatch request smoke --pattern 6,64,64,1 --precision bf16
      kswatch request --list
      kswatch request --cancel 7 --why "wrong device"
    """  # noqa: D301  (backslash b keeps the lines apart)
    from getpass import getuser

    from db import queries, requests
    from db.store import Store

    store = Store.open(ctx.obj["database_url"])
    asker = who or getuser()
    if list_:
        _show(queries.requests(store), as_json)
        return
    if cancel is not None:
        requests.cancel(store, cancel, asker, why)
        _show_one(store, cancel, as_json)
        return
    if suite is None:
        raise UsageError("name a suite, such as `kswatch request smoke --device cpu`, or use --list")
    dimensions = {
        "pattern": pattern,
        "batch": batch,
        "precision": precision,
        "layout": layout,
        "implementation": implementation,
    }
    arguments = {name: values for name, values in dimensions.items() if values}
    asked = requests.ask(
        store, suite, device, asked_by=asker, why=why, arguments=arguments, priority=priority
    )
    _show_one(store, asked, as_json)


def _show_one(store: Store, request_id: int, as_json: bool) -> None:
    from db import queries
    from db.json_text import to_json_text

    found = queries.request(store, request_id)
    typer.echo(to_json_text(_as_object(found)) if as_json else _as_text(found))


def _show(found: list[RequestRow], as_json: bool) -> None:
    from db.json_text import to_json_text

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
    return f"request {found.id}: {found.suite} on {found.device}, {found.state}{done}, {asked}{said}"
