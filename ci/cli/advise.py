"""`kswatch advise`: the recommended implementation for a problem or a chain, and its speedup."""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import Annotated

import typer

from kswatch.ci.cli.stores import open_store_if_exists
from kswatch.db.cli.enums import ComparedMetric, Layout, Precision
from kswatch.db.cli.options import JsonOption

app = typer.Typer()


@app.command()
def advise(
    ctx: typer.Context,
    patterns: Annotated[
        list[str],
        typer.Argument(
            metavar="A,B,C,D...", help="One pattern, or a chain with the right-most factor first."
        ),
    ],
    batch: Annotated[int, typer.Option(help="Batch size: the number of vectors in X.")],
    precision: Annotated[Precision, typer.Option(help="Storage and arithmetic.")] = Precision.FP32,
    layout: Annotated[Layout, typer.Option(help="Which axis of X is the batch.")] = Layout.BATCH_FIRST,
    device: Annotated[
        str | None,
        typer.Option(help="UUID, unique prefix, model name or cpu; a device without measurements too."),
    ] = None,
    metric: Annotated[ComparedMetric, typer.Option(help="Metric to minimise.")] = ComparedMetric.LATENCY,
    as_json: JsonOption = False,
) -> None:
    """Recommend an implementation, with confidence, reason and the nearest measured problems.

    \b
    Examples:
      kswatch advise 6,64,64,1 --batch 25088 --precision fp16 --layout batch_last --device H200
      kswatch advise 1,768,192,2 --batch 1024 --device cpu --json
      kswatch advise 1,192,48,2 2,48,192,1 --batch 25088 --device H200     # a chain
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.advisor.recommend import advise as advise_one
    from kswatch.ci.advisor.recommend import advise_chain
    from kswatch.ci.advisor.text import advice_text, chain_text
    from kswatch.db.json_text import to_json_text
    from kswatch.kernels.pattern import Pattern
    from kswatch.kernels.problem import Problem

    chain = [Pattern.parse(text) for text in patterns]
    store = open_store_if_exists(ctx)  # advice needs no measurements
    with closing(store) if store else nullcontext():
        if len(chain) == 1:
            problem = Problem(chain[0], batch, precision.value, layout.value)
            advice = advise_one(store, problem, device, metric.value)
            typer.echo(to_json_text(advice) if as_json else advice_text(advice))
            return
        chain_advice = advise_chain(store, chain, batch, precision.value, layout.value, device, metric.value)
    typer.echo(to_json_text(chain_advice) if as_json else chain_text(chain_advice))
