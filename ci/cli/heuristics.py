"""`kswatch advise` and `kswatch heuristics`: advice, and the rules that predict the winner."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.ci.cli.stores import open_store, open_store_if_exists
from kswatch.db.cli import options
from kswatch.db.cli.options import ComparedMetric, Layout, Precision
from kswatch.db.cli.spinner import waiting
from kswatch.errors import UsageError
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.ci.advisor.recommend import Advice, ChainAdvice
    from kswatch.db.store import Store
    from kswatch.kernels.layer_heuristics.ranking import LayerRanking

app = typer.Typer()
heuristics_app = typer.Typer(
    no_args_is_help=True,
    help="List, score and fit the rules that predict the winner.",
    epilog="Examples: kswatch heuristics list · kswatch heuristics score --device cpu --held-out --json",
)
app.add_typer(heuristics_app, name="heuristics")

HeldOutOption = Annotated[
    bool,
    typer.Option("--held-out", help="Cross-validate: leave out each (b, c) in turn; needs the extra `fit`."),
]
OtherDeviceOption = Annotated[
    bool,
    typer.Option("--other-device", help="Fit on another device of the store; needs the extra `fit`."),
]


@heuristics_app.command("list")
def list_(as_json: options.JsonOption = False) -> None:
    """List the heuristics, each with its version and rule.

    \b
    Examples:
      kswatch heuristics list
      kswatch heuristics list --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.db.json_text import to_json_text
    from kswatch.kernels.heuristics.catalogue import HEURISTICS

    rules = [
        {"heuristic": rule.name, "version": rule.version, "statement": rule.statement} for rule in HEURISTICS
    ]
    lines = (f"{rule.name} v{rule.version}: {rule.statement}" for rule in HEURISTICS)
    typer.echo(to_json_text(rules) if as_json else "\n".join(lines))


