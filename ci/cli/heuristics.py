"""`kswatch heuristics`: list, score, fit and report on the rules that predict the winner."""

from __future__ import annotations

from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.ci.cli import advise
from kswatch.ci.cli.stores import open_store
from kswatch.db.cli.enums import ComparedMetric
from kswatch.db.cli.options import (
    BaselinesOption,
    DeviceOption,
    JsonOption,
    LayoutOption,
    MetricOption,
    PrecisionOption,
    RunOption,
)
from kswatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer()
app.add_typer(advise.app)
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
def list_(as_json: JsonOption = False) -> None:
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
    if as_json:
        typer.echo(to_json_text(rules))
        return
    for rule in rules:
        typer.echo(f"{rule['heuristic']} v{rule['version']}: {rule['statement']}")


@heuristics_app.command("score")
def score_(
    ctx: typer.Context,
    device: DeviceOption = None,
    run: RunOption = None,
    metric: MetricOption = ComparedMetric.LATENCY,
    precision: PrecisionOption = None,
    layout: LayoutOption = None,
    baselines: BaselinesOption = None,
    held_out: HeldOutOption = False,
    other_device: OtherDeviceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score how well each heuristic predicts the measured winners; filters as in `kswatch summary`.

    \b
    Examples:
      kswatch heuristics score
      kswatch heuristics score --device cpu --precision fp32 --layout batch_last --json
      kswatch heuristics score --metric energy --held-out
      kswatch heuristics score --device H200 --other-device
    """  # noqa: D301
    from kswatch.ci.advisor import scoring
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.headline import outcomes

    if held_out and other_device:
        raise UsageError("--held-out and --other-device are two ways to score; choose one")
    with closing(open_store(ctx)) as store:
        found = outcomes(
            store,
            device,
            run_id=run,
            metric=metric.value,
            precision=precision and precision.value,
            layout=layout and layout.value,
            baselines=None if baselines is None else [name.strip() for name in baselines.split(",")],
        )
        if held_out:
            rows = scoring.score_held_out(found, metric.value)
        elif other_device:
            rows = scoring.score_on_other_device(found, store, metric.value)
        else:
            rows = scoring.score_heuristics(found, metric.value)
    typer.echo(to_json_text(rows) if as_json else scoring.score_table(found, rows))


@heuristics_app.command()
def fit(
    ctx: typer.Context,
    device: Annotated[list[str] | None, typer.Option(help="Only this device; repeatable.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="File to write; by default the model file in use, whose other sections are kept."),
    ] = None,
    as_json: JsonOption = False,
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

    with closing(open_store(ctx)) as store, _spinner("fitting"):
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
    device: DeviceOption = None,
    metric: MetricOption = ComparedMetric.LATENCY,
    write: Annotated[
        Path | None, typer.Option(help="Write the tables between the markers of this Markdown file.")
    ] = None,
    marks: Annotated[
        str, typer.Option(help="Name of the markers: <!-- NAME --> and <!-- end of NAME -->.")
    ] = "tables",
) -> None:
    """Print the tables of kernels/heuristics/README.md: cross-validated scores by precision and layout.

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


@contextmanager
def _spinner(task: str) -> Iterator[None]:
    """Show the running task on a terminal."""
    from rich.console import Console

    with Console(stderr=True).status(task):
        yield
