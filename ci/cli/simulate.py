"""`kswatch simulate`: what the alerts would be, on nights whose truth is known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.errors import UsageError

if TYPE_CHECKING:
    from kswatch.ci.simulation.season import SimulatedNews
    from kswatch.db.store import Store

app = typer.Typer()

DEFAULT_PLANT = "fused:+5%@20-40"
_TOLD_EVERY = 10
"""Nights between two lines of progress."""


@app.command()
def simulate(
    ctx: typer.Context,
    nights: Annotated[int, typer.Option(min=1, max=400, help="How many nights.")] = 60,
    plant: Annotated[
        list[str] | None,
        typer.Option(
            help="Repeatable: IMPLEMENTATION:CHANGE%@FIRST[-LAST][:PRECISION]; `none` for quiet nights."
        ),
    ] = None,
    store: Annotated[
        Path, typer.Option(help="A new SQLite file for the simulated nights; never the store in use.")
    ] = Path("kswatch-simulated.db"),
    seed: Annotated[int, typer.Option(help="Another one gives other noise.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Judge simulated nights with planted regressions, by the same code as real ones, on a virtual clock.

    \b
    Examples:
      kswatch simulate                                   # +5 % on fused from night 20 to 40
      kswatch simulate --nights 60 --plant fused:+2%@30-45:bf16
      kswatch simulate --plant none --seed 7 --json      # quiet nights: no alert
      kswatch simulate --plant fused:+10%@20 --store fortnight.db
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.simulation.nights import Plant
    from kswatch.ci.simulation.season import simulate as simulated
    from kswatch.db.store import Store

    texts = plant or [DEFAULT_PLANT]
    plants = [] if texts == ["none"] else [Plant.parse(text) for text in texts]
    if store.exists():
        raise UsageError(
            f"{store} exists; simulated nights go into a new file: remove it, or give another --store"
        )
    url = f"sqlite:///{store.resolve()}"
    with closing(Store.open(url)) as opened:
        news = simulated(opened, nights, plants, ctx.obj["config"]["ci"], seed, _progress(nights))
        typer.echo(_as_json(opened, store, texts, nights, news) if as_json else _as_text(opened, news))
    if not as_json:
        typer.echo(f"Simulated nights are in {store}: KSWATCH_DATABASE_URL={url} kswatch alerts --all")


def _progress(nights: int) -> Callable[[int], None]:
    def told(night: int) -> None:
        if (night + 1) % _TOLD_EVERY == 0:
            print(f"kswatch simulate: night {night + 1} of {nights}", file=sys.stderr, flush=True)

    return told


def _as_text(store: Store, news: list[SimulatedNews]) -> str:
    from kswatch.ci.formats.alert_text import differences
    from kswatch.ci.formats.escape import plain
    from kswatch.db.queries.basic import alerts

    lines = [
        f"night {one.night}: alert {one.alert} {one.news}, "
        f"{'confirmed' if one.confirmed else 'provisional'}, {one.state}: {plain(one.title)}"
        for one in news
    ]
    confirmed = [one for one in alerts(store) if one.confirmed]
    for one in confirmed:
        code = one.explanation.get("differences", {}).get("code", {}).get("cells_changed", 0)
        told = [f"put down to {one.cause}", *differences(one), f"machine code changed in {code} cells"]
        lines.append(f"alert {one.id}: {'; '.join(told)}")
    counts = f"{len(confirmed)} confirmed alert{'s' if len(confirmed) != 1 else ''}"
    return "\n".join([*lines, f"{counts}, {len(alerts(store)) - len(confirmed)} provisional (simulated)"])


def _as_json(store: Store, path: Path, plants: list[str], nights: int, news: list[SimulatedNews]) -> str:
    from dataclasses import asdict

    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.basic import alerts

    return to_json_text(
        {
            "origin": "simulated",
            "store": str(path),
            "nights": nights,
            "planted": [] if plants == ["none"] else plants,
            "news": [asdict(one) for one in news],
            "alerts": [asdict(one) for one in alerts(store)][::-1],
        }
    )
