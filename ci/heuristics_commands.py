"""`kswatch heuristics` (list, score) and `kswatch advise`: which implementation to use, and who says so."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db.store import Store

app = typer.Typer()
heuristics_app = typer.Typer(no_args_is_help=True, help="List and score the rules that predict the winner.")
app.add_typer(heuristics_app, name="heuristics")

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


class Metric(StrEnum):
    """What is compared."""

    LATENCY = "latency"
    ENERGY = "energy"


class Precision(StrEnum):
    """Storage and arithmetic of a product."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"
    FP16 = "fp16"


class Layout(StrEnum):
    """Which axis of X is the batch."""

    BATCH_FIRST = "batch_first"
    BATCH_LAST = "batch_last"


@heuristics_app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Every heuristic with its version and its rule in one line.

    \b
    Examples:
      kswatch heuristics list
      kswatch heuristics list --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from db.json_text import to_json_text
    from kernels.heuristics import HEURISTICS

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
    device: Annotated[str | None, typer.Option(help="UUID, unique prefix, model name or cpu.")] = None,
    run: Annotated[int | None, typer.Option(help="Only measurements of this run.")] = None,
    metric: Annotated[Metric, typer.Option(help="What is compared.")] = Metric.LATENCY,
    precision: Annotated[Precision | None, typer.Option(help="Only this one.")] = None,
    layout: Annotated[Layout | None, typer.Option(help="Only this one.")] = None,
    baselines: Annotated[
        str | None, typer.Option(help="Comma-separated; by default all that the device's runs hold.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """How well each heuristic predicts the winners that were measured; filters as in `kswatch summary`.

    \b
    Examples:
      kswatch heuristics score
      kswatch heuristics score --device cpu --precision fp32 --layout batch_last --json
    """  # noqa: D301
    from ci.advice_scoring import score_heuristics, score_table
    from db.json_text import to_json_text
    from db.summary import outcomes

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
    rows = score_heuristics(found)
    typer.echo(to_json_text(rows) if as_json else score_table(found, rows))


@app.command()
def advise(
    ctx: typer.Context,
    pattern: Annotated[str, typer.Argument(metavar="A,B,C,D", help="The pattern.")],
    batch: Annotated[int, typer.Option(help="Columns or rows of X that are multiplied at once.")],
    precision: Annotated[Precision, typer.Option(help="Storage and arithmetic.")] = Precision.FP32,
    layout: Annotated[Layout, typer.Option(help="Which axis of X is the batch.")] = Layout.BATCH_FIRST,
    device: Annotated[str | None, typer.Option(help="UUID, unique prefix, model name or cpu.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Which implementation to use for one problem, why, and the nearest problems that were measured.

    \b
    Examples:
      kswatch advise 6,64,64,1 --batch 25088 --precision fp16 --layout batch_last --device H200
      kswatch advise 1,768,192,2 --batch 1024 --json
    """  # noqa: D301
    from ci.advice import advise as advise_for
    from ci.advice import as_text
    from db.json_text import to_json_text
    from kernels.pattern import Pattern
    from kernels.problem import Problem

    problem = Problem(Pattern.parse(pattern), batch, precision.value, layout.value)
    with _store(ctx) as store:
        said = advise_for(store, problem, device)
    typer.echo(to_json_text(said) if as_json else as_text(problem, said))


@contextmanager
def _store(ctx: typer.Context) -> Iterator[Store]:
    from db.store import Store

    store = Store.open(ctx.obj["database_url"], create=False)
    try:
        yield store
    finally:
        store.close()
