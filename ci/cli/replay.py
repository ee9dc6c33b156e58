"""`kswatch replay`: labelled series as nights of a device, judged by the code that judges real ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.ci.config import CiConfig
from kswatch.db.cli.options import JsonOption
from kswatch.errors import UsageError
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.ci.simulation.replay_score import ReplayScore, Share

app = typer.Typer()

MOST_NIGHTS = 100_000
"""More than any series has: longer than two centuries."""


@app.command()
def replay(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON or CSV file of labelled series, or a folder of them.")],
    series: Annotated[
        list[str] | None, typer.Option("--series", help="Only the series of this name, repeatable.")
    ] = None,
    nights: Annotated[
        int | None,
        typer.Option(min=2, max=MOST_NIGHTS, help="Only the first nights of each series; all by default."),
    ] = None,
    accepted_after: Annotated[
        int,
        typer.Option(
            min=1, max=MOST_NIGHTS, help="Nights after which an open alert is accepted as the new level."
        ),
    ] = 10,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Processes.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Replay series with changes that people marked, and score the alerts; the store in use is not touched.

    Each series is a device of its own, and each of its points a night. FILE holds JSON, as in
    {"NAME": {"series": [8.4, 8.7], "changes": [1]}}, or CSV with the columns value and change (1 on the first
    point of a new level) and, for several series, series.

    \b
    Examples:
      kswatch replay series.json                        # every series; progress goes to stderr
      kswatch replay nights.csv --json                  # one object: the score, each change, each alert
      kswatch replay series.json --series build-time --series link-time
      kswatch replay series.json --nights 120 --jobs 1
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.simulation.labelled_series import read_labelled_series
    from kswatch.ci.simulation.replay_jobs import replay_all
    from kswatch.ci.simulation.replay_score import as_document, score

    found = read_labelled_series(file)
    if unknown := set(series or ()) - {one.name for one in found}:
        raise UsageError(f"{file} has no series {min(unknown)!r}; it has {', '.join(_some(found))}")
    chosen = [one.part(0, nights) for one in found if not series or one.name in series]
    replayed = replay_all(chosen, services(ctx).table(CiConfig), accepted_after, jobs, _progress)
    if as_json:
        from kswatch.db.json_text import to_json_text

        typer.echo(to_json_text(as_document(replayed)))
    else:
        typer.echo(_as_text(score(replayed)))


def _some(found: list) -> list[str]:
    names = [one.name for one in found[:5]]
    return [*names, f"and {len(found) - 5} more"] if len(found) > 5 else names


def _progress(done: int, of: int, name: str) -> None:
    print(f"kswatch replay: {done} of {of} series, {name}", file=sys.stderr, flush=True)


def _as_text(found: ReplayScore) -> str:
    from kswatch.ci.simulation.replay_score import FIRST_NIGHT, LARGE, MARGIN, WITHIN

    rate = found.false_per_1000
    lines = [
        f"{found.series} series, {found.nights} nights from night {FIRST_NIGHT} of each on, "
        f"{len(found.changes)} marked changes",
        *(
            f"alerted within {nights} night{'s' * (nights > 1)}: {_shown(found.share_within(nights))}; "
            f"of {LARGE:g} noise units or more: {_shown(found.share_within(nights, LARGE))}"
            for nights in WITHIN
        ),
        f"alerts: {found.true_alerts} within {MARGIN} nights of a marked change, {found.false_alerts} false, "
        f"{found.unconfirmed} never confirmed",
        "false alerts per 1,000 nights of a series: "
        + ("no nights" if rate.share is None else f"{rate.share:.2f} ({rate.low:.2f} to {rate.high:.2f})"),
        f"resolved although the marked level lasted: {found.resolved_while_lasting}",
    ]
    return "\n".join(lines)


def _shown(share: Share) -> str:
    if share.share is None:
        return "no changes"
    return f"{share.found} of {share.of} ({share.share:.1%}, {share.low:.1%} to {share.high:.1%})".replace(
        "%", " %"
    )