@heuristics_app.command("score")
def score_(
    ctx: typer.Context,
    device: options.DeviceOption = None,
    run: options.RunOption = None,
    metric: options.MetricOption = ComparedMetric.LATENCY,
    precision: options.PrecisionOption = None,
    layout: options.LayoutOption = None,
    baselines: options.BaselinesOption = None,
    held_out: HeldOutOption = False,
    other_device: OtherDeviceOption = False,
    layers: Annotated[
        bool,
        typer.Option("--layers", help="Score predicted costs of measured layers, held out by their shape."),
    ] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Score how well each heuristic predicts the measured winners; filters as in `kswatch summary`.

    The baselines are those of stock torch unless --baselines names others.

    \b
    Examples:
      kswatch heuristics score
      kswatch heuristics score --device cpu --precision fp32 --layout batch_last --json
      kswatch heuristics score --metric energy --held-out
      kswatch heuristics score --device H200 --other-device
      kswatch heuristics score --device cpu --layers --json
    """  # noqa: D301
    from kswatch.ci.advisor import scoring
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.headline import outcomes
    from kswatch.db.queries.headline_baselines import choose_baselines

    if held_out + other_device + layers > 1:
        raise UsageError("--held-out, --other-device and --layers are three ways to score; choose one")
    if layers:
        typer.echo(_layer_scores(ctx, device, metric.value, as_json))
        return
    with closing(open_store(ctx)) as store:
        found = outcomes(
            store,
            device,
            run_id=run,
            metric=metric.value,
            precision=precision and precision.value,
            layout=layout and layout.value,
            baselines=None
            if baselines is None
            else choose_baselines(store, device, run_id=run, named=baselines).members,
        )
        if held_out:
            rows = scoring.score_held_out(found, metric.value)
        elif other_device:
            rows = scoring.score_on_other_device(found, store, metric.value)
        else:
            rows = scoring.score_heuristics(found, metric.value)
    typer.echo(to_json_text(rows) if as_json else scoring.score_table(found, rows))


def _layer_scores(ctx: typer.Context, device: str | None, metric: str, as_json: bool) -> str:
    """The scores of the device's measured layers, as text or JSON."""
    from kswatch.ci.advisor.layer_scores import layer_scores, scores_text
    from kswatch.db.json_text import to_json_text

    with closing(open_store(ctx)) as store:
        found = layer_scores(store, device, metric)
    return to_json_text(found) if as_json else scores_text(found)


@heuristics_app.command()
def fit(
    ctx: typer.Context,
    device: Annotated[list[str] | None, typer.Option(help="Only this device; repeatable.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="File to write; by default the model file in use, whose other sections are kept."),
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Fit cost_model and learned to every device's newest measurements, for latency and energy.

    Simulated devices are included only if they are named.

    \b
    Examples:
      kswatch heuristics fit
      kswatch heuristics fit --device H200 --output h200.json
      KSWATCH_HEURISTICS=h200.json kswatch advise 6,64,64,1 --batch 1024 --device H200
    """  # noqa: D301
    from kswatch.ci.advisor.fitting import fit_devices
    from kswatch.db.json_text import to_json_text

    with closing(open_store(ctx)) as store, waiting("fitting"):
        fitted = fit_devices(store, device, output)
    if as_json:
        typer.echo(to_json_text(fitted))
        return
    for section in fitted.sections:
        names = ", ".join(section.implementations)
        typer.echo(
            f"{section.device} {section.metric} {section.precision} {section.layout}: "
            f"{section.problems} problems with a winner ({names})"
        )
    typer.echo(f"written to {fitted.path} ({fitted.size_bytes / 1e3:.0f} kB)")


@heuristics_app.command()
def report(
    ctx: typer.Context,
    device: options.DeviceOption = None,
    metric: options.MetricOption = ComparedMetric.LATENCY,
    write: Annotated[
        Path | None, typer.Option(help="Write the tables between the markers of this Markdown file.")
    ] = None,
    marks: Annotated[
        str, typer.Option(help="Name of the markers: <!-- NAME --> and <!-- end of NAME -->.")
    ] = "tables",
) -> None:
    """Print the tables of kernels/heuristics/README.md: cross-validated scores of the rules.

    \b
    Examples:
      kswatch heuristics report --device "Tesla V100-PCIE-16GB" --metric energy
      kswatch heuristics report --device cpu --write kernels/heuristics/README.md --marks "tables of a CPU"
    """  # noqa: D301
    from kswatch.ci.advisor.report import report_tables, write_between_marks

    with closing(open_store(ctx)) as store:
        text = report_tables(store, device, metric.value)
    if write is None:
        typer.echo(text)
    else:
        write_between_marks(write, text, marks)


@app.command()
def advise(
    ctx: typer.Context,
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[A,B,C,D... | MODEL.pt2]",
            help="One pattern, or a chain with the right-most factor first; or a file by torch.export.save.",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(metavar="IN,OUT", help="Rank families and implementations for a linear layer instead."),
    ] = None,
    structure: Annotated[
        list[str] | None,
        typer.Option(help="With --layer: a further structure to rank, as 'low_rank 100'; repeatable."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=options.LARGEST_NUMBER,
            help="Batch size: vectors in X; for a file, rows of the linear calls that it leaves open.",
        ),
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Storage and arithmetic.")] = Precision.FP32,
    layout: Annotated[Layout, typer.Option(help="Which axis of X is the batch.")] = Layout.BATCH_FIRST,
    device: Annotated[
        str | None,
        typer.Option(help="UUID, unique prefix, model name or cpu, also of a device without measurements."),
    ] = None,
    metric: Annotated[ComparedMetric, typer.Option(help="Metric to minimise.")] = ComparedMetric.LATENCY,
    as_json: options.JsonOption = False,
) -> None:
    """Recommend an implementation, a family for a layer, or chains for a model.

    For patterns: with confidence, reason and the nearest measured problems.
    For a layer: families and implementations by latency, each measured,
    predicted or without data, and what they save against dense.
    For a file: each linear layer dense and by its best chain, then the sum;
    nothing in the file is run.

    \b
    Examples:
      kswatch advise 6,64,64,1 --batch 25088 --precision fp16 --layout batch_last --device H200
      kswatch advise 1,768,192,2 --batch 1024 --device cpu --json
      kswatch advise 2,48,192,1 1,192,48,2 --batch 25088 --device H200     # a chain
      kswatch advise --layer 1024,4096 --batch 196 --device cpu --json
      kswatch advise model.pt2 --batch 196 --device cpu
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.db.json_text import to_json_text

    if not patterns and layer is None:
        raise UsageError(
            "name a pattern, as in 6,64,64,1, a model's file, or a layer, as in --layer 1024,4096"
        )
    if patterns and (layer is not None or structure):
        raise UsageError("patterns and --layer are two questions; ask one")
    store = open_store_if_exists(ctx)  # advice needs no measurements
    with closing(store) if store else nullcontext():
        if patterns and len(patterns) == 1 and _is_file(patterns[0]):
            found = services(ctx).plan_exported(Path(patterns[0]), batch, device, store)
            typer.echo(found.to_json() if as_json else str(found))
            return
        if batch is None:
            raise UsageError("name the batch size, as in --batch 1024")
        advice: object
        if layer is not None:
            advice, text = _layer_advice(store, layer, structure or [], batch, (precision, layout), device)
        else:
            advice, text = _advice(store, patterns or [], batch, (precision, layout, metric), device)
    typer.echo(to_json_text(advice) if as_json else text)


def _is_file(text: str) -> bool:
    return text.endswith((".pt2", ".pt", ".pth")) or Path(text).is_file()


def _layer_advice(
    store: Store | None,
    layer: str,
    structures: list[str],
    batch: int,
    kind: tuple[Precision, Layout],
    device: str | None,
) -> tuple[LayerRanking, str]:
    """The ranking for a layer, and its text."""
    from kswatch.ci.advisor.layer_advice import advise_layer, layer_text, parse_sides

    precision, layout = kind
    sides = parse_sides(layer)
    found = advise_layer(store, sides, batch, precision.value, layout.value, device, structures)
    return found, layer_text(found)


def _advice(
    store: Store | None,
    patterns: list[str],
    batch: int,
    kind: tuple[Precision, Layout, ComparedMetric],
    device: str | None,
) -> tuple[Advice | ChainAdvice, str]:
    """The advice for a pattern or a chain, and its text."""
    from kswatch.ci.advisor import recommend
    from kswatch.kernels.pattern import Pattern
    from kswatch.kernels.problem import Problem

    precision, layout, metric = kind
    chain = [Pattern.parse(text) for text in patterns]
    if len(chain) == 1:
        advice = recommend.advise(
            store, Problem(chain[0], batch, precision.value, layout.value), device, metric.value
        )
        return advice, recommend.advice_text(advice)
    found = recommend.advise_chain(store, chain, batch, precision.value, layout.value, device, metric.value)
    return found, recommend.chain_text(found)
