"""`kswatch heuristics`: list, score, fit and report on the rules; `kswatch advise` is in advice_commands."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.ci.cli import advise as advice_commands
from kswatch.ci.cli.advise import JsonOption
from kswatch.db.cli.enums import ComparedMetric, Layout, Precision
from kswatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kswatch.db.store import Store

app = typer.Typer()
app.add_typer(advice_commands.app)
heuristics_app = typer.Typer(
    no_args_is_help=True,
    help="List, score and fit the rules that predict the winner.",
    epilog="Examples: kswatch heuristics list · kswatch heuristics score --device cpu --held-out --json",
)
app.add_typer(heuristics_app, name="heuristics")

DeviceOption = Annotated[str | None, typer.Option(help="UUID, unique prefix, model name or cpu.")]
HeldOutOption = Annotated[
    bool, typer.Option("--held-out", help="Fit anew for each (b, c), without it; needs the extra `fit`.")
]
OtherDeviceOption = Annotated[
    bool,
    typer.Option("--other-device", help="Fit on another device of the store; needs the extra `fit`."),
]


@heuristics_app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Every heuristic with its version and its rule in one line.

    \b
    Examples:
      kswatch heuristics list
      kswatch heuristics list --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.db.json_text import to_json_text
    from kswatch.kernels.heuristics import HEURISTICS

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
    run: Annotated[int | None, typer.Option(help="Only measurements of this run.")] = None,
    metric: Annotated[ComparedMetric, typer.Option(help="What is compared.")] = ComparedMetric.LATENCY,
    precision: Annotated[Precision | None, typer.Option(help="Only this one.")] = None,
    layout: Annotated[Layout | None, typer.Option(help="Only this one.")] = None,
    baselines: Annotated[
        str | None, typer.Option(help="Comma-separated; by default all that the device's runs hold.")
    ] = None,
    held_out: HeldOutOption = False,
    other_device: OtherDeviceOption = False,
    as_json: JsonOption = False,
) -> None:
    """How well each heuristic predicts the winners that were measured; filters as in `kswatch summary`.

    \b
    Examples:
      kswatch heuristics score
      kswatch heuristics score --device cpu --precision fp32 --layout batch_last --json
      kswatch heuristics score --metric energy --held-out
      kswatch heuristics score --device H200 --other-device
    """  # noqa: D301
    from kswatch.ci.advisor import scoring as advice_scoring
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.headline import outcomes

    if held_out and other_device:
        raise UsageError("--held-out and --other-device are two ways to score; choose one")
    with _store(ctx) as store:
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
            rows = advice_scoring.score_held_out(found, metric.value)
        elif other_device:
            rows = advice_scoring.score_on_other_device(found, store, metric.value)
        else:
            rows = advice_scoring.score_heuristics(found, metric.value)
    typer.echo(to_json_text(rows) if as_json else advice_scoring.score_table(found, rows))


@heuristics_app.command()
def fit(
    ctx: typer.Context,
    device: Annotated[list[str] | None, typer.Option(help="Only this device; repeatable.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to; by default the model file in use, whose rest is kept.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit cost_model and learned on every device's newest measurements, in time and in energy.

    Simulated devices take part only when they are named.

    \b
    Examples:
      kswatch heuristics fit
      kswatch heuristics fit --device H200 --output h200.json
      KSWATCH_HEURISTICS=h200.json kswatch advise 6,64,64,1 --batch 1024 --device H200
    """  # noqa: D301
    from kswatch.ci.advisor.fitting import fit_devices
    from kswatch.db.json_text import to_json_text

    with _store(ctx) as store, _waiting("fitting"):
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
    metric: Annotated[ComparedMetric, typer.Option(help="What is compared.")] = ComparedMetric.LATENCY,
    write: Annotated[
        Path | None, typer.Option(help="Put it between the marks of this Markdown file.")
    ] = None,
    marks: Annotated[
        str, typer.Option(help="Their name: <!-- NAME --> and <!-- end of NAME -->.")
    ] = "tables",
) -> None:
    """The tables of kernels/heuristics/README.md: every heuristic, held out, by precision and layout.

    \b
    Examples:
      kswatch heuristics report --device "Tesla V100-PCIE-16GB" --metric energy
      kswatch heuristics report --device cpu --write kernels/heuristics/README.md --marks "tables of a CPU"
    """  # noqa: D301
    from kswatch.ci.advisor.report import report_tables, write_between_marks

    with _store(ctx) as store:
        text = report_tables(store, device, metric.value)
    if write is None:
        typer.echo(text)
    else:
        write_between_marks(write, text, marks)


@contextmanager
def _waiting(what: str) -> Iterator[None]:
    """Says what is waited for, where somebody looks at a terminal."""
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def _store(ctx: typer.Context) -> Iterator[Store]:
    from kswatch.db.store import Store

    store = Store.open(ctx.obj["database_url"], create=False)
    try:
        yield store
    finally:
        store.close()
