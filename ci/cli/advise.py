"""`kswatch advise`: which implementation to use for a problem or a chain, and what that gains."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.db.cli.enums import ComparedMetric, Layout, Precision

if TYPE_CHECKING:
    from kswatch.db.store import Store

app = typer.Typer()

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def advise(
    ctx: typer.Context,
    patterns: Annotated[
        list[str],
        typer.Argument(metavar="A,B,C,D...", help="A pattern, or a chain, right-most factor first."),
    ],
    batch: Annotated[int, typer.Option(help="How many columns or rows X has for each product.")],
    precision: Annotated[Precision, typer.Option(help="Storage and arithmetic.")] = Precision.FP32,
    layout: Annotated[Layout, typer.Option(help="Which axis of X is the batch.")] = Layout.BATCH_FIRST,
    device: Annotated[
        str | None, typer.Option(help="UUID, unique prefix, model name or cpu; also one never measured.")
    ] = None,
    metric: Annotated[ComparedMetric, typer.Option(help="What shall be least.")] = ComparedMetric.LATENCY,
    as_json: JsonOption = False,
) -> None:
    """Which implementation to use, how sure that is, why, and the nearest problems that were measured.

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
    with ExitStack() as stack:
        store = _store_if_any(ctx.obj["database_url"])
        if store is not None:
            stack.enter_context(closing(store))
        if len(chain) == 1:
            problem = Problem(chain[0], batch, precision.value, layout.value)
            said = advise_one(store, problem, device, metric.value)
            typer.echo(to_json_text(said) if as_json else advice_text(said))
            return
        all_said = advise_chain(store, chain, batch, precision.value, layout.value, device, metric.value)
    typer.echo(to_json_text(all_said) if as_json else chain_text(all_said))


def _store_if_any(url: str) -> Store | None:
    """The store, or None where nothing was measured yet: advice can be had without one."""
    from kswatch.db.backend.engine import is_there
    from kswatch.db.store import Store

    return Store.open(url, create=False) if is_there(url) else None
