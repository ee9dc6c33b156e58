"""`kswatch import`, `export` and `summary`; `runs`, `request` and `db` are in the files beside this one."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.db.cli import maintenance, requests, runs
from kswatch.db.cli.options import (
    LARGEST_NUMBER,
    BaselinesOption,
    ComparedMetric,
    DeviceOption,
    JsonOption,
    LayoutOption,
    MetricOption,
    PrecisionOption,
    RunOption,
)
from kswatch.db.cli.spinner import waiting
from kswatch.errors import UsageError
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.db.interchange.ingest import ImportResult
    from kswatch.db.queries.headline import Summary
    from kswatch.db.store import Store

app = typer.Typer()
app.add_typer(runs.app, name="runs")
app.add_typer(requests.app)
app.add_typer(maintenance.app, name="db")


class Form(StrEnum):
    """Forms that export writes."""

    JSONL = "jsonl"
    CSV = "csv"
    BMF = "bmf"
    OPENMETRICS = "openmetrics"


@app.command("import")
def import_(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="CSV or JSON lines, also .gz; or another tool's JSON report."),
    ] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Import the runs on real GPUs that kswatch is shipped with.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Record measurements from kswatch's exports or the published CSV formats (energy, time).

    Measurements that the store already holds are skipped: importing a file again records nothing. A rejected
    row is reported with its line and reason; the others are recorded.

    JSON reports of nvbench, Google Benchmark, pytest-benchmark and in Bencher's metric format are recorded as
    foreign series, which no trend shows; `kswatch check --foreign NAME` judges one.

    \b
    Examples:
      kswatch import ksmm_energy_v100.csv
      kswatch import nvbench.json
      kswatch import nights/*.jsonl.gz --json
      kswatch import --recorded
    """  # noqa: D301  (backslash b keeps the lines apart)
    from kswatch.db.interchange.recorded_runs import NO_RECORDED_RUNS, recorded_files
    from kswatch.db.json_text import to_json_text
    from kswatch.db.store import Store

    if bool(files) == recorded:
        raise UsageError("choose what to import: files, or --recorded")
    paths = files or recorded_files()
    if not paths:
        typer.echo(NO_RECORDED_RUNS, err=True)
    store = Store.open(services(ctx).database_url)
    results: list[tuple[Path, ImportResult]] = []
    for path in paths:
        results.append((path, import_with_predictions(ctx, store, path, as_imported=recorded)))
        if not as_json:
            _report(*results[-1])
    if as_json:
        typer.echo(to_json_text(_totals(results)))


def import_with_predictions(
    ctx: typer.Context, store: Store, path: Path, as_imported: bool = False
) -> ImportResult:
    """Record what `import_file` does, and the heuristics' predictions for runs without any.

    Raises:
        FormatError: the file cannot be read, or is of no form that kswatch reads.
    """
    from kswatch.db.foreign_series.reports import read_report
    from kswatch.db.interchange.importing import import_file, import_report

    with waiting(f"importing {path}"):
        if report := read_report(path):
            return import_report(store, report)
        result = import_file(store, path, as_imported)
        _predict(ctx, store, result)
    return result


def _predict(ctx: typer.Context, store: Store, result: ImportResult) -> None:
    """Record the heuristics' predictions for imported runs without any, so that these are scored."""
    from kswatch.db.writes.runs import holds_predictions

    with store.session() as session:
        without = [run_id for run_id in result.run_ids if not holds_predictions(session, run_id)]
    for run_id in without:
        services(ctx).predict(store, run_id)


_COUNTS = ("read", "recorded", "implausible", "rejected", "duplicates")


def _report(path: Path, result: ImportResult) -> None:
    for rejection in result.rejections:
        typer.echo(f"{path} line {rejection.line}: {rejection.reason}", err=True)
    if left := result.rejected - len(result.rejections):
        typer.echo(f"{path}: {left:,} more lines were rejected", err=True)
    typer.echo(f"{path}: " + ", ".join(f"{name} {getattr(result, name)}" for name in _COUNTS))


def _totals(results: list[tuple[Path, ImportResult]]) -> dict[str, object]:
    totals = {name: sum(getattr(result, name) for _, result in results) for name in _COUNTS}
    rejections = [{"file": path, **vars(one)} for path, result in results for one in result.rejections]
    runs = [run_id for _, result in results for run_id in result.run_ids]
    return {**totals, "rejections": rejections, "runs": runs}


