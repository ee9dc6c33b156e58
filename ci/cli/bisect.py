"""`kswatch bisect`: which commit made it slower."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kswatch.ci.cli.gate import (
    BatchOption,
    DeviceOption,
    ImplementationOption,
    JsonOption,
    LayoutOption,
    PatternOption,
    PrecisionOption,
    RepositoryOption,
    SuiteOption,
    store_if_any,
)
from kswatch.errors import UsageError

if TYPE_CHECKING:
    from kswatch.ci.gate.bisection import Bisection
    from kswatch.ci.gate.cell import CellVerdict
    from kswatch.ci.gate.sequential import Care, GateResult
    from kswatch.db.store import Store

app = typer.Typer()


@app.command()
def bisect(
    ctx: typer.Context,
    good: Annotated[str | None, typer.Option(help="A revision that is fine.")] = None,
    bad: Annotated[str | None, typer.Option(help="A later one that is not.")] = None,
    alert: Annotated[
        int | None, typer.Option(help="Take both, the device and the cell from this alert.")
    ] = None,
    device: DeviceOption = None,
    suite: SuiteOption = None,
    pattern: PatternOption = None,
    batch: BatchOption = None,
    precision: PrecisionOption = None,
    layout: LayoutOption = None,
    implementation: ImplementationOption = None,
    budget: Annotated[str, typer.Option(help="Longest time for one commit, as 90s or 10m.")] = "10m",
    repository: RepositoryOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Find the commit that made a cell slower, wrong or lost: binary search with the gate as the test.

    Only commits that touch kernels/ are looked at; one that does not build is passed over.

    \b
    Examples:
      kswatch bisect --alert 7
      kswatch bisect --good v1.0 --bad HEAD --device cuda --pattern 6,64,64,1
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.gate.bisection import bisection_row, bisection_text
    from kswatch.db.json_text import to_json_text

    names = ("pattern", "batch", "precision", "layout", "implementation")
    values = (pattern, batch, precision, layout, implementation)
    filters: dict[str, Any] = {name: value for name, value in zip(names, values, strict=True) if value}
    asked: dict[str, Any] = {"good": good, "bad": bad, "device": device, "filters": filters}
    if alert is not None:
        if good or bad:
            raise UsageError("--alert says what is good and bad; leave --good and --bad away")
        asked |= _of_alert(ctx, alert)
    if not asked["good"] or not asked["bad"]:
        raise UsageError("say --good REV and --bad REV, or --alert N")
    common = {"repository": repository, "device": asked["device"], "suite": suite, "budget": budget}
    found, subjects = _found(ctx, asked, common)
    typer.echo(to_json_text(bisection_row(found)) if as_json else bisection_text(found, subjects))


def _of_alert(ctx: typer.Context, alert_id: int) -> dict[str, Any]:
    """Revisions, device and worst cell of an alert."""
    from kswatch.db.queries.basic import alert, devices
    from kswatch.db.store import Store

    with closing(Store.open(ctx.obj["database_url"], create=False)) as store:
        one = alert(store, alert_id)
        device = next(device.uuid for device in devices(store) if device.id == one.device_id)
    revisions = one.explanation.get("revisions") or {}
    cells = one.explanation.get("cells") or []
    if not revisions.get("good") or not revisions.get("bad") or not cells:
        raise UsageError(
            f"alert {alert_id} does not know a good revision, a bad one and a cell; give --good and --bad"
        )
    names = ("pattern", "batch", "precision", "layout", "implementation")
    filters = {name: [cells[0][name]] for name in names if cells[0].get(name) is not None}
    return {"good": revisions["good"], "bad": revisions["bad"], "device": device, "filters": filters}


def _found(
    ctx: typer.Context, asked: dict[str, Any], common: dict[str, Any]
) -> tuple[Bisection, dict[str, str]]:
    from kswatch.ci.gate.bisection import bisect as search
    from kswatch.ci.gate.sequential import Care

    history = ctx.obj["revisions"](common["repository"])
    good, bad = history.commit(asked["good"]), history.commit(asked["bad"])
    with store_if_any(ctx) as store:

        def compare(commit: str, care: Care, cell: CellVerdict | None) -> GateResult:
            filters = asked["filters"] if cell is None else _of_cell(cell)
            return _compared(ctx, store, care, common | {"base": good, "head": commit, "filters": filters})

        care = Care(floor=ctx.obj["config"]["ci"].floor)
        found = search(good, bad, history.suspects, compare, care, _say)
    return found, {commit: history.subject(commit) for commit in found.suspects}


def _compared(ctx: typer.Context, store: Store | None, care: Care, asked: dict[str, Any]) -> GateResult:
    from dataclasses import replace

    from kswatch.ci.gate.sequential import decide

    config = ctx.obj["config"]["profiler"]
    with ctx.obj["open_gate"](config, store=store, kind="bisect", **asked) as session:
        return decide(session, replace(care, budget_s=session.budget_s))


def _of_cell(cell: CellVerdict) -> dict[str, list[Any]]:
    problem = cell.problem
    values = (problem.pattern, problem.batch, problem.precision, problem.layout, cell.implementation)
    names = ("pattern", "batch", "precision", "layout", "implementation")
    return {name: [value] for name, value in zip(names, values, strict=True)}


def _say(sentence: str) -> None:
    typer.echo(f"kswatch bisect: {sentence}", err=True)
