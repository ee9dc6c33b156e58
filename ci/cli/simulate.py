"""`kswatch simulate`: the alerts on simulated nights with planted regressions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.ci.config import CiConfig
from kswatch.db.cli.options import LARGEST_SEED, JsonOption
from kswatch.db.config import file_url
from kswatch.errors import UsageError
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.ci.simulation.nights import Plant
    from kswatch.ci.simulation.season import SimulatedAlertChange
    from kswatch.db.store import Store

app = typer.Typer()

DEFAULT_PLANT = "fused:+5%@20-40"
LARGEST_CHANGE = 1_000.0
"""A share: a thousandfold and more is a fault of the machine, not a regression."""
LONGEST_PLANT = 100
"""Characters."""
_PROGRESS_EVERY = 10
"""Nights between two lines of progress."""


@app.command()
def simulate(
    ctx: typer.Context,
    nights: Annotated[int, typer.Option(min=1, max=400, help="Number of nights.")] = 60,
    plant: Annotated[
        list[str] | None,
        typer.Option(
            help="IMPLEMENTATION:CHANGE%@FIRST[-LAST][:PRECISION], repeatable; `none` for quiet nights."
        ),
    ] = None,
    store: Annotated[
        Path, typer.Option(help="New SQLite file for the simulated nights; never the store in use.")
    ] = Path("kswatch-simulated.db"),
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Random seed.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Judge simulated nights with planted regressions, by the code that judges real ones.

    \b
    Examples:
      kswatch simulate                                   # +5 % on fused from night 20 to 40
      kswatch simulate --nights 60 --plant fused:+2%@30-45:bf16
      kswatch simulate --plant none --seed 7 --json      # quiet nights: no alert
      kswatch simulate --plant fused:+10%@20 --store nights.db
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.simulation.nights import NightSimulator
    from kswatch.ci.simulation.season import judge_nights
    from kswatch.db.store import Store

    texts = plant or [DEFAULT_PLANT]
    plants = [] if texts == ["none"] else [_plant(text, nights) for text in texts]
    if os.path.lexists(store):
        raise UsageError(
            f"{store} exists; simulated nights go into a new file: remove it, or give another --store"
        )
    url = file_url(store)
    with closing(Store.open(url)) as opened:
        recorder = NightSimulator(opened, plants, seed, nights)
        events = list(
            judge_nights(opened, recorder, nights, services(ctx).table(CiConfig), _progress(nights))
        )
        typer.echo(_as_json(opened, store, texts, nights, events) if as_json else _as_text(opened, events))
    if not as_json:
        typer.echo(f"Simulated nights are in {store}: KSWATCH_DATABASE_URL={url} kswatch alerts --all")


def _plant(text: str, nights: int) -> Plant:
    """A planted change that can be simulated.

    Raises:
        UsageError: it is malformed, leaves no latency, or begins after its end or after the last night.
    """
    from kswatch.ci.simulation.nights import Plant

    if len(text) > LONGEST_PLANT:
        raise UsageError(f"{text[:LONGEST_PLANT]!r}... is too long for a planted change")
    plant = Plant.parse(text)
    if not -1 < plant.change <= LARGEST_CHANGE:
        raise UsageError(
            f"{text!r} changes a latency by {100 * plant.change:+g} %; "
            f"choose more than -100 % and at most {100 * LARGEST_CHANGE:+g} %"
        )
    if plant.last is not None and plant.last < plant.first:
        raise UsageError(f"{text!r} ends on night {plant.last}, before it begins on night {plant.first}")
    if plant.first >= nights:
        raise UsageError(f"{text!r} begins after the last of {nights} nights, which are counted from 0")
    return plant


def _progress(nights: int) -> Callable[[int], None]:
    def report(night: int) -> None:
        if (night + 1) % _PROGRESS_EVERY == 0:
            print(f"kswatch simulate: night {night + 1} of {nights}", file=sys.stderr, flush=True)

    return report


def _as_text(store: Store, events: list[SimulatedAlertChange]) -> str:
    from kswatch.ci.formats.alert_text import difference_lines
    from kswatch.ci.formats.escape import plain
    from kswatch.db.queries.basic import alerts

    lines = [
        f"night {one.night}: alert {one.alert} {one.news}, "
        f"{'confirmed' if one.confirmed else 'provisional'}, {one.state}: {plain(one.title)}"
        for one in events
    ]
    confirmed = [one for one in alerts(store) if one.confirmed]
    for one in confirmed:
        code = one.explanation.get("differences", {}).get("code", {}).get("cells_changed", 0)
        parts = [
            f"attributed to {one.cause}",
            *difference_lines(one),
            f"machine code changed in {code} cells",
        ]
        lines.append(f"alert {one.id}: {'; '.join(parts)}")
    counts = f"{len(confirmed)} confirmed alert{'s' if len(confirmed) != 1 else ''}"
    return "\n".join([*lines, f"{counts}, {len(alerts(store)) - len(confirmed)} provisional (simulated)"])


def _as_json(
    store: Store, path: Path, plants: list[str], nights: int, events: list[SimulatedAlertChange]
) -> str:
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.basic import alerts

    return to_json_text(
        {
            "origin": "simulated",
            "store": str(path),
            "nights": nights,
            "planted": [] if plants == ["none"] else plants,
            "news": events,
            "alerts": alerts(store)[::-1],
        }
    )
