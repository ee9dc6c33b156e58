"""`kswatch import`, `export` and `summary`; `runs`, `request` and `db` are in the files beside this one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.db.cli import maintenance as care_commands
from kswatch.db.cli import requests as queue_commands
from kswatch.db.cli import runs as run_commands
from kswatch.db.cli.enums import ComparedMetric, Layout, Precision
from kswatch.db.cli.spinner import waiting
from kswatch.errors import UsageError

if TYPE_CHECKING:
    from kswatch.db.interchange.importing import ImportResult
    from kswatch.db.queries.headline import Summary
    from kswatch.db.store import Store

app = typer.Typer()
app.add_typer(run_commands.app, name="runs")
app.add_typer(queue_commands.app)
app.add_typer(care_commands.app, name="db")

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


class Form(StrEnum):
    """Forms that export writes."""

    JSONL = "jsonl"
    CSV = "csv"


@app.command("import")
def import_(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV or JSON lines, also .gz.")],
    as_json: JsonOption = False,
) -> None:
    """Record measurements from files: kswatch's exports, or the published CSV forms (energy, time).

    What the store has already is left alone: importing a file again records nothing. A row that cannot be
    taken is told with its line; the others go in.

    \b
    Examples:
      kswatch import ksmm_energy_v100.csv
      kswatch import db/recorded/*.jsonl.gz --json
    """  # noqa: D301  (backslash b keeps the lines apart)
    from kswatch.db.interchange.importing import import_file
    from kswatch.db.json_text import to_json_text
    from kswatch.db.store import Store

    store = Store.open(ctx.obj["database_url"])
    results: list[tuple[Path, ImportResult]] = []
    for path in files:
        with waiting(f"importing {path}"):
            result = import_file(store, path)
            _predict(ctx, store, result)
        results.append((path, result))
        if not as_json:
            _tell(path, result)
    if as_json:
        typer.echo(to_json_text(_totals(results)))


def _predict(ctx: typer.Context, store: Store, result: ImportResult) -> None:
    """What heuristics say for runs that came without predictions, so that they can be scored."""
    from kswatch.db.writes.runs import holds_predictions

    if "predict" not in ctx.obj:
        return
    with store.session() as session:
        without = [run_id for run_id in result.run_ids if not holds_predictions(session, run_id)]
    for run_id in without:
        ctx.obj["predict"](store, run_id)


def _tell(path: Path, result: ImportResult) -> None:
    for rejection in result.rejections:
        typer.echo(f"{path} line {rejection.line}: {rejection.reason}", err=True)
    counts = ("read", "recorded", "implausible", "rejected", "duplicates")
    typer.echo(f"{path}: " + ", ".join(f"{name} {getattr(result, name)}" for name in counts))


def _totals(results: list[tuple[Path, ImportResult]]) -> dict[str, object]:
    names = ("read", "recorded", "implausible", "rejected", "duplicates")
    totals = {name: sum(getattr(result, name) for _, result in results) for name in names}
    rejections = [
        {"file": path, "line": rejection.line, "reason": rejection.reason}
        for path, result in results
        for rejection in result.rejections
    ]
    runs = [run_id for _, result in results for run_id in result.run_ids]
    return {**totals, "rejections": rejections, "runs": runs}


@app.command()
def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where to; compressed when the name ends in .gz.")],
    run: Annotated[list[int] | None, typer.Option(help="Number of a run; repeatable.")] = None,
    device: Annotated[str | None, typer.Option(help="All runs of a device: UUID, prefix or model.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All runs of the store.")] = False,
    form: Annotated[
        Form | None, typer.Option("--format", help="Default: by the file's name, else jsonl.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write runs to a file that `kswatch import` takes: JSON lines keep everything, CSV is flat.

    \b
    Examples:
      kswatch export --run 12 run12.jsonl
      kswatch export --device cpu nights.csv
      kswatch export --all everything.jsonl.gz
    """  # noqa: D301
    from kswatch.db.interchange.importing import export_runs
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.basic import find_device, runs
    from kswatch.db.store import Store

    if sum((bool(run), device is not None, everything)) != 1:
        raise UsageError("say what to export: --run N, --device NAME or --all")
    store = Store.open(ctx.obj["database_url"], create=False)
    run_ids = run
    if device is not None:
        run_ids = [found.id for found in runs(store, find_device(store, device).id, limit=None)]
    with waiting(f"exporting to {file}"):
        written = export_runs(store, file, (form or _form_of(file)).value, run_ids)
    if as_json:
        typer.echo(to_json_text({"file": file, "measurements": written}))
    else:
        typer.echo(f"{file}: {written} measurements")


def _form_of(file: Path) -> Form:
    return Form.CSV if ".csv" in file.suffixes else Form.JSONL


@app.command()
def summary(
    ctx: typer.Context,
    device: Annotated[str | None, typer.Option(help="UUID, unique prefix, model name or cpu.")] = None,
    run: Annotated[int | None, typer.Option(help="Only measurements of this run.")] = None,
    metric: Annotated[ComparedMetric, typer.Option(help="What is compared.")] = ComparedMetric.LATENCY,
    precision: Annotated[Precision | None, typer.Option(help="Only this one.")] = None,
    layout: Annotated[Layout | None, typer.Option(help="Only this one.")] = None,
    baselines: Annotated[
        str | None, typer.Option(help="Comma-separated; by default all that the device's runs hold.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """How fused stands against the best baseline: each problem's newest measurement on one device.

    A problem is left out where a baseline has no row, or was skipped, crashed, incorrect or implausible;
    a baseline that is unsupported, out of memory or too slow is no contender.

    \b
    Examples:
      kswatch summary
      kswatch summary --device cpu --precision bf16 --baselines bmm,dense
      kswatch summary --run 12 --metric energy --json
    """  # noqa: D301
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.headline import summary as summarise
    from kswatch.db.store import Store

    store = Store.open(ctx.obj["database_url"], create=False)
    found = summarise(
        store,
        device,
        run_id=run,
        metric=metric.value,
        precision=precision and precision.value,
        layout=layout and layout.value,
        baselines=None if baselines is None else [name.strip() for name in baselines.split(",")],
    )
    typer.echo(to_json_text(found) if as_json else _as_text(found))


def _as_text(found: Summary) -> str:
    lines = [
        f"{found.model} ({found.device}), {found.metric}, against {', '.join(found.baselines) or 'nothing'}"
    ]
    lines.append(f"fused wins {found.fused_wins} of {found.problems} problems, {found.left_out} left out")
    if found.problems:
        lines.append(
            f"median fused/best {found.median_ratio:.4f}, median speedup {found.median_speedup:.4f}, "
            f"geometric mean {found.geomean_speedup:.4f}"
        )
    if found.not_converged:
        lines.append(f"{found.not_converged} of them did not converge to the interval asked for")
    lines += [f"  left out: {count} ({reason})" for reason, count in found.left_out_reasons.items()]
    return "\n".join(lines)
