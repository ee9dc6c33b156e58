"""`kswatch bisect`: find the commit that caused a regression."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kswatch.ci.cli.gate import RepositoryOption, SuiteOption, filters_of, recording_store
from kswatch.ci.cli.stores import open_store
from kswatch.ci.config import CiConfig
from kswatch.db.cli import options
from kswatch.errors import UsageError
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.ci.gate.bisection import Bisection
    from kswatch.ci.gate.cell import GateConfig
    from kswatch.ci.gate.sequential import GateResult
    from kswatch.db.gates.records import CellVerdict

app = typer.Typer()


@app.command()
def bisect(
    ctx: typer.Context,
    good: Annotated[str | None, typer.Option(help="Revision without the regression.")] = None,
    bad: Annotated[str | None, typer.Option(help="Later revision with the regression.")] = None,
    alert: Annotated[
        int | None,
        typer.Option(
            min=1, max=options.LARGEST_NUMBER, help="Take revisions, device and cell from this alert."
        ),
    ] = None,
    device: options.MeasuredDeviceOption = None,
    suite: SuiteOption = None,
    pattern: options.PatternsOption = None,
    batch: options.BatchesOption = None,
    precision: options.PrecisionsOption = None,
    layout: options.LayoutsOption = None,
    implementation: options.ImplementationsOption = None,
    budget: Annotated[str, typer.Option(help="Time limit per commit, as 90s or 10m.")] = "10m",
    repository: RepositoryOption = Path(),
    progress: Annotated[
        bool, typer.Option("--progress", help="Show how far the searches of alerts are; measure nothing.")
    ] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Find the commit that made a cell slower, incorrect or fail, by binary search with the gate.

    Only commits that change kernels/ are tested; merges, reverted commits and those that do not build are
    skipped. After each night, confirmed regressions are bisected by themselves (`[ci] bisect_minutes`).

    \b
    Examples:
      kswatch bisect --alert 7
      kswatch bisect --progress                 # of the searches after the nights
      kswatch bisect --good v1.0 --bad HEAD --device cuda --pattern 6,64,64,1
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.gate.bisection import bisection_row, bisection_text
    from kswatch.db.json_text import to_json_text

    if progress:
        typer.echo(_progress(ctx, alert, as_json))
        return
    filters = filters_of(pattern, batch, precision, layout, implementation)
    selection: dict[str, Any] = {"good": good, "bad": bad, "device": device, "filters": filters}
    if alert is not None:
        if good or bad:
            raise UsageError("--alert implies both revisions; omit --good and --bad")
        selection |= _of_alert(ctx, alert)
    if not selection["good"] or not selection["bad"]:
        raise UsageError("name --good REV and --bad REV, or --alert N")
    common = {"repository": repository, "device": selection["device"], "suite": suite, "budget": budget}
    found, subjects = _found(ctx, selection, common)
    typer.echo(to_json_text(bisection_row(found)) if as_json else bisection_text(found, subjects))


def _progress(ctx: typer.Context, alert_id: int | None, as_json: bool) -> str:
    """The stored bisections, of one alert if it is named."""
    from kswatch.ci.gate.alert_bisection import progress_lines
    from kswatch.db.bisections.stored import bisections, steps
    from kswatch.db.json_text import to_json_text

    with closing(open_store(ctx)) as store:
        found = bisections(store, None if alert_id is None else (alert_id,))
        rows = [(one, steps(store, one.id)) for one in found]
    if as_json:
        return to_json_text([vars(one) | {"steps": [vars(step) for step in known]} for one, known in rows])
    return "\n".join(line for row in rows for line in progress_lines(*row)) or "no alert was bisected yet"


def _of_alert(ctx: typer.Context, alert_id: int) -> dict[str, Any]:
    """Revisions, device and worst cell of an alert."""
    from kswatch.ci.gate.alert_bisection import target_of
    from kswatch.db.queries.basic import alert, devices

    with closing(open_store(ctx)) as store:
        one = alert(store, alert_id)
        device = next(device.uuid for device in devices(store) if device.id == one.device_id)
    target = target_of(one, device)
    if target is None:
        raise UsageError(
            f"alert {alert_id} names no good revision, bad revision and cell; give --good and --bad"
        )
    return vars(target)


def _found(
    ctx: typer.Context, selection: dict[str, Any], common: dict[str, Any]
) -> tuple[Bisection, dict[str, str]]:
    """The bisection, and the subject line of each suspect."""
    from dataclasses import replace

    from kswatch.ci.gate.alert_bisection import excluded_commits
    from kswatch.ci.gate.bisection import bisect as search
    from kswatch.ci.gate.cell import GateConfig
    from kswatch.ci.gate.sequential import compare_revisions

    history = services(ctx).open_history(common["repository"])
    good, bad = history.commit(selection["good"]), history.commit(selection["bad"])
    with recording_store(ctx) as store:

        def compare(commit: str, config: GateConfig, cell: CellVerdict | None) -> GateResult:
            filters = selection["filters"]
            if cell is not None:
                fields = cell.problem.fields | {"implementation": cell.implementation}
                filters = {name: [value] for name, value in fields.items()}
            about = common | {"base": good, "head": commit, "filters": filters}
            with services(ctx).open_gate(store=store, kind="bisect", **about) as session:
                return compare_revisions(session, replace(config, budget_s=session.budget_s))

        config = GateConfig(floor=services(ctx).table(CiConfig).floor)
        excluded = excluded_commits(history, good, bad)
        found = search(good, bad, history.suspects, compare, config, _echo_progress, excluded=excluded)
    assert found is not None, "nothing stops it"
    return found, {commit: history.subject(commit) for commit in found.suspects}


def _echo_progress(sentence: str) -> None:
    typer.echo(f"kswatch bisect: {sentence}", err=True)