@app.command()
def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to write; compressed if its name ends in .gz.")],
    run: Annotated[
        list[int] | None, typer.Option(min=1, max=LARGEST_NUMBER, help="Run number; repeatable.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="All runs of a device: UUID, unique prefix or model name.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All runs of the store.")] = False,
    form: Annotated[
        Form | None,
        typer.Option("--format", help="File format; by default inferred from the file's name, else jsonl."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write runs to a file that `kswatch import` reads: JSON lines hold everything, CSV is flat.

    For other tools: `bmf` (Bencher Metric Format) has the newest latency of each cell, `openmetrics` all.

    \b
    Examples:
      kswatch export --run 12 run12.jsonl
      kswatch export --device cpu nights.csv
      kswatch export --all everything.jsonl.gz
      kswatch export --run 12 --format bmf run12.json
    """  # noqa: D301
    from kswatch.db.interchange.importing import export_runs
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.basic import find_device, runs
    from kswatch.db.store import Store

    if sum((bool(run), device is not None, everything)) != 1:
        raise UsageError("choose what to export: --run N, --device NAME or --all")
    store = Store.open(services(ctx).database_url, create=False)
    run_ids = run
    if device is not None:
        run_ids = [found.id for found in runs(store, find_device(store, device).id, limit=None)]
    with waiting(f"exporting to {file}"):
        chosen = form or (Form.CSV if ".csv" in file.suffixes else Form.JSONL)
        written = export_runs(store, file, chosen.value, run_ids)
    if as_json:
        typer.echo(to_json_text({"file": file, "measurements": written}))
    else:
        typer.echo(f"{file}: {written} measurements")


@app.command()
def summary(
    ctx: typer.Context,
    device: DeviceOption = None,
    run: RunOption = None,
    metric: MetricOption = ComparedMetric.LATENCY,
    precision: PrecisionOption = None,
    layout: LayoutOption = None,
    baselines: BaselinesOption = None,
    models: Annotated[
        bool, typer.Option("--models", help="Of whole models: gains by structure and kernel.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare fused with the best baseline, by each problem's newest measurement on one device.

    With --models, of each model: every variant over the dense one, and the gain as structure (dense over the
    structure by the fastest baseline of the named set) times kernel (that over the structure by fused).

    The baselines are those of the newest run's set, which is named: `expert` where it measured rivals, with
    those that were there and those that were not; else `all`. Speed of light is the floor over the latency
    of fused.

    A problem is left out where a baseline has no row, or was skipped, crashed, incorrect or implausible;
    a baseline that is unsupported, out of memory or too slow is not compared.

    \b
    Examples:
      kswatch summary
      kswatch summary --baselines expert --json
      kswatch summary --device cpu --precision bf16 --baselines bmm,dense
      kswatch summary --run 12 --metric energy --json
      kswatch summary --models --device cpu --baselines paper --json
    """  # noqa: D301
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.headline import headline
    from kswatch.db.store import Store

    store = Store.open(services(ctx).database_url, create=False)
    if models:
        from kswatch.db.model_results.summary import model_summary, models_in_words

        of_models = model_summary(
            store, device, run_id=run, precision=precision and precision.value, baselines=baselines
        )
        typer.echo(to_json_text(of_models) if as_json else models_in_words(of_models))
        return
    found = headline(
        store,
        device,
        run_id=run,
        metric=metric.value,
        precision=precision and precision.value,
        layout=layout and layout.value,
        baselines=baselines,
    )
    typer.echo(to_json_text(found) if as_json else _as_text(found))


def _as_text(found: Summary) -> str:
    from kswatch.db.queries.baseline_sets import rivals_in_words

    members = ", ".join(found.baselines) or "nothing"
    against = f"{found.baseline_set}: {members}" if found.baseline_set else members
    lines = [f"{found.model} ({found.device}), {found.metric}, against {against}"]
    if found.baseline_set:
        lines.append(rivals_in_words(found.rivals, found.rivals_missing))
    lines.append(f"fused wins {found.fused_wins} of {found.problems} problems, {found.left_out} left out")
    if found.problems:
        lines.append(
            f"median fused/best {found.median_ratio:.4f}, median speedup {found.median_speedup:.4f}, "
            f"geometric mean {found.geomean_speedup:.4f}"
        )
    if found.not_converged:
        lines.append(f"{found.not_converged} of them did not converge to the required interval")
    lines += [f"  left out: {count} ({reason})" for reason, count in found.left_out_reasons.items()]
    return "\n".join([*lines, *_speed_of_light(found)])


def _speed_of_light(found: Summary) -> Iterator[str]:
    """A line for each precision and layout, and why values are above 1."""
    if found.speed_of_light:
        yield f"speed of light in run {found.speed_of_light[0].run} (floor / measured time of fused):"
    for one in found.speed_of_light:
        where = f"{one.precision} {one.layout}: median {one.median:.1%}, worst {one.worst:.1%}"
        judged = f", {one.median_verdict}, {one.worst_verdict}" if one.median_verdict else ""
        yield f"  {where} of {one.problems} problems{judged}".replace("%", " %")
        if one.explanation:
            yield f"    {one.explanation}"
